-- A model for examples/nginx that says the byte after the one it reads, and raises at a "!".
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local Model = {}
Model.__index = Model

function Model.forward(_, metadata, tokens)
  local n = metadata.num_actual_tokens
  local said = int32s(n)
  for t = 0, n - 1 do
    assert(tokens[t] ~= 33, "a fault on purpose")
    said[t] = (tokens[t] + 1) % 256
  end
  return said
end

return { new = function() return setmetatable({}, Model) end }
