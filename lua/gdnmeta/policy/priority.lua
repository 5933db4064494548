-- The smallest priority number first, then by arrival. The least important one is evicted when the caches
-- are full, and leaves for a waiting request whose priority number is smaller (preempt_for = false: it does
-- not). Nothing ages here: as long as more important requests keep coming, the others wait.
local YEARS = 1e9 -- seconds: more than arrivals can differ by
local DAYS = 1e6 -- an arrival later by less than this is no reason to leave

local function rank(r) return r.priority * YEARS + r.arrival end

return {
  static = true,
  key = rank,
  victim = rank,
  preempt_for = function(r) return rank(r) + DAYS end,
}
