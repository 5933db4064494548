-- Options of a program of the specs: `--name value` pairs.
local M = {}

--- The given ones over the defaults, which also say which are numbers. Ends the program with 2 for others.
---@param program string for the usage line
---@param usage string likewise
---@param options table defaults by name
function M.read(program, usage, options)
  for i = 1, #arg, 2 do
    local name, value = arg[i]:match "^%-%-(%a+)$", arg[i + 1]
    if type(options[name]) == "number" then value = tonumber(value) end
    if not name or options[name] == nil or value == nil then
      io.stderr:write(("usage: luajit %s %s\n"):format(program, usage))
      os.exit(2)
    end
    options[name] = value
  end
  return options
end

return M
