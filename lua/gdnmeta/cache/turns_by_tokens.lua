-- Forks and last blocks; tokens saved times reads, aged by a clock that stands at the value of what went
-- last. A turn that went on from a state is likelier to be followed by another one. A state inside a line of
-- turns is worth next to nothing where room is scarce: prompts seldom go back to it.
local ROOMY = 512 -- slots
local clock = 0

return {
  checkpoints = function(r) return { r.junction, r.prompt_end } end,
  keep = function(node) -- twice the clock, and one more for a turn that went on
    return 2 * math.floor(clock) + (2 * node.parent_gap < node.tokens and 3 or 2)
  end,
  worth = function(nodes, n, values, ctx)
    local least, roomy = math.huge, ctx.slots >= ROOMY
    local inside, power = roomy and 1 or 0.01, roomy and 0.7 or 0.9
    for i = 1, n do
      local node = nodes[i]
      local goes_on = node.priority % 2
      local since = (node.priority - goes_on) / 2 - 1 -- the clock when it was made
      if node.hits > 0 then since = clock - (clock - since) * node.age / (ctx.now - node.created + 1e-6) end
      local reads = node.superseded and node.children < 2 and inside or 1 + node.hits + 2 * goes_on
      values[i] = since + reads * node.parent_gap ^ power
      least = math.min(least, values[i])
    end
    clock = math.max(clock, least)
  end,
}
