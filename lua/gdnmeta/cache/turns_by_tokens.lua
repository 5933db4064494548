-- Forks and last blocks; tokens saved times the reads expected soon: fewer with age, more after a turn that
-- went on, few inside a line of turns. A prompt of which nothing is known leaves states on its way, too, for
-- others to part from it there, while that is worth more than the state that would have to go.
local THINK = 400 -- seconds until a next turn, or a few times that
local TURN, INSIDE, UNSEEN, TOKENS, PARTS = 1.2, 0.05, 0.001, 0.75, 8
local least = 0

return {
  checkpoints = function(r, from, to, ctx)
    local list, gap = { r.junction, r.prompt_end }, (to - from) / PARTS
    if from > 0 or gap < ctx.block_size or UNSEEN * gap ^ TOKENS / THINK ^ 2 <= least then return list end
    for _, at in ipairs(ctx.every(gap)) do list[#list + 1] = at end
    return list
  end,
  worth = function(nodes, n, values)
    least = math.huge
    for i = 1, n do
      local node = nodes[i]
      local reads, gap = 1 + node.state_hits, node.parent_gap
      if 2 * gap < node.tokens then reads = reads + TURN end
      if node.superseded and node.children < 2 then reads = INSIDE end
      values[i] = reads * gap ^ TOKENS / (THINK + node.state_age) ^ 2
      least = math.min(least, values[i])
    end
  end,
}
