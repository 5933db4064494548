-- Forks and last blocks; tokens saved times reads, aged by a clock that is set to the value of the last
-- evicted state. A turn that continued from a state is likely to be followed by another one. If slots are
-- scarce, a state inside a chain of turns is worth almost nothing: prompts seldom go back to it.
local ROOMY = 512 -- slots
local clock, since, follows = 0, {}, {} -- by node: the clock when its state was used, and turns to expect

return {
  checkpoints = function(r) return { r.junction, r.prompt_end } end,
  worth = function(nodes, n, values, ctx)
    local least, roomy = math.huge, ctx.slots >= ROOMY
    for i = 1, n do
      local node = nodes[i]
      local id, gap = node.id, node.parent_gap
      if node.is_new and (node.state_age <= node.age or not since[id]) then -- read, not only gone through
        since[id] = clock
        follows[id] = node.state_hits > 0 and follows[id] or 2 * gap < node.tokens and 1 or 0
      end
      local reads = 1 + node.state_hits + follows[id]
      if node.superseded and node.children < 2 then reads = roomy and 1 or 0.01 end
      values[i] = since[id] + reads * gap ^ (roomy and 0.7 or 0.9)
      least = math.min(least, values[i])
    end
    clock = math.max(clock, least)
  end,
}
