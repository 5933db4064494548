-- Which tables a builder's groups read, and how many rows all of them have.
local INT32_MAX = require("gdnmeta.native.args").INT32_MAX

--- A group took another table. Batches read builder.table_rows.least.
---@param builder table
---@param group integer
---@param cells any what has to be kept alive, if anything
---@param rows integer|nil nil: the group's own table
return function(builder, group, cells, rows)
  local known, least = builder.table_rows, INT32_MAX
  builder.borrowed[group], known[group] = cells, rows
  for g = 0, builder.num_groups - 1 do least = math.min(least, known[g] or builder.max_requests) end
  known.least = least
end
