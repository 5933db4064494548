-- Figures as people read them.
local foreign_text = require "gdnmeta.native.foreign_text"

local M = {}

--- Digits in groups of three: 1234567 -> 1,234,567.
---@param n number
---@param places? integer decimals, default 0
---@return string
function M.count(n, places)
  local whole, rest = ("%%.%df"):format(places or 0):format(math.abs(n)):match "^(%d+)(.*)$"
  whole = whole:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
  return ((whole .. rest):find "[1-9]" and n < 0 and "-" or "") .. whole .. rest
end

-- Decimals that leave about three significant digits.
local function places_of(size)
  return (size >= 99.95 or size == 0) and 0 or size >= 9.995 and 1 or size >= 0.1 and 2 or 3
end

--- About three significant digits: 0.0123 -> 0.012, 3.456 -> 3.46, 45.67 -> 45.7, 12345 -> 12,345.
---@param x number|nil
---@param places? integer so many decimals instead
---@return string "-" for nothing
function M.number(x, places)
  if x == nil or x ~= x then return "-" end
  return M.count(x, places or places_of(math.abs(x)))
end

--- A share of 1 in percent.
---@param share number|nil
---@param places? integer so many decimals instead of those that leave three digits
---@return string
function M.percent(share, places)
  if share == nil then return "-" end
  return M.count(100 * share, places or math.min(places_of(math.abs(100 * share)), 2))
end

--- Which share of `whole` is `part`; 0 where there is nothing.
---@param part number
---@param whole number
---@return number
function M.share(part, whole) return whole == 0 and 0 or part / whole end

--- Figures that stand side by side, all with the decimals of the one that has most of them.
---@param formatter function M.count, M.number, M.percent, or another that takes value and decimals
---@param values table may have holes
---@param n integer how many
---@return table texts "-" for what is missing
function M.alike(formatter, values, n)
  local places, texts = 0, {}
  for _, value in pairs(values) do places = math.max(places, #(formatter(value):match "%.(%d+)$" or "")) end
  for i = 1, n do texts[i] = values[i] == nil and "-" or formatter(values[i], places) end
  return texts
end

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

--- Text as it stands in HTML, also within double quotes.
---@param text string
---@return string
function M.html(text)
  return (foreign_text.lines(text, math.huge):gsub('[&<>"]', ENTITIES))
end

--- Text in columns: the first to the left, the others to the right, two blanks between. A row of one
--- cell is a heading.
---@param rows table list of lists of strings
---@return string
function M.columns(rows)
  local width = {}
  for _, row in ipairs(rows) do
    if #row > 1 then
      for i, cell in ipairs(row) do width[i] = math.max(width[i] or 0, #cell) end
    end
  end
  local lines = {}
  for n, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      local blanks = (" "):rep((width[i] or 0) - #cell)
      cells[i] = i == 1 and cell .. blanks or blanks .. cell
    end
    lines[n] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  return table.concat(lines, "\n")
end

return M
