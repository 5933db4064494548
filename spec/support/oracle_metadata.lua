-- A record of the oracle, or the `expect` of a vector, dressed up as a metadata object: what the
-- comparer reads, without a library behind it.
local ffi = require "ffi"

local M = {}

-- Each tensor has memory of its own, so that "same memory" can be told from "same values".
local function view(tensor)
  local data, total = {}, 1
  for _, size in ipairs(tensor.shape) do total = total * size end
  for i = 1, #tensor.data do data[i] = tensor.data[i] end
  if #tensor.shape == 1 then
    for i = #data + 1, total do data[i] = tensor.fill end
  end
  return { dtype = tensor.dtype, shape = tensor.shape, data = ffi.new "char[1]",
    totable = function() return data end }
end

---@param record table fields, nil or null where absent
---@param groups table? state fields of each group
function M.metadata(record, groups)
  local meta = {}
  for name, value in pairs(record) do
    if type(value) == "table" and value.dtype then value = view(value) end
    if type(value) ~= "userdata" then meta[name] = value end
  end
  if meta.nums_dict then
    local entry = {}
    for name, value in pairs(meta.nums_dict["8"]) do
      local same = type(value) == "string" and value:match "^same object as (.+)$"
      entry[name] = type(value) == "table" and view(value) or same and meta[same] or value
    end
    meta.nums_dict = { [8] = entry }
  end
  function meta.group(_, g) return M.metadata(groups[g + 1]) end
  return meta
end

return M
