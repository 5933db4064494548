-- The index of a prefix cache against spec/support/prefix_model.lua: random sequences of every call, all
-- answers compared, and the whole content again and again.
local ffi = require "ffi"
local Index = require "gdnmeta.engine.prefix.index"
local lib = require "gdnmeta.native"
local Model = require "spec.support.prefix_model"

local CASES, MOVES = tonumber(os.getenv "GDN_CASES") or 120, 120
local GROUPS, PER, SIZE, LONGEST = 2, 2, 4, 64
local ids_t, ints_t = ffi.typeof "int64_t[64]", ffi.typeof "int32_t[256]"

local function to_ids(list)
  local out = ids_t()
  for k, id in ipairs(list) do out[k - 1] = id end
  return out
end

-- Ids of the path to a node, and kv of its blocks as one text each.
local function path_of(index, node, depth)
  local ids, kv, list, texts = ids_t(), ints_t(), {}, {}
  assert(lib.gdn_index_read(index.handle, node, 0, depth, ids, kv) == 0)
  for k = 1, depth do
    list[k], texts[k] = tonumber(ids[k - 1]), kv[PER * k - 2] .. "/" .. kv[PER * k - 1]
  end
  return list, texts
end

-- Any part of a path is what it is of the whole.
local function read_part(index, node, list, texts)
  local first = math.random(0, #list)
  local n = math.random(0, #list - first)
  local ids, kv = ids_t(), ints_t()
  assert(lib.gdn_index_read(index.handle, node, first, n, ids, kv) == 0)
  for k = 1, n do
    if list[first + k] ~= tonumber(ids[k - 1]) then return false end
    if texts[first + k] ~= kv[PER * k - 2] .. "/" .. kv[PER * k - 1] then return false end
  end
  return n == LONGEST or ids[n] == 0 -- and no more of it
end

local Run = {}
Run.__index = Run

local function start(seed, options)
  math.randomseed(seed)
  local index = assert(Index.new {
    num_groups = GROUPS, block_size = SIZE, kv_per_block = PER, max_nodes = options.nodes,
    max_blocks = options.blocks, kv_bytes = 3, state_bytes = 100,
  })
  return setmetatable({ index = index, model = Model.new(), seed = seed, move = 0, locks = {}, pins = {},
                        next_slot = 1, next_kv = 1, paths = { {} }, tight = options.tight }, Run)
end

function Run:where(what) return ("seed %d, move %d: %s"):format(self.seed, self.move, what) end

function Run:same(want, got, what)
  if want == got then return end
  error(self:where(("%s: want %s, got %s"):format(what, tostring(want), tostring(got))), 2)
end

-- A path that goes along with an older one for a while.
function Run:path()
  local old, list = self.paths[math.random(#self.paths)], {}
  for k = 1, math.random(0, #old) do list[k] = old[k] end
  for _ = 1, math.random(0, math.min(24, LONGEST - #list)) do list[#list + 1] = math.random(2) end
  if #list == 0 then list[1] = math.random(2) end
  self.paths[#self.paths % 12 + 1] = list
  return list
end

function Run:compare_hit(hit, want, what)
  self:same(want.kv, hit.kv_hit, what .. " kv_hit")
  self:same(want.state, hit.state_hit, what .. " state_hit")
  self:same(want.host, hit.host_hit, what .. " host_hit")
  self:same(want.kv * SIZE, hit.kv_tokens, what .. " kv_tokens")
  local helps = want.kv > want.state and want.kv > want.host
  self:same(helps and want.kv * SIZE or 0, hit.junction, what .. " junction")
end

local moves = {}

function moves.advance(run)
  run.index:advance(run.move)
  run.model.step = run.model.step + 1
end

function moves.match(run)
  local list, limit = run:path(), math.random(0, SIZE * LONGEST)
  local want = run.model:match(list, math.floor(limit / SIZE))
  run:compare_hit(run.index:match(to_ids(list), #list, limit), want, "match")
end

function moves.lock(run)
  local list = run:path()
  local want = run.model:match(list, #list)
  local hit = run.index:match(to_ids(list), #list, SIZE * #list)
  run:compare_hit(hit, want, "lock")
  local use_state = math.random(2) == 1
  if not use_state then hit.state_node, hit.host_node = 0, 0 end
  local to_state = use_state and hit.state_node > 0 and math.random(3) == 1
  if to_state then hit.node, hit.kv_hit = hit.state_node, hit.state_hit end
  local reads = hit.state_node > 0 and want.state or hit.host_node > 0 and want.host or 0
  local state_node = hit.state_node > 0 and hit.state_node or hit.host_node
  run.index:lock()
  local keys = Model.keys(list)
  if reads > 0 then
    local state = run.model.states[keys[reads]]
    state.reads, state.used = state.reads + 1, true
  end
  if not run.tight then run:same(to_state and want.state or want.kv, hit.kv_hit, "locked") end
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
    for _ = 1, math.random(0, math.min(20, LONGEST - #longer)) do longer[#longer + 1] = math.random(2) end
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
  local out = run.index:publish(to_ids(list), #list, c_kv, c_slots, from, move, math.random(-1, 0))
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

-- A node drawn from those that can be reached, 0: there is none.
function Run:node()
  local node = self.index:describe(0)
  local at, c = 0, ffi.new "gdn_index_node"
  for _ = 1, math.random(0, 6) do
    lib.gdn_index_describe(self.index.handle, at, c)
    local child = c.first_child
    for _ = 1, math.random(0, 2) do
      if child == 0 then break end
      lib.gdn_index_describe(self.index.handle, child, c)
      if c.next ~= 0 then child = c.next end
    end
    if child == 0 then break end
    at = child
  end
  return at, at > 0 and node
end

local function depth_of(run, node)
  return run.index:describe(node).tokens / SIZE
end

function moves.pin(run)
  local node = run:node()
  if node == 0 or #run.pins > 3 then return end
  local list = path_of(run.index, node, depth_of(run, node))
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

-- Values are those of the node's last kv number: any function of a path would do.
function Run:rate(kind)
  local batch, n, values = self.index:candidates(kind, math.random(64))
  for k = 1, n do values[k] = (batch[k].id * 37) % 11 end
  self.index:rate(kind, n, values)
  return n
end

-- The first is the least of those that are rated.
function Run:first(kind)
  local n, node = self:rate(kind), self.index:first(kind)
  self:same(n > 0, node > 0, "first of kind " .. kind)
  if node == 0 then return 0 end
  local batch, count, values = self.index:candidates(kind, Index.MAX_BATCH)
  local c = ffi.new "gdn_index_node"
  for k = 1, count do
    lib.gdn_index_describe(self.index.handle, batch[k].id, c)
    if (kind == 0 and c.leaf_is_new or c.state_is_new) == 0 and values[k] < (node * 37) % 11 then
      error(self:where "one of less value waits")
    end
  end
  return node
end

function moves.evict(run)
  local node = run:first(Index.LEAVES)
  if node == 0 then return end
  local shown = run.index:describe(node)
  local list = path_of(run.index, node, shown.tokens / SIZE)
  local most, kv = math.random(30), ints_t()
  local gone, slots = run.index:evict(node, most, kv)
  run:same(math.min(most, shown.length / SIZE), gone, "evicted")
  local want, state = run.model:evict(list, gone)
  for k = 1, gone do run:same(want[k], kv[2 * k - 2] .. "/" .. kv[2 * k - 1], "kv that is given back") end
  for g = 1, GROUPS do run:same(state and state[g] or -1, slots[g - 1], "slot that is given back") end
end

function moves.drop_state(run)
  local node = run:first(math.random(2))
  if node == 0 then return end
  local list = path_of(run.index, node, depth_of(run, node))
  local key = Model.keys(list)[#list]
  local slots = run.index:drop_state(node)
  for g = 1, GROUPS do run:same(run.model.states[key].slots[g], slots[g - 1], "dropped slot") end
  run.model:drop(key)
end

function moves.move_state(run)
  local kind = math.random(2)
  local node = run:first(kind)
  if node == 0 then return end
  local list = path_of(run.index, node, depth_of(run, node))
  local state = run.model.states[Model.keys(list)[#list]]
  local slots = ffi.new "int32_t[2]"
  for g = 1, GROUPS do slots[g - 1] = state.slots[g] < 0 and -1 or run.next_slot + g end
  run.next_slot = run.next_slot + GROUPS + 1
  local old = run.index:move_state(node, kind == Index.STATES and Index.ON_HOST or Index.DEVICE, slots)
  for g = 1, GROUPS do
    run:same(state.slots[g], old[g - 1], "moved slot")
    state.slots[g] = slots[g - 1]
  end
  state.host, state.step = kind == Index.STATES, run.model.step
end

-- Everything that the index has is in the model, and the other way round.
function Run:compare_all()
  local index, model = self.index, self.model
  local c, slots, blocks, states, pending = ffi.new "gdn_index_node", ffi.new "int32_t[2]", 0, 0, { 0 }
  while #pending > 0 do
    local node = table.remove(pending)
    lib.gdn_index_describe(index.handle, node, c)
    local child = c.first_child
    if node > 0 then
      local depth, length, gap, refs = c.depth, c.length, c.parent_gap, c.refs
      local num_states, on_host = c.num_states, c.place
      local list, kv = path_of(index, node, depth)
      local keys = Model.keys(list)
      self:same(true, read_part(index, node, list, kv), "a part of the path to node " .. node)
      for k = depth - length + 1, depth do
        self:same(model.blocks[keys[k]] and model.blocks[keys[k]].kv, kv[k], "kv of " .. keys[k])
        if k < depth then self:same(nil, model.states[keys[k]], "a state within node " .. node) end
      end
      blocks = blocks + length
      self:same((depth - model:state_above(keys[depth])) * SIZE, tonumber(gap), "parent_gap")
      self:same(model:refs(keys[depth]), refs, "refs")
      local state = model.states[keys[depth]]
      self:same(state ~= nil, num_states > 0, "a state at node " .. node)
      if state then
        states = states + 1
        lib.gdn_index_slots(index.handle, node, slots)
        for g = 1, GROUPS do self:same(state.slots[g], slots[g - 1], "slot") end
        self:same(state.host and 1 or 0, on_host, "place")
      end
    end
    while child ~= 0 do
      pending[#pending + 1] = child
      lib.gdn_index_describe(index.handle, child, c)
      child = c.next
    end
  end
  self:same(model.count, blocks, "blocks")
  local count = 0
  for _ in pairs(model.states) do count = count + 1 end
  self:same(count, states, "states")
  local stats = index:stats()
  self:same(model:pinned_blocks(), stats.pinned_blocks, "pinned blocks")
  self:same(stats.states_published - stats.states_used - stats.states_unused, states, "states that stayed")
  self:same(model.unused, stats.states_unused, "states that were never read")
end

function Run:compare_counts()
  if lib.gdn_index_verify(self.index.handle) ~= 0 then error(self:where(self.index:message())) end
  local _, leaves = self.index:candidates(Index.LEAVES, Index.MAX_BATCH)
  self:same(self.model:leaves(), leaves, "leaves that wait")
  for kind, host in pairs { [Index.STATES] = false, [Index.HOST] = true } do
    local _, states = self.index:candidates(kind, Index.MAX_BATCH)
    self:same(self.model:waiting(host), states, "states that wait, kind " .. kind)
  end
end

local NAMES = { "publish", "publish", "publish", "match", "lock", "lock", "unlock", "unlock_state", "advance",
                "advance", "evict", "evict", "drop_state", "move_state", "pin", "unpin" }

local function play(seed, options)
  local run = start(seed, options)
  for move = 1, MOVES do
    run.move = move
    local name = NAMES[math.random(#NAMES)]
    local done, why = pcall(moves[name], run)
    if not done then error(run:where(name .. ": " .. tostring(why)), 0) end
    run:compare_counts()
    if move % 10 == 0 then run:compare_all() end
  end
  run.index:close()
end

describe("An index of random use", function()
  local seed = tonumber(os.getenv "GDN_SEED") or os.time()
  it("answers as lists do", function()
    for case = 1, CASES do play(seed + case, { nodes = 4000, blocks = 100000 }) end
  end)

  it("refuses what has no room, and is as it was", function()
    for case = 1, CASES do play(seed + case, { nodes = 24, blocks = 260, tight = true }) end
  end)
end)
