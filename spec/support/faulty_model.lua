-- A model for examples/nginx that says the byte after the one it reads, and raises at a "!".
local ffi = require "ffi"

local Model = {}
Model.__index = Model

function Model.forward(_, metadata, tokens)
  local n = metadata.num_actual_tokens
  local said = ffi.new("int32_t[?]", n)
  for t = 0, n - 1 do
    assert(tokens[t] ~= 33, "a fault on purpose")
    said[t] = (tokens[t] + 1) % 256
  end
  return said
end

return { new = function() return setmetatable({}, Model) end }
