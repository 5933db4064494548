-- Fields of a line: separated by commas, tabs, semicolons or bars, in double quotes or not. A quoted field
-- may hold separators, doubled quotes and line ends.
local find, match, sub = string.find, string.match, string.sub

-- Each is itself as a pattern, too.
local M = { SEPARATORS = { ",", "\t", ";", "|" } }

local MOST_LINES = 200 -- of one quoted field

local function trimmed(text) return match(text, "^%s*(.*%S)") or "" end

-- The quoted field that begins at `at`: its text and where it ends; nil where no quote closes it, false
-- where something follows that quote.
local function quoted(line, at, separator)
  local parts, from = {}, at + 1
  while true do
    local quote = find(line, '"', from)
    if not quote then return nil end
    parts[#parts + 1] = sub(line, from, quote - 1)
    local after = quote + 1
    if sub(line, after, after) ~= '"' then
      local stop = find(line, separator, after) or #line + 1
      if find(sub(line, after, stop - 1), "%S") then return false end
      return table.concat(parts, '"'), stop
    end
    from = after + 1
  end
end

-- Fields into the list; nil where a quote is left open.
local function split(line, separator, list)
  local n, at = 0, 1
  repeat
    local first, stop = find(line, "[^ ]", at), nil
    n = n + 1
    if first and sub(line, first, first) == '"' then
      local text
      text, stop = quoted(line, first, separator)
      if text == nil then return nil end
      list[n] = text
    end
    if not stop then -- none, or one with text after it: taken unchanged
      stop = find(line, separator, at) or #line + 1
      list[n] = trimmed(sub(line, at, stop - 1))
    end
    at = stop + 1
  until stop > #line
  return n
end

--- Fields of the record that begins with `line`; where a quote is left open, the next lines belong to it.
---@param line string
---@param separator string one character
---@param list table taken for the fields
---@param lines? table where the next ones come from
---@return integer|nil n fields; nil where no line closes the quote
function M.fields(line, separator, list, lines)
  if not find(line, '"') then -- as nearly all are
    local n, at = 0, 1
    while true do
      local stop = find(line, separator, at)
      n = n + 1
      list[n] = trimmed(sub(line, at, (stop or 0) - 1))
      if not stop then return n end
      at = stop + 1
    end
  end
  local n, taken, whole = split(line, separator, list), {}, line
  while not n and lines and #taken < MOST_LINES do
    local more = lines:next()
    if not more then break end
    taken[#taken + 1], whole = more, whole .. "\n" .. more
    if find(more, '"') then n = split(whole, separator, list) end
  end
  if not n then
    for i = #taken, 1, -1 do lines:push(taken[i]) end
  end
  return n
end

return M
