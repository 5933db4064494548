-- busted caches ffi.typeof and ffi.metatype by their first argument, so that a parametrised type
-- becomes the first one that was asked for. The originals are upvalues of the caches.
local ffi = require "ffi"

for _, name in ipairs { "typeof", "metatype" } do
  local i = 1
  while true do
    local upvalue, value = debug.getupvalue(ffi[name], i)
    if not upvalue then break end
    if upvalue == "original" then
      ffi[name] = value
      break
    end
    i = i + 1
  end
end
