-- Forks and last blocks; the state that was made first goes first, however often it was read.
local turn = 0

return {
  checkpoints = function(r)
    return { r.junction, r.prompt_end }
  end,
  keep = function()
    turn = turn + 1
    return turn
  end,
  worth = function(nodes, n, values)
    for i = 1, n do values[i] = nodes[i].priority end
  end,
}
