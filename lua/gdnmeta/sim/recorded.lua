-- Recorded speculation: tokens emitted a step, by dialogue. A CSV whose last column emitted_per_step
-- holds numbers between blanks; what stands in the other columns is not read.
local contents = require "gdnmeta.sim.contents"

local M = {}

local HEADER = "emitted_per_step$"

-- A step emits at least the verified token; logs that count 0 mean a step that was thrown away.
local function numbers(text)
  local list = {}
  for word in text:gmatch "%S+" do
    local n = word:find "^%d+$" and tonumber(word)
    if not n or n > 65 then return nil, ("emitted_per_step has %s, want integers in 0 .. 65"):format(word) end
    list[#list + 1] = math.max(n, 1)
  end
  if #list == 0 then return nil, "emitted_per_step is empty" end
  return list
end

---@param text string
---@param name string named in messages
---@return table|nil lists one a line, for acceptance.new { recorded = lists }
---@return string? message
function M.parse(text, name)
  local lists, n = {}, 0
  for line in (text:gsub("\n$", "") .. "\n"):gmatch "([^\n]*)\n" do
    n = n + 1
    line = line:gsub("\r$", "")
    if n == 1 then
      if not line:find(HEADER) then
        return nil, ("%s:1: the last column is not emitted_per_step"):format(name)
      end
    elseif line ~= "" then
      local list, message = numbers(line:match "[^,]*$")
      if not list then return nil, ("%s:%d: %s"):format(name, n, message) end
      lists[#lists + 1] = list
    end
  end
  if #lists == 0 then return nil, name .. ": no dialogue in it" end
  return lists
end

--- The same of a file.
---@param path string
---@return table|nil lists, string? message
function M.read(path)
  local text, why = contents(path)
  if not text then return nil, why end
  return M.parse(text, path)
end

return M
