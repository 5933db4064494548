-- Texts as a layer sees them, and what it makes of each when nothing is batched: the truth of the
-- reference layer's specs.
local array_of = require "gdnmeta.array_of"

local doubles = array_of "double"

local M = {}

-- Input n of token p of a family: no two alike, and the same in every run.
local function input(family, p, n)
  return ((family * 7919 + p * 104729 + n * 15485863) * 48271 % 2147483647) / 1073741824 - 1
end

--- Write the inputs of token p (0-based) of a family at token t of x, a, b.
function M.inputs(layer, family, p, x, a, b, t)
  local channels, heads = layer.channels, layer.heads
  for c = 0, channels - 1 do x[t * channels + c] = input(family, p, c) end
  for h = 0, heads - 1 do
    a[t * heads + h], b[t * heads + h] = input(family, p, 1000 + h), input(family, p, 2000 + h)
  end
end

--- A family's outputs [tokens, values], and before each token its window [tokens + 1, history] and its
--- state [tokens + 1, state]: { out, history, state } as flat arrays.
function M.run(layer, family, tokens)
  local values, before = layer.heads * layer.value_dim, (layer.width - 1) * layer.channels
  local x, a, b = doubles(layer.channels), doubles(layer.heads), doubles(layer.heads)
  local truth = { out = doubles(tokens * values), history = doubles((tokens + 1) * before),
                  state = doubles((tokens + 1) * layer.state_size) }
  local sequence, out = layer:sequence(), doubles(values)
  for p = 0, tokens - 1 do
    M.inputs(layer, family, p, x, a, b, 0)
    layer:extend(sequence, x, a, b, 1, out)
    for i = 0, values - 1 do truth.out[p * values + i] = out[i] end
    sequence:read_window(layer, 1, 0)
    for i = 0, before - 1 do truth.history[(p + 1) * before + i] = layer.history[i] end
    for i = 0, layer.state_size - 1 do truth.state[(p + 1) * layer.state_size + i] = layer.state[i] end
  end
  return truth
end

return M
