-- Forks and last blocks; tokens saved times the reads to be expected soon. They grow rarer with a state's
-- age: who has not gone on for minutes seldom does. A turn that went on from a state is likelier to be
-- followed by another one, and a state inside a line of turns is read only where a prompt goes back to it.
local THINK = 400 -- seconds until a next turn, or a few times that
local TURN, INSIDE, TOKENS = 2, 0.05, 0.75

return {
  checkpoints = function(r) return { r.junction, r.prompt_end } end,
  worth = function(nodes, n, values)
    for i = 1, n do
      local node = nodes[i]
      local reads, gap = 1 + node.state_hits, node.parent_gap
      if 2 * gap < node.tokens then reads = reads + TURN end
      if node.superseded and node.children < 2 then reads = INSIDE end
      values[i] = reads * gap ^ TOKENS / (THINK + node.state_age) ^ 2
    end
  end,
}
