-- Nodes of an index as Lua sees them: described, shown as candidates to leave, rated. Methods of Index.
-- Candidates are shown as tables that are filled anew each time: steps leave no garbage, policies see no
-- cdata.
local lib = require "gdnmeta.native"
local hook_tables = require "gdnmeta.engine.prefix.hook_tables"
local refused = require "gdnmeta.engine.prefix.refused"

local max = math.max

-- Nodes that are valued before each eviction; more, now and then, where half of the last ones were new.
local FEW, MANY, SELDOM = 8, 32, 8

local Nodes = { ON_HOST = 1 }

local function show(self, node, is_state, t)
  local c = self.node
  local status = lib.gdn_index_describe(self.handle, node, c)
  if status ~= 0 then refused(self, status) end
  t.id, t.tokens, t.length, t.kv_bytes, t.state_bytes = node, c.tokens, c.length, c.kv_bytes, c.state_bytes
  t.length = c.length * self.block_size
  t.hits, t.state_hits, t.created, t.refs, t.children = c.hits, c.state_hits, c.created, c.refs, c.children
  -- A host's clock may be set back.
  t.age, t.state_age = max(0, self.now - c.last_use), max(0, self.now - c.state_use)
  t.parent, t.parent_gap = c.parent, c.parent_gap
  t.passes, t.superseded, t.pinned, t.mark = c.passes, c.passes > 0, c.pins > 0, c.mark
  t.on_host = c.num_states > 0 and c.place == Nodes.ON_HOST
  t.worth, t.is_new = c.leaf_value, c.leaf_is_new == 1
  if is_state then t.worth, t.is_new = c.state_value, c.state_is_new == 1 end
  return t
end

--- A node as policies see it. `into` is filled where it is given.
function Nodes:describe(node, into)
  return show(self, node, false, into or hook_tables.blank())
end

--- Has the node a state, and is it on the host?
---@return boolean
function Nodes:is_on_host(node)
  local c = self.node
  local status = lib.gdn_index_describe(self.handle, node, c)
  if status ~= 0 then refused(self, status) end
  return c.num_states > 0 and c.place == Nodes.ON_HOST
end

--- Tokens of the last whole state on the path to a node, its own among them; 0: there is none.
---@param node integer 0: the path of no blocks
---@return number
function Nodes:state_before(node)
  local c = self.node
  local status = lib.gdn_index_describe(self.handle, node, c)
  if status ~= 0 then refused(self, status) end
  local is_whole = c.num_states > 0 and c.num_states == self.num_groups
  return is_whole and c.tokens or c.tokens - c.parent_gap
end

--- Up to `most` of a kind that wait to be evicted.
---@param most integer|nil nil: few, or more after many that were new
---@return table nodes [1 .. n], the index's own: filled anew by the next call
---@return integer n
---@return table values [1 .. n] as rated before, NaN: never; to be filled and given to rate()
function Nodes:candidates(kind, most)
  local numbers, doubles = self.numbers, self.doubles
  local own, batch, values = self.own, hook_tables.plain(self.batch), hook_tables.plain(self.values)
  self.batch, self.values = batch, values
  if not most then
    local is_many = self.few[kind] >= SELDOM and self.many_new[kind]
    self.few[kind] = is_many and 0 or self.few[kind] + 1
    most = is_many and MANY or FEW
  end
  local n = lib.gdn_index_candidates(self.handle, kind, most, numbers, doubles)
  if n < 0 then refused(self, n) end
  local new = 0
  for k = 1, n do
    local node = show(self, numbers[k - 1], kind > 0, hook_tables.node(own, k))
    batch[k], values[k] = node, doubles[k - 1]
    if node.is_new then new = new + 1 end
  end
  self.many_new[kind] = 2 * new >= most
  return batch, n, values
end

--- Stores values[1 .. n] of the nodes that candidates() gave last, for first(). Stores nothing where one
--- of them is no number.
---@return integer|nil bad the first that is no number
function Nodes:rate(kind, n, values)
  local doubles = self.doubles
  for k = 1, n do
    local value = values[k]
    if type(value) ~= "number" or value ~= value then return k end
    doubles[k - 1] = value
  end
  local status = lib.gdn_index_rate(self.handle, kind, self.numbers, doubles, n)
  if status ~= 0 then refused(self, status) end
end

--- The least of a kind, by value; 0: nothing waits.
---@return integer node
function Nodes:first(kind) return lib.gdn_index_first(self.handle, kind) end

return Nodes
