-- Non-negative least squares: the x >= 0 that makes |A x - b| smallest, by Lawson and Hanson's active
-- set. Coefficients are few (columns of A) and measurements many (rows), so the work is done on the
-- normal equations of columns scaled to length 1.
local M = {}

local EPSILON = 1e-10 -- of a column's squared length: below it, a direction is not in the data

-- Gram matrix A'A, A'b and the lengths of the columns.
local function normal(rows, b)
  local n = #rows[1]
  local gram, rhs, length = {}, {}, {}
  for i = 1, n do
    gram[i], rhs[i] = {}, 0
    for j = 1, n do gram[i][j] = 0 end
  end
  for k = 1, #rows do
    local row = rows[k]
    for i = 1, n do
      rhs[i] = rhs[i] + row[i] * b[k]
      for j = i, n do gram[i][j] = gram[i][j] + row[i] * row[j] end
    end
  end
  for i = 1, n do length[i] = gram[i][i] > 0 and math.sqrt(gram[i][i]) or 1 end
  for i = 1, n do
    rhs[i] = rhs[i] / length[i]
    for j = i, n do
      gram[i][j] = gram[i][j] / (length[i] * length[j])
      gram[j][i] = gram[i][j]
    end
  end
  return gram, rhs, length
end

-- Solve for the columns of `set` alone by Cholesky; nil when one of them depends on those before it.
local function solve(gram, rhs, set)
  local m, l, z = #set, {}, {}
  for i = 1, m do
    l[i] = {}
    for j = 1, i do
      local sum = gram[set[i]][set[j]]
      for k = 1, j - 1 do sum = sum - l[i][k] * l[j][k] end
      if i > j then
        l[i][j] = sum / l[j][j]
      elseif sum <= EPSILON then
        return nil
      else
        l[i][i] = math.sqrt(sum)
      end
    end
  end
  for i = 1, m do
    local sum = rhs[set[i]]
    for k = 1, i - 1 do sum = sum - l[i][k] * z[k] end
    z[i] = sum / l[i][i]
  end
  for i = m, 1, -1 do
    local sum = z[i]
    for k = i + 1, m do sum = sum - l[k][i] * z[k] end
    z[i] = sum / l[i][i]
  end
  return z
end

-- The column outside the set along which the error falls fastest.
local function steepest(gram, rhs, x, barred)
  local best, at = 1e-9, nil
  for i = 1, #rhs do
    if x[i] == 0 and not barred[i] then
      local slope = rhs[i]
      for j = 1, #rhs do slope = slope - gram[i][j] * x[j] end
      if slope > best then best, at = slope, i end
    end
  end
  return at
end

-- Walk from x towards z until the first coefficient reaches 0; that one leaves the set.
local function retreat(x, z, set)
  local alpha = 1
  for i = 1, #set do
    if z[i] <= 0 then alpha = math.min(alpha, x[set[i]] / (x[set[i]] - z[i])) end
  end
  local kept = {}
  for i = 1, #set do
    local c = set[i]
    x[c] = x[c] + alpha * (z[i] - x[c])
    if z[i] <= 0 and x[c] <= 1e-12 then x[c] = 0 else kept[#kept + 1] = c end
  end
  return kept
end

---@param rows table list of rows of A, all of one length
---@param b table one number a row
---@return table x one number a column, >= 0; 0 for columns that depend on others
function M.solve(rows, b)
  local gram, rhs, length = normal(rows, b)
  local x, set, barred = {}, {}, {}
  for i = 1, #rhs do x[i] = 0 end
  for _ = 1, 10 * #rhs do -- each round lowers the error; the bound is for rounding errors alone
    local add = steepest(gram, rhs, x, barred)
    if not add then break end
    set[#set + 1] = add
    local z = solve(gram, rhs, set)
    if not z or z[#set] <= 0 then
      barred[add], set[#set] = true, nil
    else
      barred = {}
      while true do
        local least = math.huge
        for i = 1, #set do least = math.min(least, z[i]) end
        if least > 0 then break end
        set = retreat(x, z, set)
        z = solve(gram, rhs, set)
      end
      for i = 1, #set do x[set[i]] = z[i] end
    end
  end
  for i = 1, #x do x[i] = x[i] / length[i] end
  return x
end

return M
