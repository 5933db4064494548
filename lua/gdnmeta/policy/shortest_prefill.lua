-- The shortest rest of a prompt first, which makes the mean wait for a first token short. Waiting makes a
-- prompt shorter, by ctx.aging tokens a second: whoever has waited for (own - shortest) / aging seconds
-- goes before every newcomer, so nobody starves.
local function rest(r) return r.known - r.computed end

return {
  key = function(r, ctx)
    return rest(r) - ctx.aging * (ctx.now - r.arrival)
  end,
}
