-- Decodes first, every step; prompts share what is left of a small budget (after Sarathi-Serve), so that
-- a long prompt slows every next token a little instead of blocking it. A prompt moves back by a
-- second for each 100 tokens that it has got: one that comes later need not wait for all of a long one,
-- which goes on by at least 100 tokens per second.
local BUDGET = 512 -- prompt tokens per step
local PACE = 100 -- tokens per second

return {
  decode_first = true,
  key = function(r) return r.arrival + r.computed_tokens / PACE end,
  chunk = function(_, want, ctx)
    return math.min(want, math.max(BUDGET, ctx.chunk_multiple) - ctx.prefill_taken)
  end,
}
