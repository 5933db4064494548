-- A first policy: short prompts go first, a second of waiting counts as 20 tokens less, and prompts take at
-- most 512 tokens per step, so that running answers are not delayed.
--   gdnmeta simulate --rate 9 --policy fcfs --policy examples/policies/first.lua
return {
  static = true, -- a request's key never changes, so it is computed once
  key = function(r) return r.prompt_tokens + 20 * r.arrival end,
  chunk = function(_, want, ctx)
    return math.min(want, math.max(512, ctx.chunk_multiple) - ctx.prefill_taken)
  end,
}
