-- Tables of options and of fields: known names, domains (see domains.lua) and defaults.
local args = require "gdnmeta.native.args"

local M = {}

--- All option names, in one text.
---@param known table name -> anything
---@return string
function M.names(known)
  local names = {}
  for name in pairs(known) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

---@param kind string "option" or "field"
---@param name any
---@param known table name -> anything
---@return string message
function M.unknown(kind, name, known)
  return ("unknown %s %s, want one of %s"):format(kind, args.word(name), M.names(known))
end

--- Fill in defaults. A spec maps a name to { default, domain, must it be given }; one without a domain may be
--- anything, and a default of nil leaves the option out.
---@param given table|nil
---@param spec table
---@param kind? string default "option"
---@return table|nil options, string? message
function M.read(given, spec, kind)
  if given == nil then given = {} end
  if type(given) ~= "table" then return nil, args.wrong("options", given, "a table or nil") end
  local options, unknown = args.take(given, spec)
  if not options then return nil, M.unknown(kind or "option", unknown, spec) end
  for name, entry in pairs(spec) do
    local value, default, domain = options[name], entry[1], entry[2]
    if type(value) == "nil" and not entry[3] then
      if default ~= nil then options[name] = default end
    elseif domain then
      local used, wanted = domain(value)
      if used == nil then return nil, args.wrong(name, value, wanted) end
      options[name] = used
    end
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
