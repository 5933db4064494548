-- A builder on the CPU for four requests.
local gdn = require "gdnmeta"

---@param options table|nil what replaces, or is added
---@return table builder
return function(options)
  local o = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 256, num_slots = 8 }
  for name, value in pairs(options or {}) do o[name] = value end
  return assert(gdn.builder(o))
end
