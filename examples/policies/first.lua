-- A first policy: short prompts go first, where a second of waiting counts as 20 tokens less, and prompts
-- take at most 512 tokens of a step, so that answers under way are not held up.
--   gdnmeta simulate --rate 9 --policy fcfs --policy examples/policies/first.lua
return {
  static = true, -- a request's key never changes: who came earlier is ahead by the same amount for ever
  key = function(r) return r.prompt + 20 * r.arrival end,
  chunk = function(_, want, ctx)
    return math.min(want, math.max(512, ctx.block) - ctx.prefill_taken)
  end,
}
