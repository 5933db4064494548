-- First come, first served: running requests in the order in which they were admitted, decodes and
-- prompts alike, then whoever arrived first.
return {
  decode_first = false,
  static = true,
  key = function(r) return r.arrival end,
}
