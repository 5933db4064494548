-- A first policy: the shortest prompt goes first, and prompts take at most 512 tokens of a step, so
-- that answers under way are not held up.
--   gdnmeta simulate --policy fcfs --policy examples/policies/first.lua
return {
  static = true, -- a request's key never changes
  key = function(r) return r.prompt end,
  chunk = function(_, want, ctx)
    return math.min(want, math.max(512, ctx.block) - ctx.prefill_taken)
  end,
}
