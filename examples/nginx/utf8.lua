-- UTF-8 as it comes: a character may be split over tokens, and is held until it is whole. What is no UTF-8
-- becomes U+FFFD, one for each longest beginning of a character, as browsers and Python's "replace" do.
local REPLACEMENT = "\239\191\189"

local M = {}

-- First byte -> length, and the range of the second byte: no overlong forms, surrogates or numbers that
-- are too large. Later bytes are 0x80 .. 0xBF.
local LENGTH, LOW, HIGH = {}, {}, {}
for first = 0xC2, 0xF4 do
  LENGTH[first] = first < 0xE0 and 2 or first < 0xF0 and 3 or 4
  LOW[first], HIGH[first] = 0x80, 0xBF
end
LOW[0xE0], HIGH[0xED], LOW[0xF0], HIGH[0xF4] = 0xA0, 0x9F, 0x90, 0x8F

-- Bytes at `at` that are a character or its beginning, at least 1, and what they are: "whole", "begun" (the
-- text ends within it) or "wrong".
local function look(bytes, at)
  local first = bytes:byte(at)
  if first < 0x80 then return 1, "whole" end
  local length = LENGTH[first]
  if not length then return 1, "wrong" end
  for n = 1, length - 1 do
    local byte = bytes:byte(at + n)
    if not byte then return n, "begun" end
    local low, high = 0x80, 0xBF
    if n == 1 then low, high = LOW[first], HIGH[first] end
    if byte < low or byte > high then return n, "wrong" end
  end
  return length, "whole"
end

--- The position of the first byte that is not UTF-8; nil: all of it is.
---@param text string
---@return integer|nil
function M.wrong(text)
  local at = text:find "[\128-\255]"
  while at do
    local length, kind = look(text, at)
    if kind ~= "whole" then return at end
    at = text:find("[\128-\255]", at + length)
  end
end

local Decoder = {}
Decoder.__index = Decoder

--- The text of the bytes so far that was not returned yet.
---@param bytes string
---@param last boolean|nil no bytes will follow: the beginning of a character is not waited for
---@return string text
function Decoder:feed(bytes, last)
  bytes = self.held .. bytes
  self.held = ""
  local pieces, from, at = {}, 1, bytes:find "[\128-\255]"
  while at do
    local length, kind = look(bytes, at)
    if kind == "begun" and not last then
      self.held = bytes:sub(at)
      bytes = bytes:sub(1, at - 1)
      break
    elseif kind ~= "whole" then
      pieces[#pieces + 1] = bytes:sub(from, at - 1) .. REPLACEMENT
      from = at + length
    end
    at = bytes:find("[\128-\255]", at + length)
  end
  pieces[#pieces + 1] = bytes:sub(from)
  return table.concat(pieces)
end

--- A decoder for one answer.
function M.decoder() return setmetatable({ held = "" }, Decoder) end

return M
