-- Earliest deadline first. A request that waits is due at its deadline (arrival + ttft unless it names
-- one), a running one at its last token plus its target between tokens (tpot); the request with the most time
-- left makes room. A prompt gets what fits before the first running decode is late.
local LEAST = 64 -- tokens, so that prompts go on when every decode is late already

local function due(r)
  return r.is_decode and r.last_emit + r.tpot or r.deadline
end

return {
  key = due,
  victim = due,
  chunk = function(_, want, ctx)
    local fit = ctx.cost.tokens_within(ctx.min_slack, ctx.running, want)
    local n = math.min(want, math.max(fit, LEAST, ctx.chunk_multiple))
    return n
  end,
}
