-- Calibration: the cost model whose steps come nearest to a log of measured ones, by non-negative
-- least squares on relative errors (a decode step of 10 ms counts as much as a prefill of 500). Two forms are
-- tried: with overlap = 0, where only reading weights hides arithmetic, and with overlap = 1.
local read_file = require "gdnmeta.native.read_file"
local cost = require "gdnmeta.sim.cost"
local fit_overlap = require "gdnmeta.sim.fit_overlap"
local nnls = require "gdnmeta.sim.nnls"
local printed = require "gdnmeta.native.printed"
local FIT = printed.figures("Fit", { "n", "mape" })

local M = {}

local COLUMNS = { "tokens_padded", "prefill_tokens", "seqs", "ctx_sum", "ms" }
local KNOWN = { "tokens_padded", "prefill_tokens", "seqs", "ctx_sum", "ms", "att_sum" }
local FEWEST = 8 -- steps
local BETTER = 0.99 -- of the squared error, from which on the other form is taken

local function split(line)
  local list = {}
  for field in (line:gsub("\r$", "") .. ","):gmatch "([^,]*)," do
    list[#list + 1] = field:match "^%s*(.-)%s*$"
  end
  return list
end

-- The index of each known column; other columns are ignored.
local function read_header(line)
  local place, at = {}, {}
  for i, column in ipairs(split(line)) do place[column] = i end
  for _, column in ipairs(COLUMNS) do
    if not place[column] then
      return nil, ("no column %s, want %s"):format(column, table.concat(COLUMNS, ","))
    end
  end
  for _, column in ipairs(KNOWN) do at[column] = place[column] end
  return at
end

local function read_step(line, at)
  local fields, step = split(line), { att_sum = 0 }
  for _, column in ipairs(KNOWN) do
    local i = at[column]
    local value = tonumber(fields[i] or "")
    local ok = value and value < math.huge and (value > 0 or value == 0 and column ~= "ms")
    if i and not ok then
      return nil, ("%s = %s, want a number %s 0"):format(
        column, tostring(fields[i]), column == "ms" and ">" or ">=")
    end
    step[column] = value or step[column]
  end
  return step
end

--- Steps of a log's text: a header line that has the columns tokens_padded, prefill_tokens, seqs,
--- ctx_sum and ms (and perhaps att_sum), then one step per line.
---@param text string
---@param name string named in messages
---@return table|nil steps, string? message
function M.parse(text, name)
  local steps, at, n = {}, nil, 0
  for line in (text:gsub("\n$", "") .. "\n"):gmatch "([^\n]*)\n" do
    n = n + 1
    local value, message = true, nil
    if n == 1 then
      value, message = read_header(line)
      at = value
    elseif line:find "%S" then
      value, message = read_step(line, at)
      steps[#steps + 1] = value
    end
    if not value then return nil, ("%s:%d: %s"):format(name, n, message) end
  end
  if #steps < FEWEST then return nil, ("%s: %d steps, want at least %d"):format(name, #steps, FEWEST) end
  return steps
end

-- c_w = c_tok * bend: below `bend` tokens a step is bound by the weights.
local function solve(steps, bend)
  local rows, ones = {}, {}
  for k, s in ipairs(steps) do
    local w = 1 / s.ms
    rows[k] = { w, w * math.max(bend, s.tokens_padded), w * s.prefill_tokens, w * s.seqs, w * s.ctx_sum,
                w * s.att_sum }
    ones[k] = 1
  end
  local x = nnls.solve(rows, ones)
  local squares = 0
  for _, row in ipairs(rows) do
    local sum = -1
    for i, value in ipairs(row) do sum = sum + value * x[i] end
    squares = squares + sum^2
  end
  return {
    c0 = x[1], c_w = x[2] * bend, c_tok = x[2], c_pf = x[3], c_seq = x[4], c_ctx = x[5], c_att = x[6],
  }, squares
end

-- Token counts where the floor may end: 0, and up to 32 of those that the log has.
local function bends(steps)
  local seen, list, picked = {}, {}, { 0 }
  for _, s in ipairs(steps) do
    if not seen[s.tokens_padded] then
      seen[s.tokens_padded] = true
      list[#list + 1] = s.tokens_padded
    end
  end
  table.sort(list)
  local n = math.min(#list, 32)
  for i = 1, n do picked[i + 1] = list[math.ceil(i * #list / n)] end
  return picked
end

-- The best of the bends, then a ternary search between its neighbours.
local function search(steps)
  local list, best, least, at = bends(steps), nil, math.huge, 1
  local overlapped, squares_of_it = fit_overlap.search(steps, list)
  local function try(bend)
    local coefficients, squares = solve(steps, bend)
    if squares < least * (1 - 1e-9) then
      best, least = coefficients, squares
      return squares, true
    end
    return squares
  end
  for i, bend in ipairs(list) do
    local _, better = try(bend)
    if better then at = i end
  end
  local low, high = list[math.max(1, at - 1)], list[math.min(#list, at + 1)]
  for _ = 1, 40 do
    local third = (high - low) / 3
    if try(low + third) < try(high - third) then high = high - third else low = low + third end
  end
  if squares_of_it < least * BETTER then return overlapped end
  return best
end

local function predicted(model, s)
  return model:device_ms(s.tokens_padded, s.prefill_tokens, s.seqs, s.ctx_sum, s.att_sum, 0)
end

-- Residuals by batch size, in buckets of powers of two.
local function residuals(steps, model)
  local buckets, most = {}, 0
  for _, s in ipairs(steps) do
    local b = s.seqs < 1 and 0 or math.floor(math.log(s.seqs) / math.log(2) + 1e-9) + 1
    local r = buckets[b] or { n = 0, ms = 0, error = 0, relative = 0 }
    local miss = predicted(model, s) - s.ms
    r.n, r.ms, r.error, r.relative = r.n + 1, r.ms + s.ms, r.error + miss, r.relative + math.abs(miss) / s.ms
    buckets[b] = r
    most = math.max(most, b)
  end
  local list = {}
  for b = 0, most do
    local r = buckets[b]
    if r then
      list[#list + 1] = { from = b == 0 and 0 or 2^(b - 1), to = b == 0 and 0 or 2^b - 1, n = r.n,
                          mean_ms = r.ms / r.n, mean_error_ms = r.error / r.n, mape = 100 * r.relative / r.n }
    end
  end
  return list
end

--- Fit steps as M.parse gives them.
---@param steps table
--- by_batch is a list of { from, to (rows), n, mean_ms, mean_error_ms, mape }.
---@return table fit coefficients, n, mape (percent), by_batch
function M.steps(steps)
  local best = search(steps)
  local model, sum = cost.new(best), 0
  for _, s in ipairs(steps) do sum = sum + math.abs(predicted(model, s) - s.ms) / s.ms end
  return setmetatable({ coefficients = best, n = #steps, mape = 100 * sum / #steps,
                        by_batch = residuals(steps, model) }, FIT)
end

--- Fit a log file.
---@param path string
---@return table|nil fit, string? message
function M.file(path)
  local text, why = read_file(path)
  local steps
  if text then steps, why = M.parse(text, path) end
  if not steps then return nil, why end
  return M.steps(steps)
end

return M
