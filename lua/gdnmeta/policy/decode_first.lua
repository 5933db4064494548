-- Decodes first, every step; prompts share what is left of a small budget (after Sarathi-Serve), so that
-- a long prompt slows everybody's next token a little instead of holding it up.
local BUDGET = 512 -- prompt tokens a step

return {
  decode_first = true,
  static = true,
  key = function(r) return r.arrival end,
  chunk = function(_, want, ctx)
    return math.min(want, math.max(BUDGET, ctx.block) - ctx.prefill_taken)
  end,
}
