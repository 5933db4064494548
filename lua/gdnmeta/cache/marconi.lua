-- Forks and last blocks; recency and flops saved per byte, each scaled to 0 .. 1 over the candidates (after
-- Marconi). ALPHA weighs the second.
local ALPHA = 1

return {
  checkpoints = function(r)
    return { r.junction, r.prompt_end }
  end,
  worth = function(nodes, n, values, ctx)
    local oldest, most, saved = 1e-9, 1e-9, {}
    for i = 1, n do
      local node = nodes[i]
      -- A leaf without a state saves nothing: the text before it is computed again from the last state.
      saved[i] = node.state_bytes > 0
        and ctx.flops(node.tokens - node.parent_gap, node.tokens) / node.state_bytes or 0
      oldest, most = math.max(oldest, node.state_age), math.max(most, saved[i])
    end
    for i = 1, n do values[i] = ALPHA * saved[i] / most - nodes[i].state_age / oldest end
  end,
}
