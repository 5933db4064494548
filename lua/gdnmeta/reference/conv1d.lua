-- The causal convolution over a row's tokens, one filter of `width` taps per channel, then SiLU:
--   y[t, c] = silu(sum over w of weight[c, w] * x[t - width + 1 + w, c])
-- Inputs before the row's first token come from its window, the latest inputs that an earlier step saw.
local exp = math.exp

local M = {}

--- Token k of a row whose tokens are at at[first ..] of the batch: fills y[at[first + k], :].
--- l.history [width - 1, channels]: the inputs before the row.
function M.token(l, x, at, first, k)
  local width, channels, weight, history, y = l.width, l.channels, l.conv_weight, l.history, l.y
  local out = at[first + k] * channels
  for c = 0, channels - 1 do
    local sum = 0
    for w = 0, width - 1 do
      local j = k - width + 1 + w -- a token of the row, or before it
      local input = j >= 0 and x[at[first + j] * channels + c] or history[(j + width - 1) * channels + c]
      sum = sum + weight[c * width + w] * input
    end
    y[out + c] = sum / (1 + exp(-sum))
  end
end

--- Inputs [count, channels] into `window`, from place `from` on of history and the row's tokens end to end.
function M.window(l, x, at, first, from, window, base, count)
  local before, channels, history = l.width - 1, l.channels, l.history
  for n = 0, count - 1 do
    local place = from + n
    for c = 0, channels - 1 do
      window[base + n * channels + c] = place < before and history[place * channels + c]
        or x[at[first + place - before] * channels + c]
    end
  end
end

return M
