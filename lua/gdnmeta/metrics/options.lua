-- Options of gdn.metrics.
local args = require "gdnmeta.native.args"
local classes = require "gdnmeta.metrics.classes"
local domains = require "gdnmeta.native.domains"
local options = require "gdnmeta.native.options"

local M = {}

local SPEC = {
  classes = { 16, domains.integer(1, 1000) }, -- 1000: a page of a few megabytes
  labels = { {}, domains.of_type "table" },
}
local OURS = { class = true, outcome = true, le = true }

local function label_problem(name, text)
  if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" or name:find "^__" or OURS[name] then
    return args.wrong("labels", name, "names of letters, digits and _ that are none of class, outcome, le")
  end
  if type(text) ~= "string" or #text > classes.LONGEST or not classes.is_utf8(text) then
    local wanted = ("a string of at most %d bytes, UTF-8"):format(classes.LONGEST)
    return args.wrong("labels." .. name, text, wanted)
  end
end

--- Options with their defaults.
---@param given table|nil
---@return table|nil options, string? problem
function M.read(given)
  local o, message = options.read(given, SPEC)
  if not o then return nil, message end
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
