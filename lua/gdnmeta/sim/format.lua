-- Figures as people read them.
local M = {}

--- Digits in groups of three: 1234567 -> 1,234,567.
---@param n number
---@return string
function M.count(n)
  local digits = ("%.0f"):format(math.abs(n))
  digits = digits:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
  return (n <= -0.5 and "-" or "") .. digits
end

--- About three significant digits: 0.0123 -> 0.012, 3.456 -> 3.46, 45.67 -> 45.7, 12345 -> 12,345.
---@param x number|nil
---@return string "-" for nothing
function M.number(x)
  if x == nil or x ~= x then return "-" end
  local size = math.abs(x)
  if size >= 99.95 or x == 0 then return M.count(x) end
  return (size >= 9.995 and "%.1f" or size >= 0.1 and "%.2f" or "%.3f"):format(x)
end

--- A share of 1 in percent.
---@param share number|nil
---@return string
function M.percent(share)
  if share == nil then return "-" end
  local percent = 100 * share
  return (percent >= 99.95 or percent == 0) and ("%.0f"):format(percent)
    or (percent >= 9.995 and "%.1f" or "%.2f"):format(percent)
end

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

--- Text as it stands in HTML, also within double quotes.
---@param text string
---@return string
function M.html(text)
  return (text:gsub('[&<>"]', ENTITIES))
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
