-- Forks and last blocks; a state that a later prompt went past is evicted before all others, because chats
-- seldom go back; of equals the least recently used. Junctions of prompts never count as passed. Times of use
-- do not change while a state waits, as ages do: a value stays right.
local LAST = 1e9 -- seconds

return {
  checkpoints = function(r)
    return { r.junction, r.prompt_end }
  end,
  worth = function(nodes, n, values, ctx)
    for i = 1, n do
      local node = nodes[i]
      values[i] = ctx.now - node.state_age - (node.superseded and node.children < 2 and LAST or 0)
    end
  end,
}
