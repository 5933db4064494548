-- The fields of a policy's or a cache's table, and those that come through a metatable, which is code and has
-- a budget.
local budget = require "gdnmeta.policy.contained.budget"
local load_file = require "gdnmeta.policy.contained.load_file"
local uncompiled = require "gdnmeta.policy.contained.uncompiled"

---@param value table
---@param known table whose keys are the names of fields
---@return table|nil fields, string? message
return function(value, known)
  local fields, names = {}, {}
  for name, field in next, value do fields[name] = field end
  for name in pairs(known) do
    if fields[name] == nil then names[#names + 1] = name end
  end
  uncompiled.keep_index(value)
  local function inherit()
    for _, name in ipairs(names) do fields[name] = value[name] end
  end
  jit.off(inherit)
  local ok, message = budget.run(load_file.LOAD_BUDGET, inherit)
  if not ok then return nil, (tostring(message):gsub("^[^:\n]*read_fields%.lua:%d+: ", "")) end
  return fields
end
