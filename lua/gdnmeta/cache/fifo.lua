-- Forks and last blocks; the oldest state is evicted first, however often it was read.
local turn = 0

return {
  checkpoints = function(r)
    return { r.junction, r.prompt_end }
  end,
  worth = function(_, n, values)
    for i = 1, n do
      if values[i] ~= values[i] then -- it has none yet
        turn = turn + 1
        values[i] = turn
      end
    end
  end,
}
