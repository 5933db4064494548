-- What tables print as that the library hands to a host and that are no objects with methods: their class
-- and fields, as in gdnmeta.Slots(size=12, free=10). They are plain tables otherwise: pairs() shows the
-- fields, and a host may change them, for which reason nothing here asks a metatable of a value.
local args = require "gdnmeta.native.args"

local WIDTH = 110 -- characters of a line
local LISTED = 8  -- elements of a list that are shown

local M = {}

local of_figures = setmetatable({}, { __mode = "k" }) -- the metatables made here

-- A list of plain values is shown, up to its first elements.
local function list(value)
  local parts, n = {}, #value
  for k = 1, math.min(n, LISTED) do
    local element = rawget(value, k)
    if type(element) == "table" then return "a list of " .. n end
    parts[k] = args.show(element)
  end
  if n > LISTED then parts[LISTED + 1] = ("... %d more"):format(n - LISTED) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function shown(value)
  if type(value) ~= "table" then return args.show(value) end
  if rawget(value, 1) ~= nil or next(value) == nil then return list(value) end
  return "a table"
end

local function names_of(t)
  local names = {}
  for name in next, t do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- A table as text, its lines at most 110 characters where fields are not longer.
---@param class string
---@param t table
---@param names string[]|nil fields in this order, those that are nil left out; default: all, by name
---@return string
function M.text(class, t, names)
  local lines, line = {}, class .. "("
  local is_first = true
  for _, name in ipairs(names or names_of(t)) do
    local value = rawget(t, name)
    if type(value) ~= "nil" then
      local part = name .. "=" .. shown(value)
      if not is_first then line = line .. "," end
      if #line + #part + 2 > WIDTH and not is_first then
        lines[#lines + 1], line = line, "  " .. part
      else
        line = line .. (is_first and "" or " ") .. part
      end
      is_first = false
    end
  end
  lines[#lines + 1] = line .. ")"
  return table.concat(lines, "\n")
end

--- The metatable of such tables.
---@param class string without gdnmeta.
---@param names string[]|nil as for text
---@return table
function M.figures(class, names)
  local mt = { __tostring = function(t) return M.text("gdnmeta." .. class, t, names) end }
  of_figures[mt] = true
  return mt
end

--- Is it such a table, to be shown field by field where there is room?
---@return boolean
function M.is_figures(value)
  return type(value) == "table" and of_figures[debug.getmetatable(value)] ~= nil
end

return M
