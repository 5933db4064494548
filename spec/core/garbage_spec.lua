-- What a host calls for each row of a step makes no garbage, once it is compiled.
local run = require("spec.support.shell").run

local ENOUGH = 4 -- bytes
local TRIES = 5

-- Bytes per call, in a process of its own. Which traces LuaJIT picks there is chance, and one process in ten
-- keeps boxed numbers: garbage of the code itself shows in each of them.
local function bytes_a_call(call, list, groups)
  local least = math.huge
  for _ = 1, TRIES do
    local _, out = run(("luajit spec/support/row_garbage.lua %s %s %d"):format(call, list, groups))
    local bytes = assert(tonumber(out), out)
    least = math.min(least, bytes)
    if least < ENOUGH then break end
  end
  return least
end

describe("Writing rows makes no garbage #jit", function()
  for _, call in ipairs { "set_blocks", "add", "keep" } do
    for _, list in ipairs { "list", "pointer", "array" } do
      for groups = 1, 2 do
        it(("in %s, a %s, %d groups"):format(call, list, groups), function()
          local bytes = bytes_a_call(call, list, groups)
          assert.is_true(bytes < ENOUGH, bytes .. " bytes a call")
        end)
      end
    end
  end
end)
