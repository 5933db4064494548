-- Explains the fields of the metadata: what they are, which code reads them, and their values in a step. What
-- differs in buckets is a function of the metadata.
local args = require "gdnmeta.native.args"
local fields = require("gdnmeta.native.schema").fields

local ENTRIES = {}
for _, part in ipairs { "counts", "rows", "prefills", "checkpoints", "buckets" } do
  for name, entry in pairs(require("gdnmeta.repl.explain." .. part)) do ENTRIES[name] = entry end
end

local WIDTH = 80 -- characters of a line

local M = {}

--- Every field that can be explained, in the order of gdn_metadata.
M.names = { "step" }
for _, list in ipairs { fields.counts, fields.tensors, { "nums_dict" } } do
  for _, name in ipairs(list) do M.names[#M.names + 1] = name end
end

--- Text in lines of at most WIDTH characters, each after `indent`.
local function wrap(text, indent)
  local lines, line = {}, ""
  for word in text:gmatch "%S+" do
    if #line > 0 and #indent + #line + 1 + #word > WIDTH then
      lines[#lines + 1], line = indent .. line, word
    else
      line = #line > 0 and line .. " " .. word or word
    end
  end
  lines[#lines + 1] = indent .. line
  return table.concat(lines, "\n")
end

local function head(name, value)
  if type(value) ~= "cdata" then return name end
  return ("%s: %s[%s]"):format(name, value.dtype, table.concat(value.shape, ", "))
end

--- A field in words and with the step's own numbers.
---@param meta table a builder's metadata, or a group's
---@param name string
---@return string|nil text nil: there is no such field
---@return string? message
function M.field(meta, name)
  local entry = ENTRIES[name]
  if not entry then return nil, ("no field %s; explain(meta) lists them"):format(args.show(name)) end
  local what, readers, now = entry[1], entry[2], entry[3]
  local value = meta[name]
  if type(what) == "function" then what = what(meta) end
  local here = value == nil and ("This step has none: %s."):format(entry.none) or now(value, meta)
  local parts = { head(name, value), wrap(what, "  "), wrap("Read by: " .. readers, "  "), wrap(here, "  ") }
  return table.concat(parts, "\n")
end

--- All fields, one per line: its name and its value in the step.
---@param meta table
---@return string
function M.list(meta)
  local lines = {}
  for _, name in ipairs(M.names) do
    local value = meta[name]
    local text = value == nil and "-" or type(value) == "table" and "host record" or tostring(value)
    lines[#lines + 1] = ("  %-30s %s"):format(name, text)
  end
  return table.concat(lines, "\n")
end

return M
