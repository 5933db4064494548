-- First come, first served. Running requests are served in the order in which they were admitted, decodes
-- and prompts alike: a long prompt in front may leave nothing for those after it. What is left of the
-- step goes to the request that arrived first; the last one is evicted first.
local function arrival(r) return r.arrival end

return {
  decode_first = false,
  static = true, -- called once, when the request arrives
  key = arrival,
}
