-- The smallest priority number first, then by arrival. Whoever matters least makes room when the caches
-- are full. Nothing ages here: as long as more important requests keep coming, the others wait.
local YEARS = 1e9 -- seconds: more than arrivals can differ by

local function rank(r) return r.priority * YEARS + r.arrival end

return {
  static = true,
  key = rank,
  victim = rank,
}
