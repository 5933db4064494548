-- First come, first served. Running requests are served in the order in which they were admitted, decodes
-- and prompts alike: a long prompt in front may leave nothing for those behind it. What is left of the
-- step goes to whoever arrived first; who arrived last makes room.
local function arrival(r) return r.arrival end

return {
  decode_first = false,
  static = true, -- asked once, when the request arrives
  key = arrival,
}
