-- Tables of options that the simulator's functions take: known names, domains and defaults.
local check = require "gdnmeta.check"

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

--- Fill in defaults, or raise at the line of the caller's caller. A spec maps a name to
--- { default, domain }, where a domain is { least, most, whole numbers only } or the name of a type;
--- a default of nil leaves the option out.
---@param who string named in messages
---@param given table|nil
---@param spec table
---@return table options
function M.parse(who, given, spec)
  if given == nil then given = {} end
  if type(given) ~= "table" then
    error(("%s: options are a table, not a %s"):format(who, type(given)), 3)
  end
  local options = {}
  local copy, unknown = check.take(given, spec)
  if not copy then error(("%s: unknown option %s"):format(who, check.word(unknown)), 3) end
  for name, value in pairs(copy) do
    local entry = spec[name]
    local domain, message = entry[2], nil
    if type(domain) == "table" then
      message = number(name, value, domain)
    elseif domain then
      message = kind(name, value, domain)
    end
    if message then error(("%s: %s"):format(who, message), 3) end
    options[name] = value
  end
  for name, entry in pairs(spec) do
    if options[name] == nil then options[name] = entry[1] end
  end
  return options
end

return M
