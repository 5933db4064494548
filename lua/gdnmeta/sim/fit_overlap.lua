-- Calibration of the step cost with overlap = 1: each step is bound by memory or by arithmetic, and each of
-- the two is linear. Which step is which is guessed from its tokens, solved, and classified again.
local nnls = require "gdnmeta.sim.nnls"

local M = {}

local STARTS = 8

local function reads(s, x) return x[2] + x[4] * s.seqs + x[5] * s.ctx_sum end
local function computes(s, x) return x[3] * s.tokens_padded + x[6] * s.att_sum end

local function solve(steps, bound)
  local rows, ones = {}, {}
  for k, s in ipairs(steps) do
    local w, f = 1 / s.ms, bound[k] and 1 or 0 -- f: by arithmetic
    local m = 1 - f
    rows[k] = { w, w * m, w * f * s.tokens_padded, w * m * s.seqs, w * m * s.ctx_sum, w * f * s.att_sum }
    ones[k] = 1
  end
  return nnls.solve(rows, ones)
end

local function squares_of(steps, x)
  local squares = 0
  for _, s in ipairs(steps) do
    squares = squares + ((x[1] + math.max(reads(s, x), computes(s, x))) / s.ms - 1)^2
  end
  return squares
end

-- From a guess: steps of more than `bend` tokens are bound by arithmetic. Classified again while that helps.
local function descend(steps, bend)
  local bound, best, least = {}, nil, math.huge
  for k, s in ipairs(steps) do bound[k] = s.tokens_padded > bend end
  while true do
    local x = solve(steps, bound)
    local squares = squares_of(steps, x)
    local is_better = squares < least -- of nan neither
    if not is_better then return best, least end
    best, least = x, squares
    for k, s in ipairs(steps) do bound[k] = computes(s, x) > reads(s, x) end
  end
end

--- The best that is found.
---@param steps table as fit.parse gives them
---@param bends table token counts to begin with, ascending
---@return table coefficients
---@return number squares sum of squared relative errors
function M.search(steps, bends)
  local best, least = nil, math.huge
  for i = 1, STARTS do
    local x, squares = descend(steps, bends[math.ceil(i * #bends / STARTS)])
    if squares < least then best, least = x, squares end
  end
  return { c0 = best[1], c_w = best[2], c_tok = best[3], c_seq = best[4], c_ctx = best[5], c_att = best[6],
           overlap = 1 }, least
end

return M
