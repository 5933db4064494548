-- Numbers of a step as parts of a sentence.
local SHOWN = 12 -- elements of a list

local M = {}

--- Was the step built for a bucket? Such steps have every tensor, and name the class of each token.
---@param meta table
---@return boolean
function M.is_bucket(meta) return meta.token_class ~= nil end

--- Rows without those at the end that have no tokens: what stands behind them is padding.
---@param rows integer
---@param bounds ffi.cdata* boundaries of the rows' tokens
---@return integer
function M.without_padding(rows, bounds)
  rows = math.min(rows, #bounds - 1)
  while rows > 0 and bounds[rows] == bounds[rows - 1] do rows = rows - 1 end
  return rows
end

--- So many stand for something.
---@return string
function M.stand(n) return ("%d %s"):format(n, n == 1 and "stands" or "stand") end

---@return string
function M.count(n, what) return ("%d %s%s"):format(n, what, n == 1 and "" or "s") end

--- Positions from .. to - 1.
---@return string
function M.range(from, to)
  if to <= from then return "none" end
  return to == from + 1 and tostring(from) or ("%d .. %d"):format(from, to - 1)
end

--- The first elements of a vector.
---@param view ffi.cdata*
---@param n integer|nil only the first n
---@return string
function M.list(view, n)
  n = n or #view
  if n == 0 then return "none" end
  local parts = {}
  for i = 0, math.min(n, SHOWN) - 1 do parts[i + 1] = tostring(view[i]) end
  return table.concat(parts, ", ") .. (n > SHOWN and (" and %d more"):format(n - SHOWN) or "")
end

--- A row of a matrix.
---@return string
function M.row(view, row)
  if view.shape[1] == 0 then return "nothing" end
  local parts = {}
  for column = 0, math.min(view.shape[2], SHOWN) - 1 do parts[column + 1] = tostring(view:at(row, column)) end
  return table.concat(parts, ", ") .. (view.shape[2] > SHOWN and " ..." or "")
end

--- A line of chunk_indices.
---@return string
function M.chunk(view, line)
  return ("chunk %d of prefill %d"):format(view:at(line, 1), view:at(line, 0))
end

--- Where a vector of booleans has a value; with boundaries, of the rows that have tokens.
---@return string
function M.where(view, value, bounds)
  local parts, n = {}, 0
  for i = 0, #view - 1 do
    if view[i] == value and (not bounds or i < #bounds - 1 and bounds[i + 1] > bounds[i]) then
      n = n + 1
      if n <= SHOWN then parts[n] = tostring(i) end
    end
  end
  if n == 0 then return "none" end
  return table.concat(parts, ", ") .. (n > SHOWN and (" and %d more"):format(n - SHOWN) or "")
end

return M
