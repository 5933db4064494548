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

-- make valgrind: indexes past an array's end are seen in the C library's heap alone.
if os.getenv "GDN_HEAP_ARRAYS" then
  package.loaded["gdnmeta.array_of"] = require "spec.support.heap_arrays"
end

-- Nothing of ours says an old name: where a spec does not take the warning, it is a mistake, every time.
local old_names = require "gdnmeta.native.old_names"

function old_names.handler(message, old)
  old_names.seen[old] = nil
  error(message, 0)
end

-- What a spec has put into the folder of temporary files, it takes away.
local tmpname, made = os.tmpname, {}

rawset(os, "tmpname", function()
  local path = tmpname()
  made[#made + 1] = path
  return path
end)

local function left_behind()
  local left = {}
  for _, path in ipairs(made) do
    local file = io.open(path)
    if file then
      file:close()
      os.remove(path)
      left[#left + 1] = path
    end
  end
  return left
end

-- When a VM ends it calls finalizers, and those that are machine code have been seen to go round for ever, in
-- processes that had made a great many traces. So there is no machine code by then.
require("busted").subscribe({ "exit" }, function()
  jit.off()
  jit.flush()
  local left = left_behind()
  if left[1] then
    io.stderr:write("left behind: ", table.concat(left, " "), "\n")
    os.exit(1)
  end
  return nil, true
end)
