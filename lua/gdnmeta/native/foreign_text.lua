-- Words that come from outside (ids, names, errors of other people's code, lines of files) as our messages
-- show them: of bounded length, one line, and nothing in them that a terminal would obey.
local MOST = 60 -- bytes of a name or an id; of a message: more, see M.message
local LONG = 200 -- of a path, a title or a label
local MESSAGE = 400
local LINE = 5000 -- of a line of our own, which may name a path of 4,096

local M = {}

-- Bytes of the well-formed UTF-8 character that begins at `at`; nil: there is none.
local function character(text, at)
  local first = text:byte(at)
  local length = first < 0x80 and 1 or first >= 0xc2 and first < 0xe0 and 2
    or first >= 0xe0 and first < 0xf0 and 3 or first >= 0xf0 and first < 0xf5 and 4
  if not length then return nil end
  for k = 1, length - 1 do
    local byte = text:byte(at + k)
    if not byte or byte < 0x80 or byte > 0xbf then return nil end
  end
  return length
end

-- Characters of more than a byte that move the cursor or turn the direction of writing.
local function obeyed(text, at)
  local a, b, c = text:byte(at, at + 2)
  return a == 0xc2 and b < 0xa0
    or a == 0xe2 and (b == 0x80 and c >= 0xa8 and c <= 0xae or b == 0x81 and c >= 0xa6)
end

local NAMED = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escaped(text, at)
  local byte, digit_follows = text:sub(at, at), text:find("^%d", at + 1)
  return NAMED[byte] or (digit_follows and "\\%03d" or "\\%d"):format(byte:byte())
end

--- A text with everything that is no plain character written as \n or \27, truncated after `most` bytes.
---@param text string
---@param most integer|nil bytes of the text, default 60
---@return string
function M.clean(text, most)
  most = most or MOST
  if #text <= most and not text:find "[%z\1-\31\127-\255]" then return text end
  local parts, at = {}, 1
  while at <= #text do
    local length = character(text, at)
    if at + (length or 1) - 1 > most then
      parts[#parts + 1] = "..."
      break
    end
    local byte = text:byte(at)
    if not length or byte < 32 or byte == 127 or obeyed(text, at) then
      for k = at, at + (length or 1) - 1 do parts[#parts + 1] = escaped(text, k) end
    else
      parts[#parts + 1] = text:sub(at, at + length - 1)
    end
    at = at + (length or 1)
  end
  return table.concat(parts)
end

--- The same of a path, a title or a label, which may be longer than a name.
---@param text string
---@return string
function M.long(text) return M.clean(text, LONG) end

--- The same in quotes, to be read back as it was unless it was cut.
---@param text string
---@return string
function M.quoted(text, most)
  most = most or MOST
  local cut = #text > most
  local shown = text:sub(1, most)
  shown = M.clean(shown:gsub('[\\"]', "\\%0"), 2 * most)
  return ('"%s%s"'):format(shown, cut and "..." or "")
end

--- A text of many lines, such as a report with names in it.
---@param text string
---@param most integer|nil bytes of a line, default 5000
---@return string
function M.lines(text, most)
  most = most or LINE
  return (text:gsub("[^\n]+", function(line) return M.clean(line, most) end))
end

--- A message of foreign code: longer, with its lines kept if `lines` is set.
---@param text string
---@param lines boolean|nil
---@return string
function M.message(text, lines)
  if not lines then return M.clean(text, MESSAGE) end
  local parts, left = {}, 10 * MESSAGE
  for line in (text .. "\n"):gmatch "(.-)\n" do
    left = left - #line
    if left < 0 or #parts > 100 then
      parts[#parts + 1] = "..."
      break
    end
    local indent, rest = line:match "^(\t?)(.*)$"
    parts[#parts + 1] = indent .. M.clean(rest, MESSAGE)
  end
  return table.concat(parts, "\n")
end

return M
