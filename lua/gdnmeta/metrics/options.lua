-- What gdn.metrics takes besides the engine.
local check = require "gdnmeta.native.args"
local classes = require "gdnmeta.metrics.classes"

local M = {}

local MOST = 1000 -- classes: a page of a few megabytes
local OURS = { class = true, outcome = true, le = true }

local function label_problem(name, text)
  if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" or name:find "^__" or OURS[name] then
    return check.wrong("labels", name, "names of letters, digits and _ that are none of class, outcome, le")
  end
  if type(text) ~= "string" or #text > classes.LONGEST or not classes.is_utf8(text) then
    local wanted = ("a string of at most %d bytes, UTF-8"):format(classes.LONGEST)
    return check.wrong("labels." .. name, text, wanted)
  end
end

--- Options with their defaults.
---@param given table|nil
---@return table|nil options, string? problem
function M.read(given)
  if given == nil then given = {} end
  if type(given) ~= "table" then return nil, check.wrong("options", given, "a table or nil") end
  local o = { classes = 16, labels = {} }
  local copy, unknown = check.take(given, o)
  if not copy then return nil, "unknown option " .. check.word(unknown) end
  for name, value in pairs(copy) do o[name] = value end
  if not check.integer(o.classes, 1, MOST) then
    return nil, check.wrong_integer("classes", o.classes, 1, MOST)
  end
  if type(o.labels) ~= "table" then return nil, check.wrong("labels", o.labels, "a table") end
  local labels = {}
  for name, text in pairs(o.labels) do
    local problem = label_problem(name, text)
    if problem then return nil, problem end
    labels[name] = text
  end
  o.labels = labels
  return o
end

return M
