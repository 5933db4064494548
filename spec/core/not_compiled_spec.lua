-- What of the library LuaJIT is told not to compile, or to compile all the same, while it is loaded, against
-- spec/goldens/texts. Functions of a file whose whole is off would be compiled as they get hot in a host that
-- calls them often, and code that others wrote would run past its budget.
local golden = require "spec.support.golden"

-- Asked in a process of its own, whose modules are not loaded yet. A function is known by its first line.
local PROGRAM = [[
  local lines = {}
  local function text_at(path, number)
    local n = 0
    for line in io.lines(path) do
      n = n + 1
      if n == number then return line:match "^%s*(.-)%s*$" end
    end
  end
  local function noted(word)
    return function(what, ...)
      local path = debug.getinfo(2, "S").source:match "^@(.*)$"
      local is_ours = path and path:find "^%./lua/gdnmeta/"
      if not is_ours or type(what) ~= "function" and what ~= true then return end
      local is = what == true and "all" or debug.getinfo(what, "S")
      local text = is ~= "all" and is.source:find "^@" and text_at(is.source:sub(2), is.linedefined)
      local shown = is == "all" and "all that it defines"
        or text and text:find "function" and text:find "%(" and text or "a function that it makes"
      lines[#lines + 1] = ("%s %s %s %s"):format(path:sub(7), word, tostring((...)), shown)
    end
  end
  jit.off, jit.on = noted "off", noted "on"
  for path in io.popen "find ./lua/gdnmeta -name '*.lua' | sort":lines() do
    local name = path:match "^%./lua/(.*)%.lua$":gsub("/init$", ""):gsub("/", ".")
    if not name:find "^gdnmeta%.policy%.%a+$" and not name:find "^gdnmeta%.cli" then pcall(require, name) end
  end
  table.sort(lines)
  io.write(table.concat(lines, "\n"), "\n")
]]

describe("What LuaJIT is told", function()
  it("of the library's functions is as it was", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(PROGRAM)
    file:close()
    local pipe = io.popen("luajit " .. path .. " 2>&1")
    local text = pipe:read "*a"
    pipe:close()
    os.remove(path)
    golden("not-compiled", text)
  end)
end)
