-- The calls of a prefix cache's index as random moves: each is made of index and model, and compared.
local ffi = require "ffi"
local Index = require "gdnmeta.engine.prefix.index"
local Model = require "spec.support.prefix_model"
local runs = require "spec.support.index_run"

local ints_t = ffi.typeof "int32_t[256]"

local moves = {}

function moves.advance(run)
  run.index:advance(run.move)
  run.model.step = run.model.step + 1
end

function moves.match(run)
  local list, limit = run:path(), math.random(0, runs.SIZE * runs.LONGEST)
  local want = run.model:match(list, math.floor(limit / runs.SIZE))
  run:compare_hit(run.index:match(runs.to_ids(list), #list, limit), want, "match")
end

-- A prompt that waits.
function moves.watch(run)
  local list, limit = run:path(), math.random(0, runs.SIZE * runs.LONGEST)
  local watch, ids = ffi.new "gdn_index_watch", runs.to_ids(list)
  local hit = run.index:match(ids, #list, limit)
  run.index:watch(ids, #list, limit, watch)
  run.watches[#run.watches % 8 + 1] = { watch = watch, list = list, limit = limit, step = run.model.step,
    found = { kv = hit.kv_hit, state = hit.state_hit, host = hit.host_hit } }
end

-- What has not changed is found as before.
function moves.look(run)
  for _, w in ipairs(run.watches) do
    if w.step < run.model.step then
      if run.index:has_changed(w.watch) then
        run.changed = run.changed + 1
      else
        run.unchanged = run.unchanged + 1
        local hit = run.index:match(runs.to_ids(w.list), #w.list, w.limit)
        run:compare_hit(hit, w.found, "unchanged")
      end
    end
  end
end

function moves.lock(run)
  local list = run:path()
  local want = run.model:match(list, #list)
  local hit = run.index:match(runs.to_ids(list), #list, runs.SIZE * #list)
  run:compare_hit(hit, want, "lock")
  local use_state = math.random(2) == 1
  if not use_state then hit.state_node, hit.host_node = 0, 0 end
  local to_state = use_state and hit.state_node > 0 and math.random(3) == 1
  if to_state then hit.node, hit.kv_hit = hit.state_node, hit.state_hit end
  local to_host = use_state and not to_state and hit.host_node > 0 and math.random(2) == 1
  if to_host then hit.node, hit.kv_hit, hit.state_node = hit.host_node, hit.host_hit, 0 end
  local reads = hit.state_node > 0 and want.state or hit.host_node > 0 and want.host or 0
  local state_node = hit.state_node > 0 and hit.state_node or hit.host_node
  run.index:lock()
  local keys = Model.keys(list)
  if reads > 0 then
    local state = run.model.states[keys[reads]]
    state.reads, state.used = state.reads + 1, true
  end
  local locked = to_state and want.state or to_host and want.host or want.kv
  if not run.tight then run:same(locked, hit.kv_hit, "locked") end
  if hit.kv_hit > 0 then table.insert(run.model.locks, keys[hit.kv_hit]) end
  table.insert(run.locks, { node = hit.node, ids = list, depth = hit.kv_hit, key = keys[hit.kv_hit],
                            reads = reads > 0 and keys[reads], state_node = state_node })
end

local function forget(list, value)
  for k, held in ipairs(list) do
    if held == value then return table.remove(list, k) end
  end
end

function moves.unlock_state(run)
  local lock = run.locks[math.random(math.max(1, #run.locks))]
  if not lock or not lock.reads then return end
  run.index:unlock_state(lock.state_node)
  run.model.states[lock.reads].reads = run.model.states[lock.reads].reads - 1
  lock.reads = false
end

function moves.unlock(run)
  if #run.locks == 0 then return end
  local lock = table.remove(run.locks, math.random(#run.locks))
  if lock.reads then
    run.index:unlock_state(lock.state_node)
    run.model.states[lock.reads].reads = run.model.states[lock.reads].reads - 1
  end
  if lock.depth == 0 then return end
  run.index:unlock(lock.node)
  forget(run.model.locks, lock.key)
end

local function new_slots(run)
  local slots = { run.next_slot, run.next_slot + 1 }
  run.next_slot = run.next_slot + 2
  if math.random(8) == 1 then slots[math.random(2)] = -1 end
  return slots
end

function moves.publish(run)
  local lock = math.random(2) == 1 and run.locks[math.random(math.max(1, #run.locks))]
  local list = run:path()
  if lock then -- it goes on from its own path
    local longer = {}
    for k = 1, lock.depth do longer[k] = lock.ids[k] end
    for _ = 1, math.random(0, math.min(20, runs.LONGEST - #longer)) do
      longer[#longer + 1] = math.random(2)
    end
    list = #longer > 0 and longer or list
  end
  local kv, c_kv, slots = {}, ints_t(), math.random(2) == 1 and new_slots(run) or nil
  for k = 1, #list do
    c_kv[2 * k - 2], c_kv[2 * k - 1] = run.next_kv, run.next_kv + 1
    kv[k] = run.next_kv .. "/" .. run.next_kv + 1
    run.next_kv = run.next_kv + 2
  end
  local from = lock and lock.depth > 0 and math.random(4) > 1 and lock.node or 0
  local move = lock and (from > 0 or lock.depth == 0) and math.random(4) > 1
  local before = run.index:stats()
  local c_slots = slots and ffi.new("int32_t[2]", slots)
  local out = run.index:publish(runs.to_ids(list), #list, c_kv, c_slots, from, move, math.random(-1, 0))
  if not out then
    local after = run.index:stats()
    for name, value in pairs(before) do run:same(value, after[name], name .. " after a refusal") end
    local is_full = before.nodes + 2 > before.max_nodes or before.blocks + #list > before.max_blocks
    return run:same(true, is_full, "is full")
  end
  local known, taken = run.model:publish(list, kv, slots)
  run:same(known, out.known, "known")
  run:same(#list - known, out.added, "added")
  run:same(taken, out.state_taken, "state_taken")
  if not move then return end
  local keys = Model.keys(list)
  if lock.depth > 0 then forget(run.model.locks, lock.key) end
  lock.node, lock.depth, lock.key, lock.ids = out.node, #list, keys[#list], list
  table.insert(run.model.locks, lock.key)
end

local function depth_of(run, node)
  return run.index:describe(node).tokens / runs.SIZE
end

function moves.pin(run)
  local node = run:node()
  if node == 0 or #run.pins > 3 then return end
  local list = runs.path_of(run.index, node, depth_of(run, node))
  run.index:pin(node)
  table.insert(run.pins, node)
  table.insert(run.model.pins, Model.keys(list)[#list])
end

function moves.unpin(run)
  if #run.pins == 0 then return end
  local k = math.random(#run.pins)
  run.index:unpin(table.remove(run.pins, k))
  table.remove(run.model.pins, k)
end

function moves.evict(run)
  local node = run:first(Index.LEAVES)
  if node == 0 then return end
  local shown = run.index:describe(node)
  local list = runs.path_of(run.index, node, shown.tokens / runs.SIZE)
  local most, kv = math.random(30), ints_t()
  local gone, slots = run.index:evict(node, most, kv)
  run:same(math.min(most, shown.length / runs.SIZE), gone, "evicted")
  local want, state = run.model:evict(list, gone)
  for k = 1, gone do run:same(want[k], kv[2 * k - 2] .. "/" .. kv[2 * k - 1], "kv that is given back") end
  for g = 1, runs.GROUPS do run:same(state and state[g] or -1, slots[g - 1], "slot that is given back") end
end

function moves.drop_state(run)
  local node = run:first(math.random(2))
  if node == 0 then return end
  local list = runs.path_of(run.index, node, depth_of(run, node))
  local key = Model.keys(list)[#list]
  local slots = run.index:drop_state(node)
  for g = 1, runs.GROUPS do run:same(run.model.states[key].slots[g], slots[g - 1], "dropped slot") end
  run.model:drop(key)
end

function moves.move_state(run)
  local kind = math.random(2)
  local node = run:first(kind)
  if node == 0 then return end
  local list = runs.path_of(run.index, node, depth_of(run, node))
  local state = run.model.states[Model.keys(list)[#list]]
  local slots = ffi.new "int32_t[2]"
  for g = 1, runs.GROUPS do slots[g - 1] = state.slots[g] < 0 and -1 or run.next_slot + g end
  run.next_slot = run.next_slot + runs.GROUPS + 1
  local old = run.index:move_state(node, kind == Index.STATES and Index.ON_HOST or Index.DEVICE, slots)
  for g = 1, runs.GROUPS do
    run:same(state.slots[g], old[g - 1], "moved slot")
    state.slots[g] = slots[g - 1]
  end
  state.host, state.moved = kind == Index.STATES, run.model.step
end

return moves
