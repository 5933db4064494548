-- Forks and last blocks; a state that a later prompt went past is evicted before all others, because chats
-- seldom go back; of equals the least recently used. Junctions of prompts never count as passed.
local LAST = 1e9 -- seconds

return {
  checkpoints = function(r)
    return { r.junction, r.prompt_end }
  end,
  worth = function(nodes, n, values)
    for i = 1, n do
      local node = nodes[i]
      values[i] = -node.state_age - (node.superseded and node.children < 2 and LAST or 0)
    end
  end,
}
