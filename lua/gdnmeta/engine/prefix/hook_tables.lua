-- Tables that a cache's hook gets and that are filled again for the next one. It can do anything to them, and
-- what their metamethods would do, they would do to the engine, within no limits: one that has any is
-- replaced.
local metatable_of = debug.getmetatable -- the other one shows what a metatable says of itself

local M = {}

--- As policies see a node; `created` and the others that are not numbers are set where it is shown.
function M.blank()
  return { id = 0, tokens = 0, length = 0, kv_bytes = 0, state_bytes = 0, hits = 0, state_hits = 0, age = 0,
           state_age = 0, created = 0, refs = 0, children = 0, parent = 0, parent_gap = 0, passes = 0,
           superseded = false, pinned = false, on_host = false, mark = -1, worth = 0, is_new = true }
end

--- A list that was a hook's, or an empty one.
---@param list table
---@return table
function M.plain(list)
  if metatable_of(list) then return {} end
  return list
end

--- The k-th table for a node, which was a hook's.
---@param own table[] is not shown to hooks
---@param k integer
---@return table
function M.node(own, k)
  if metatable_of(own[k]) then own[k] = M.blank() end
  return own[k]
end

return M
