-- Pad-aware admission: a long prompt fills a step up to the largest captured graph and no further, so
-- that no step runs without a graph, and with almost no padding.
--   gdnmeta simulate --policy decode_first --policy examples/policies/pad_aware.lua
local LARGEST = 512 -- tokens of the largest captured graph
local budget = 0 -- per step; the first chunk may use all of it

return {
  static = true,
  key = function(r) return r.arrival end,
  chunk = function(_, want, ctx)
    budget = math.max(budget, ctx.tokens_left)
    local taken = budget - ctx.tokens_left -- by decodes and the prompts before
    local total = math.min(taken + want, LARGEST)
    if total < taken + want then -- a part of the prompt: end on a captured size
      while total > taken and ctx.pad(total) ~= total do total = total - 1 end
    end
    return total - taken
  end,
}
