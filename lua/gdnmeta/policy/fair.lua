-- Equal shares between users (virtual token counters): the user who was served least goes first, and
-- within a user it is first come, first served. A prompt token costs 1, an output token 2, over the
-- user's weight. A user who comes back after a pause starts from the least counter of those who are
-- active: a pause earns no credit.
local served, active, floor = {}, {}, 0

local function least()
  local lowest
  for user in pairs(active) do
    if not lowest or served[user] < lowest then lowest = served[user] end
  end
  return lowest or floor
end

local function charge(r, cost)
  served[r.user] = served[r.user] + cost / r.weight
end

return {
  group = "user",
  key = function(r) return served[r.user] end,

  on_arrival = function(r)
    local user = r.user
    if not active[user] then served[user] = math.max(served[user] or 0, least()) end
    active[user] = (active[user] or 0) + 1
  end,
  admit = function(r)
    if r.preemptions == 0 then charge(r, r.prompt - r.cached_prefix) end
    return true
  end,
  on_emit = function(r, n) charge(r, 2 * n) end,
  on_finish = function(r)
    local user = r.user
    active[user] = active[user] > 1 and active[user] - 1 or nil
    if not next(active) then floor = served[user] end
    if not active[user] and served[user] <= least() then served[user] = nil end
  end,
}
