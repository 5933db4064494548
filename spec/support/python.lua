-- A Python with numpy, for the specs of examples/pytorch: $GDN_PYTHON, build/venv-numpy of scripts/python,
-- or the system's.
local M = {}

-- As a shell starts it, less the checker that may watch this process and the library it tests.
local function shell(command)
  local pipe = assert(io.popen(("(unset LD_PRELOAD GDNMETA_LIB; export PYTHONDONTWRITEBYTECODE=1 "
    .. "PYTHONPATH=examples/pytorch; %s) 2>&1; echo \" $?\""):format(command)))
  local text, code = pipe:read "*a":match "^(.*) (%d+)\n$"
  pipe:close()
  return text, tonumber(code)
end

local function has(python, module)
  return select(2, shell(("%s -c 'import %s'"):format(python, module))) == 0
end

local found
--- The interpreter's name; nil and a reason where there is none.
function M.interpreter()
  if found == nil then
    found = false
    local names = { os.getenv "GDN_PYTHON" or "build/venv-numpy/bin/python" }
    if not os.getenv "GDN_PYTHON" then names[2], names[3] = "python3", "/usr/bin/python3" end
    for _, name in ipairs(names) do
      if not found and has(name, "numpy") then found = name end
    end
    if not found then print "\nno Python with numpy: the specs of examples/pytorch are skipped" end
  end
  return found or nil, "skipped: no Python with numpy"
end

---@return boolean
function M.has(module)
  return M.interpreter() and has(M.interpreter(), module) or false
end

--- Run the interpreter with arguments. Returns what it printed, and its exit code.
---@param arguments string for a shell
function M.run(arguments, environment)
  return shell(("%s %s %s"):format(environment or "", M.interpreter(), arguments))
end

return M
