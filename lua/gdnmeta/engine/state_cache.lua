-- States that requests leave for others whose prompts begin with the same blocks: found by the index, read
-- where they lie, evicted when requests need their slots or blocks. A waiting request holds what it is to
-- begin with, and lets go of it when its first step is complete.
local lib = require "gdnmeta.native"
local Index = require "gdnmeta.engine.prefix.index"
local sources = require "gdnmeta.engine.sources"
local array_of = require "gdnmeta.array_of"
local must = require "gdnmeta.engine.must" "state cache"

local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min
local int32s = array_of "int32_t"
local ECAP = tonumber(lib.GDN_ECAP)

local LOOKS = 32 -- waiting requests that a step looks for in the index, from the head of the queue on
local MOST_BLOCKS = 2 ^ 20

local StateCache = {}
StateCache.__index = StateCache

-- The rest of a block is copied for nobody: hits end with whole blocks.
local function blocks_of(self, node, n)
  if self.per_block == 0 then return nil end
  local kv = int32s(max(n * self.per_block, 1))
  must(lib.gdn_index_read(self.index.handle, node, 0, n, nil, kv))
  local list = {}
  for k = 1, n * self.per_block do list[k] = kv[k - 1] end
  return list
end

--- What request i, which waits, begins with: the longest prefix with a state.
function StateCache:match(i)
  local e, r = self.engine, self.engine.requests
  r.matched[i] = self.version
  local hit = self.index:match(r.ids[i], r.num_ids[i], r.known[i] - 1)
  r.junction[i] = tonumber(hit.junction)
  if hit.state_node == 0 then return end
  local slots, source = self.index.slots, { tokens = tonumber(hit.state_tokens), accepted = 1, slots = {},
                                            generations = {} }
  must(lib.gdn_index_slots(self.index.handle, hit.state_node, slots))
  for group = 1, self.groups do
    source.slots[group] = slots[group - 1]
    source.generations[group] = lib.gdn_slots_generation(e.states.pools, group - 1, slots[group - 1])
  end
  source.kv = blocks_of(self, hit.state_node, hit.state_hit)
  if source.kv then self.need = max(self.need or sources.largest_need(e), sources.need_of(e, i)) end
  if sources.crowded(e, source.slots, source.kv, self.need) then -- not now: in a later step
    r.matched[i] = -1
    return
  end
  hit.node, hit.kv_hit, hit.kv_tokens = hit.state_node, hit.state_hit, hit.state_tokens
  if not self.index:lock() then return end
  source.node = hit.state_node
  sources.give(e, i, source)
end

--- Request i is admitted.
function StateCache:admitted(i)
  local e, source = self.engine, self.engine.requests.checkpoint[i]
  if not source or not source.node then return end
  e.stats.hits, e.stats.cached_tokens = e.stats.hits + 1, e.stats.cached_tokens + source.tokens
end

--- A request needs it no longer.
function StateCache:unlock(node)
  self.index:unlock_state(node)
  self.index:unlock(node)
end

--- Request i runs no longer: others keep what it has left, or it goes.
function StateCache:leave(i)
  local r = self.engine.requests
  if r.node[i] > 0 then self.index:unlock(r.node[i]) end
  r.node[i] = 0
end

--- Request i begins with nothing again.
function StateCache:let_go(i)
  local e, r = self.engine, self.engine.requests
  local source = r.checkpoint[i]
  if not source or not source.node then return end
  r.checkpoint[i], r.kv_shared[i] = nil, 0
  sources.drop(e.states, source)
end

-- Waiting requests at the head of the queue, where the index has changed since they were looked for.
local function find(self, i)
  local r = self.engine.requests
  self:match(i)
  if not self.hooks or r.cuts[i] and r.cuts_at[i] == r.junction[i] then return end
  r.cuts_at[i] = r.junction[i]
  r.cuts[i] = self.hooks:checkpoints(i, r.computed[i], r.prompt[i])
end

local function match_waiting(self)
  local e, r = self.engine, self.engine.requests
  local i, looks = e.fifo.head, 0
  while i >= 0 and looks < LOOKS do
    local following = r.next[i]
    if r.ids[i] and r.flight[i] == 0 and r.matched[i] ~= self.version
      and (not r.checkpoint[i] or r.checkpoint[i].node) then
      self:let_go(i)
      r.cached[i], r.computed[i] = 0, 0
      find(self, i)
    end
    i, looks = following, looks + 1
  end
end

local function drop_slots(self, slots)
  for group = 0, self.groups - 1 do
    if slots[group] > 0 then must(lib.gdn_slots_drop(self.engine.states.pools, group, slots[group])) end
  end
end

---@return boolean a state has left
function StateCache:evict_state()
  if self.hooks then self.hooks:rate(self.index, Index.STATES) end
  local node = self.index:first(Index.STATES)
  if node == 0 then return false end
  drop_slots(self, self.index:drop_state(node))
  self.version = self.version + 1
  return true
end

---@return boolean blocks have left
function StateCache:evict_leaf()
  if self.hooks then self.hooks:rate(self.index, Index.LEAVES) end
  local node = self.index:first(Index.LEAVES)
  if node == 0 then return false end
  local gone, slots = self.index:evict(node, self.at_once, self.gone)
  if gone > 0 and self.per_block > 0 then
    must(lib.gdn_kv_drop(self.engine.states.kv.kv, self.gone, gone * self.per_block))
    self.engine.states.free_kv = self.engine.states.kv:free()
  end
  drop_slots(self, slots)
  self.version = self.version + 1
  return gone > 0
end

-- Slots that the step may take: of those that may come in, and of those that run where their windows move.
local function slots_wanted(e)
  local comers = min(e.fifo.size, e.max_num_seqs - e.num_running)
  if not e.align then return comers * e.states.per_request end
  return comers * (2 + e.num_spec) + e.num_running * max(1, e.num_spec)
end

local function blocks_wanted(e)
  local i, comers, sum = e.fifo.head, e.max_num_seqs - e.num_running, e.plan.outlook:promised()
  while i >= 0 and comers > 0 do
    sum, comers, i = sum + e.plan.outlook:blocks(i), comers - 1, e.requests.next[i]
  end
  return sum + e.plan.watermark + e.num_running * (1 + ceil(e.num_spec / e.states.kv_block))
end

--- A step begins: waiting requests find their states, and states that nobody reads make room for requests.
function StateCache:begin(now)
  local e = self.engine
  self.index:advance(now)
  self.need = nil -- the largest of all requests, looked for once a step: hits only make it less
  if self.hooks then self.hooks.guard:step_done() end
  match_waiting(self)
  local slots = slots_wanted(e)
  while e.states:free_slots() < slots and self:evict_state() do end
  if self.per_block == 0 then return end
  local blocks = blocks_wanted(e)
  while e.states.free_kv < blocks and self:evict_leaf() do end
end

--- Where request i is to leave states: at the junction with another prompt, and at its last full block.
function StateCache:next_cut(i)
  local r = self.engine.requests
  if not r.ids[i] then return 0 end
  local computed, junction, cuts = r.computed[i], r.junction[i], r.cuts[i]
  if cuts then
    for n = 1, #cuts do
      if cuts[n] > computed then return cuts[n] end
    end
    return 0
  end
  if junction > computed and junction % self.size == 0 and junction < r.prompt[i] then return junction end
  local last = floor((r.prompt[i] - 1) / self.size) * self.size
  return last > computed and last or 0
end

--- Two steps in flight, mode none: the next chunk of request i would overwrite the state that it is to leave.
function StateCache:spare_state(i)
  local e, r = self.engine, self.engine.requests
  if e.align or r.flight[i] == 0 or r.keep_at[i] ~= r.computed[i] or r.sourced[i] == 1 then return end
  local plan, free = e.plan, e.states:free_slots()
  if plan.slots_left > 0 then -- the others are promised
    plan.slots_left = plan.slots_left - 1
  elseif not self:evict_state() or e.states:free_slots() == free then
    return
  end
  e.states:move_on(i, r.read_column[i])
  r.kept[i] = r.computed[i]
end

-- The column where the state at `tokens` lies that nothing overwrites any more; nil: there is none.
local function column_of(self, i, tokens)
  local e, r = self.engine, self.engine.requests
  if e.align then
    local column = tokens / e.block - 1
    return e.states.tables[0][r.table_row[i] * e.states.width + column] ~= 0 and column or nil
  elseif r.flight[i] == 0 then
    return r.read_column[i]
  end
  return r.kept[i] == tokens and e.states.spare or nil
end

local function join(self, i, n, column)
  local e, r = self.engine, self.engine.requests
  local slots, at, kv = self.work, r.table_row[i] * e.states.width + column, nil
  for group = 0, self.groups - 1 do slots[group] = e.states.tables[group][at] end
  if self.per_block > 0 then
    kv = lib.gdn_kv_table(e.states.kv.kv) + r.table_row[i] * e.states.kv.columns
  end
  local published, _, code
  repeat
    published, _, code = self.index:publish(r.ids[i], n, kv, slots, r.node[i], true, -1)
  until code ~= ECAP or not self:evict_leaf()
  if not published then return false end
  r.node[i] = published.node
  if kv and published.added > 0 then
    must(lib.gdn_kv_hold(e.states.kv.kv, kv + published.known * self.per_block,
                         published.added * self.per_block))
  end
  if published.state_taken == 0 then return false end
  for group = 0, self.groups - 1 do must(lib.gdn_slots_share(e.states.pools, group, slots[group])) end
  self.version = self.version + 1
  return true
end

--- A chunk of request i is complete that ends with a block: its state joins the cache, and the request moves
--- on.
function StateCache:publish(i, tokens)
  local e, r = self.engine, self.engine.requests
  r.keep_at[i] = 0
  local priority = not self.hooks or self.hooks:keeps(i, tokens)
  if not priority then return end
  local column = column_of(self, i, tokens)
  if not column or column < 0 then return end
  local moves = not e.align and column ~= e.states.spare
  if moves and e.states:free_slots() < 1 then
    self:evict_state()
    if e.states:free_slots() < 1 then return end
  end
  if not join(self, i, tokens / self.size, column) then return end
  if self.hooks then self.hooks:kept(r.node[i], priority) end
  if moves then e.states:move_on(i, column) end
end

--- A row of request i is complete, which has `tokens` computed for sure.
function StateCache:completed(i, tokens)
  local r = self.engine.requests
  if r.keep_at[i] > 0 and r.keep_at[i] == tokens then self:publish(i, tokens) end
  if r.flight[i] == 0 or r.checkpoint[i] and tokens > r.checkpoint[i].tokens then self:let_go(i) end
end

local M = {}

---@return table|nil cache, string? message, integer? code
function M.new(e, o)
  local num_slots = o.config.num_slots[0]
  local per_block = o.kv_blocks and o.hash_block_size / o.kv_block_size or 0
  local in_prompts = num_slots * ceil(o.max_model_len / o.hash_block_size)
  local blocks = per_block > 0 and ceil(o.kv_blocks / per_block) or in_prompts
  local index, message, code = Index.new {
    num_groups = o.config.num_groups, block_size = o.hash_block_size, kv_per_block = per_block,
    max_nodes = min(4 * num_slots + 1024, 2 ^ 24), max_blocks = max(min(blocks, MOST_BLOCKS), 1),
    kv_bytes = 1, state_bytes = 1, -- what they weigh is the host's to know: a state is the unit
  }
  if not index then return nil, message, code end
  local at_once = 64
  return setmetatable({ engine = e, index = index, size = o.hash_block_size, groups = o.config.num_groups,
                        hooks = false, per_block = per_block, version = 0, at_once = at_once,
                        gone = int32s(max(at_once * per_block, 1)), work = int32s(64) }, StateCache)
end

return M
