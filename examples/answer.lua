-- What a request has said: the bytes of its tokens, and where it ends by a stop text or an end token.
local Answer = {}
Answer.__index = Answer

local function found(stops, tail)
  for _, stop in ipairs(stops) do
    if tail:find(stop, 1, true) then return true end
  end
  return false
end

--- The next token.
---@param token integer
---@return boolean ends the answer ends after it
function Answer:add(token)
  if self.ends[token] then
    self.pieces[#self.pieces + 1] = ""
    return true
  end
  local piece = self.bytes[token] or ""
  self.pieces[#self.pieces + 1] = piece
  if self.longest == 0 then return false end
  local tail = self.tail .. piece
  self.tail = tail:sub(-self.longest + 1, -1)
  if self.longest == 1 then self.tail = "" end
  return found(self.stops, tail)
end

--- The bytes of the first n tokens that were added since the last call. The others are forgotten.
---@param n integer
---@return string
function Answer:take(n)
  local bytes = table.concat(self.pieces, "", 1, n)
  self.pieces = {}
  return bytes
end

local BYTES = {} -- of a model whose tokens are bytes
for byte = 0, 255 do BYTES[byte] = string.char(byte) end

local M = { BYTES = BYTES }

---@param stops string[] texts, not empty each; the answer ends after the token that completes one
---@param vocabulary table|nil { bytes = by token, ends = set of tokens that end an answer }
function M.new(stops, vocabulary)
  local longest = 0
  for _, stop in ipairs(stops) do longest = math.max(longest, #stop) end
  return setmetatable({ stops = stops, longest = longest, tail = "", pieces = {},
                        bytes = vocabulary and vocabulary.bytes or BYTES,
                        ends = vocabulary and vocabulary.ends or {} }, Answer)
end

return M
