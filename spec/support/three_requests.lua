-- An engine of a policy, with three requests: r1, r2 and r3.
local gdn = require "gdnmeta"

---@param builder gdnmeta.Builder of four requests or more
---@param policy any as gdn.engine takes it
---@param options table|nil more of its options
---@return gdnmeta.Engine
return function(builder, policy, options)
  local given = { builder = builder, policy = policy, max_model_len = 256 }
  for name, value in pairs(options or {}) do given[name] = value end
  local engine = assert(gdn.engine(given))
  for id = 1, 3 do
    assert(engine:submit { id = "r" .. id, prompt_tokens = 10 * id, max_tokens = 3, arrival = id })
  end
  return engine
end
