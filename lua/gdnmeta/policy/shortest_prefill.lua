-- The shortest rest of a prompt first. Waiting makes a prompt shorter, by ctx.aging tokens a second:
-- whoever has waited for (longest - own) / aging seconds goes before every newcomer, so nobody starves.
return {
  key = function(r, ctx)
    return (r.known - r.computed) - ctx.aging * (ctx.now - r.arrival)
  end,
}
