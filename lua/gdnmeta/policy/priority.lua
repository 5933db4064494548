-- The smallest priority number first, then by arrival; whoever matters least makes room.
local function rank(r) return r.priority * 1e9 + r.arrival end

return {
  static = true,
  key = rank,
  victim = rank,
}
