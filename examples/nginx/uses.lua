-- Does a policy look at a field of requests? Its code is searched for the name, with the functions that it
-- calls: what no hook reads, a client cannot set.
local util = require "jit.util"

local M = {}

-- Constants of a function or of one within it: those that are no numbers count down from -1.
local function mentions(code, name)
  local at = -1
  while true do
    local constant = util.funck(code, at)
    if constant == nil then return false end
    if constant == name or type(constant) == "proto" and mentions(constant, name) then return true end
    at = at - 1
  end
end

local function reads(value, name, seen)
  if seen[value] then return false end
  seen[value] = true
  if type(value) == "table" then
    for _, part in next, value do
      if (type(part) == "table" or type(part) == "function") and reads(part, name, seen) then return true end
    end
    return false
  end
  if util.funcinfo(value).addr then return false end -- written in C
  if mentions(value, name) then return true end
  local at = 1
  while true do
    local upvalue, part = debug.getupvalue(value, at)
    if not upvalue then return false end
    if (type(part) == "table" or type(part) == "function") and reads(part, name, seen) then return true end
    at = at + 1
  end
end

--- Whether a hook of the policy names the field.
---@param policy table gdnmeta.policy
---@param name string
---@return boolean
function M.field(policy, name) return reads(policy, name, {}) end

return M
