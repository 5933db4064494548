-- Values noted one after the other, and held against a text of spec/goldens/texts.
local flat = require "spec.support.flat"
local golden = require "spec.support.golden"

local M = {}

local function word(value)
  if type(value) == "table" then return "{ " .. flat("", value):gsub("\n", ", "):gsub("^ ", "") .. " }" end
  return type(value) == "number" and ("%.9g"):format(value) or tostring(value)
end

--- prefix: of the texts' names. note(name, ...) takes a line, check(name) compares those since clear().
---@return table { note, check, clear }
function M.new(prefix)
  local lines = {}
  return {
    note = function(name, ...)
      local list = {}
      for i = 1, select("#", ...) do list[i] = word((select(i, ...))) end
      lines[#lines + 1] = (name .. " " .. table.concat(list, " ")):gsub("%z", "\\0") -- a text, for readers
    end,
    check = function(name) golden(prefix .. name, table.concat(lines, "\n") .. "\n") end,
    clear = function() lines = {} end,
  }
end

return M
