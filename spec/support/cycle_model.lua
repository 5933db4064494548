-- A model for examples/nginx that says "é 😀€!" over and over, a byte at a time: after any of its bytes
-- the next one, after any other byte the first. It raises at byte 1.
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local SAYS = "\195\169 \240\159\152\128\226\130\172!"
local after = {}
for n = 1, #SAYS do after[SAYS:byte(n)] = SAYS:byte(n % #SAYS + 1) end

local Model = {}
Model.__index = Model

function Model.forward(_, metadata, tokens)
  local n = metadata.num_actual_tokens
  local said = int32s(n)
  for t = 0, n - 1 do
    assert(tokens[t] ~= 1, "a fault on purpose")
    said[t] = after[tokens[t]] or SAYS:byte(1)
  end
  return said
end

return { new = function() return setmetatable({}, Model) end, says = SAYS }
