-- The shortest rest of a prompt first, which makes the mean wait for a first token short. Waiting makes a
-- prompt shorter, by ctx.aging tokens per second. After (own - shortest) / aging seconds a request goes
-- before every newcomer, so none starves.
--
-- Measured with the default of 20, time per output token against first come, first served: 2.6 times better
-- on a public trace of long answers at a little more than the machine can do; 2.8 without aging, 1.05 with
-- 1,000. A prompt of 1,000 tokens waits 50 s for newcomers at most, one of 10,000 500 s.
local function rest(r) return r.known - r.computed_tokens end

return {
  key = function(r, ctx)
    return rest(r) - ctx.aging * (ctx.now - r.arrival)
  end,
}
