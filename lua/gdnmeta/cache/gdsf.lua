-- Forks and last blocks; tokens saved times reads, aged by a clock that is set to the value of the last
-- evicted state (greedy dual size frequency). A value stays until its state is read again.
local clock = 0
local places = {} -- the same list each time: no garbage

return {
  checkpoints = function(r)
    places[1], places[2] = r.junction, r.prompt_end
    return places
  end,
  worth = function(nodes, n, values)
    local least = math.huge
    for i = 1, n do
      local node = nodes[i]
      local was_read = node.is_new and node.state_age <= node.age -- not only gone through
      if was_read or values[i] ~= values[i] then
        values[i] = clock + (node.state_hits + 1) * node.parent_gap
      end
      least = math.min(least, values[i])
    end
    clock = math.max(clock, least)
  end,
}
