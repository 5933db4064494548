-- Numbers that a cache's `keep` gave to states, by node. `worth` sees them; where a cache has none, they are
-- what states are worth: the least goes, of equal ones the one used longest ago.
local Priorities = {}
Priorities.__index = Priorities

local M = {}

---@return table
function M.new() return setmetatable({ of = {}, any = false }, Priorities) end

--- A state joins at a node; what keep() returned for it.
---@param verdict boolean|number true: 0
function Priorities:set(node, verdict)
  local is_number = type(verdict) == "number"
  self.of[node] = is_number and verdict or 0
  self.any = self.any or is_number
end

-- A node's number outlives its state.
local function of(self, node) return node.state_bytes > 0 and self.of[node.id] or 0 end

--- A node as hooks see it.
function Priorities:show(node) node.priority = of(self, node) end

--- Some nodes of a kind are worth their numbers. Nothing where keep() has returned none.
---@param most integer|nil as Index:candidates() takes it
function Priorities:rate(index, kind, most)
  if not self.any then return end
  local nodes, n, values = index:candidates(kind, most)
  for k = 1, n do values[k] = of(self, nodes[k]) end
  if n > 0 then index:rate(kind, n, values) end
end

return M
