--- Does everything that an engine keeps agree? Each slot and block is counted again, the state cache's index
--- looks itself over, and the books must balance. A method of the engine, for tests and for a host in doubt.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local array_of = require "gdnmeta.array_of"
local change_rules = require "gdnmeta.engine.change_rules"
local requests = require "gdnmeta.engine.requests"
local verify_columns = require "gdnmeta.engine.verify_columns"

local EGUARD = tonumber(lib.GDN_EGUARD)
local RUNNING, WAITING, LEAVING = requests.RUNNING, requests.WAITING, requests.LEAVING
local int32s, nodes_t = array_of "int32_t", ffi.typeof "gdn_index_node"

jit.off(true, true) -- no step path

local Engine = {}

local function add(holders, number) holders[number] = (holders[number] or 0) + 1 end

local function add_source(held, source)
  for group, slot in ipairs(source.slots) do
    add(held.slots[group], slot)
    add(held.kept_slots[group], slot)
  end
  for _, block in ipairs(source.kv or {}) do
    add(held.kv, block)
    add(held.kept_kv, block)
  end
end

local function add_row(held, kv, table_row)
  local row = lib.gdn_kv_table(kv.kv) + table_row * kv.columns
  for column = 0, lib.gdn_kv_length(kv.kv, table_row) - 1 do add(held.kv, row[column]) end
end

-- What the state tables and the table of blocks hold.
local function add_tables(self, held)
  local states, num_rows = self.states, self.config.max_requests
  for group = 1, states.groups do
    local cells = states.tables[group - 1]
    for at = 0, num_rows * states.width - 1 do
      if cells[at] ~= 0 then add(held.slots[group], cells[at]) end
    end
  end
  if not self.kv_blocks then return end
  for table_row = 0, num_rows - 1 do add_row(held, self.kv_blocks, table_row) end
end

-- What a node of the state cache's index holds, c is described: blocks, if it has any, and a state.
local function add_node(prefix, held, node, c)
  local num_blocks, slots = c.length * prefix.per_block, int32s(prefix.groups)
  if num_blocks > 0 then
    local kv = int32s(num_blocks)
    lib.gdn_index_read(prefix.index.handle, node, c.depth - c.length, c.length, nil, kv)
    for k = 0, num_blocks - 1 do add(held.kv, kv[k]) end
  end
  if c.num_states == 0 then return end
  lib.gdn_index_slots(prefix.index.handle, node, slots)
  if c.place == lib.GDN_INDEX_ON_HOST then return add(held.host, slots[0]) end
  for group = 1, prefix.groups do add(held.slots[group], slots[group - 1]) end
end

-- What the state cache holds: nodes of its index, from the root 0 on, which has no next; and states of
-- answers that are not at their end.
local function add_cache(self, held)
  local prefix, stack, c = self.prefix, { 0 }, nodes_t()
  while #stack > 0 do
    local node = table.remove(stack)
    lib.gdn_index_describe(prefix.index.handle, node, c)
    if c.first_child > 0 then table.insert(stack, c.first_child) end
    if c.next > 0 then table.insert(stack, c.next) end
    add_node(prefix, held, node, c)
  end
  for at = 0, self.num_running - 1 do
    local i = self.running[at]
    local base = self.requests.table_row[i] * prefix.groups
    if self.requests.answer_at[i] > 0 then
      for group = 1, prefix.groups do add(held.slots[group], prefix.held_slots[base + group - 1]) end
    end
  end
end

local function count(self)
  local r, held = self.requests, { slots = {}, kv = {}, host = {}, kept_slots = {}, kept_kv = {} }
  for group = 1, self.states.groups do held.slots[group], held.kept_slots[group] = {}, {} end
  add_tables(self, held)
  if self.prefix then add_cache(self, held) end
  for _, source in pairs(self.pinned) do add_source(held, source) end
  for _, i in pairs(r.index) do
    if r.checkpoint[i] then add_source(held, r.checkpoint[i]) end
    if r.keep[i] then add_source(held, r.keep[i][1]) end
  end
  for _, step in ipairs(self.steps) do
    for _, entry in ipairs(step.keeping) do add_source(held, entry.keep[1]) end
  end
  return held
end

local function slots_problem(self, held)
  local pools = self.states.pools
  for n, of_group in ipairs(held.slots) do
    local group = n - 1
    for slot = 1, self.config.num_slots[group] - 1 do
      local holders, want = lib.gdn_slots_holders(pools, group, slot), of_group[slot] or 0
      if holders ~= want then
        return ("slot %d of group %d has %d holders, want %d"):format(slot, group, holders, want)
      end
    end
  end
end

local function blocks_problem(self, held)
  if not self.kv_blocks then return nil end
  local used = 0
  for block = 0, self.options.kv_blocks - 1 do
    local holders, want = lib.gdn_kv_holders(self.kv_blocks.kv, block), held.kv[block] or 0
    if holders ~= want then return ("block %d has %d holders, want %d"):format(block, holders, want) end
    used = used + math.min(holders, 1)
  end
  if self.states.free_kv ~= self.options.kv_blocks - used then
    return ("%d blocks are free, want %d"):format(self.states.free_kv, self.options.kv_blocks - used)
  end
end

-- What is kept of one pool, by number, and what of it: requests have that much less. more: kept for sessions.
local function kept_problem(pool, pins, kept, more)
  local n = more
  for number, want in pairs(kept) do
    n = n + 1
    if pins[number] ~= want then
      return ("%s %d is kept %d times, want %d"):format(pool, number, pins[number] or 0, want)
    end
  end
  for number, times in pairs(pins) do
    if number ~= "n" and not kept[number] then
      return ("%s %d is kept %d times, want none"):format(pool, number, times)
    end
  end
  if pins.n ~= n then return ("%d %ss are kept, want %d"):format(pins.n, pool, n) end
end

local function all_kept_problem(self, held)
  local prefix, states = self.prefix, self.states
  local sessions, blocks = 0, 0
  if prefix then
    for _, s in pairs(prefix.sessions) do sessions = sessions + (s.pinned and 1 or 0) end
    blocks = prefix.index:stats(prefix.counts).pinned_blocks * prefix.per_block
  end
  for group = 1, states.groups do
    local problem = kept_problem("slot", states.pins[group], held.kept_slots[group], sessions)
    if problem then return problem .. (" of group %d"):format(group - 1) end
  end
  return kept_problem("block", states.kv_pins, held.kept_kv, blocks)
end

-- Tokens of a running request: what was cached, and what was computed for it since it was admitted.
local function request_problem(self, i)
  local r = self.requests
  local sure, cached = r.computed[i] - r.ahead[i], r.cached[i]
  local is_right = cached >= 0 and cached <= sure and sure < r.known[i] and r.ahead[i] >= 0
  if r.state[i] == WAITING then is_right = r.computed[i] == cached and cached < r.known[i] end
  if is_right then return nil end
  return ("request %s has %d tokens computed, %d of them cached and %d in flight, of %d known"):format(
    args.word(r.id[i]), r.computed[i], cached, r.ahead[i], r.known[i])
end

-- I26: prompt + output - 1 = computed + cached for each request that finished; and all that was scheduled is
-- of a request that finished or runs, or is counted apart.
local function books_problem(self)
  local r, s, sum, num_running, num_sourced = self.requests, self.stats, self.of_use, 0, 0
  for _, i in pairs(r.index) do
    local problem = request_problem(self, i)
    if problem then return problem end
    if r.state[i] == RUNNING then sum, num_running = sum + r.computed[i] - r.cached[i], num_running + 1 end
  end
  for i = 0, r.capacity - 1 do num_sourced = num_sourced + r.sourced[i] end -- of those that left, too
  for _, step in ipairs(self.steps) do -- rows of requests that finished before: they are wasted
    for row = 0, (step.in_flight and step.num_rows or 0) - 1 do
      if r.state[step.request[row]] == LEAVING then sum = sum + step.query_len[row] end
    end
  end
  if num_sourced ~= self.states.num_sourced then
    return ("%d requests read another's state, want %d"):format(self.states.num_sourced, num_sourced)
  end
  if num_running ~= self.num_running then
    return ("%d requests run, want %d"):format(self.num_running, num_running)
  end
  sum = sum + s.rejected_drafts + s.discarded + s.abandoned + s.wasted_tokens
  if s.scheduled ~= sum then return ("%d tokens were scheduled, want %d"):format(s.scheduled, sum) end
end

-- I29, of the index and the sessions.
local function index_problem(self, held)
  local prefix = self.prefix
  if not prefix then return nil end
  if lib.gdn_index_verify(prefix.index.handle) ~= 0 then return "state cache: " .. prefix.index:message() end
  return prefix:sessions_problem() or prefix:holding_problem()
    or prefix.host and prefix.host:problem(held.host) or nil
end

--- Does everything agree that the engine keeps of slots, blocks, states and tokens? It looks at all of it,
--- which takes long. Nothing is changed.
---@return boolean|nil ok
---@return string? message what does not agree
---@return integer? code
function Engine:verify()
  self = change_rules.look(self, "verify")
  local held = count(self)
  local problem = slots_problem(self, held) or blocks_problem(self, held) or index_problem(self, held)
    or all_kept_problem(self, held) or books_problem(self) or verify_columns.problem(self)
  if problem then return nil, "gdnmeta.engine: " .. problem, EGUARD end
  return true
end

return Engine
