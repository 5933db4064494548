-- Tables of options that the simulator's functions take: known names, domains and defaults.
local check = require "gdnmeta.native.args"

local M = {}

local function number(name, value, domain)
  local least, most, whole = domain[1], domain[2], domain[3]
  if type(value) == "number" and value >= least and value <= most and not (whole and value % 1 ~= 0) then
    return nil
  end
  return check.wrong(name, value, ("%s in %.15g .. %.15g"):format(
    whole and "an integer" or "a number", least, most))
end

local function kind(name, value, wanted)
  if type(value) ~= wanted then return check.wrong(name, value, "a " .. wanted) end
end

--- All option names, in one text.
---@param spec table
---@return string
function M.names(spec)
  local names = {}
  for name in pairs(spec) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

--- Fill in defaults. A spec maps a name to { default, domain }, where a domain is
--- { least, most, whole numbers only } or the name of a type; a default of nil leaves the option out.
---@param given table|nil
---@param spec table
---@return table|nil options, string? message
function M.read(given, spec)
  if given == nil then given = {} end
  if type(given) ~= "table" then return nil, "options are a table, not a " .. type(given) end
  local options, unknown = check.take(given, spec)
  if not options then
    return nil, ("unknown option %s, want one of %s"):format(check.word(unknown), M.names(spec))
  end
  for name, value in pairs(options) do
    local domain, message = spec[name][2], nil
    if type(domain) == "table" then
      message = number(name, value, domain)
    elseif domain then
      message = kind(name, value, domain)
    end
    if message then return nil, message end
  end
  for name, entry in pairs(spec) do
    if options[name] == nil then options[name] = entry[1] end
  end
  return options
end

--- The same, raised at the line of the caller's caller.
---@param who string named in messages
---@param given table|nil
---@param spec table
---@return table options
function M.parse(who, given, spec)
  local options, message = M.read(given, spec)
  if not options then error(("%s: %s"):format(who, message), 3) end
  return options
end

return M
