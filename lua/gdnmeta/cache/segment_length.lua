-- Forks and last blocks; the state that saves the fewest tokens is evicted first, however often used. Long
-- documents stay, even unused ones.
return {
  checkpoints = function(r)
    return { r.junction, r.prompt_end }
  end,
  worth = function(nodes, n, values)
    for i = 1, n do values[i] = nodes[i].parent_gap end
  end,
}
