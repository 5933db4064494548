-- Recorded speculation: tokens emitted per step, by dialogue. A CSV with a column emitted_per_step, which has
-- numbers separated by blanks; other columns are not read.
local csv = require "gdnmeta.sim.trace.csv"
local lines_of = require "gdnmeta.sim.trace.lines"
local values = require "gdnmeta.sim.trace.values"

local M = {}

local COLUMN = "emitted_per_step"

-- A step emits at least the verified token; in logs, 0 means a discarded step.
local function numbers(text)
  local list = {}
  for word in text:gmatch "%S+" do
    local n = word:find "^%d+$" and tonumber(word)
    if not n or n > 65 then
      return nil, ("%s has %s, want integers in 0 .. 65"):format(COLUMN, values.shown(word))
    end
    list[#list + 1] = math.max(n, 1)
  end
  if #list == 0 then return nil, COLUMN .. " is empty" end
  return list
end

-- The separator of a header, how many columns it has, and which of them is wanted.
local function header_of(line)
  for _, separator in ipairs(csv.SEPARATORS) do
    local fields = {}
    local n = csv.fields(line, separator, fields)
    for i, name in ipairs(n and fields or {}) do
      if name == COLUMN then return separator, n, i end
    end
  end
end

local function parse(lines)
  local line
  repeat line = lines:next() until not line or line:find "%S"
  local separator, wanted, column = header_of(line or "")
  if not separator then return nil, ("%d: no column %s"):format(math.max(lines.number, 1), COLUMN) end
  local lists, fields = {}, {}
  while true do
    local message
    line, message = lines:next()
    if not line then
      if message then return nil, ("%d: %s"):format(lines.number + 1, message) end
      break
    end
    if line:find "%S" then
      local at = lines.number
      local n = csv.fields(line, separator, fields, lines)
      if not n then return nil, ("%d: a quote is left open"):format(at) end
      if n ~= wanted then return nil, ("%d: %d fields, want %d"):format(at, n, wanted) end
      local list, problem = numbers(fields[column])
      if not list then return nil, ("%d: %s"):format(at, problem) end
      lists[#lists + 1] = list
    end
  end
  if #lists == 0 then return nil, " no dialogue in it" end
  return lists
end

---@param text string
---@param name string named in messages
---@return table|nil lists one a line, for acceptance.new { recorded = lists }
---@return string? message
function M.parse(text, name)
  local lines, message = lines_of.new(text)
  local lists
  if lines then lists, message = parse(lines) end
  if not lists then return nil, name .. ":" .. message end
  return lists
end

--- The same of a file.
---@param path string
---@return table|nil lists, string? message
function M.read(path)
  local text, why = require "gdnmeta.native.read_file"(path)
  if not text then return nil, why end
  return M.parse(text, path)
end

return M
