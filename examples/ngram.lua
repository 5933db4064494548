-- Drafts without a model: what followed the last time that a request's text stood at the same tokens. A
-- drafter is told each token once, and answers in constant time, however long the text is.
--   local drafter = ngram.new()
--   for n = 1, #tokens do drafter:push(tokens[n]) end
--   local drafts = drafter:drafts(3)
local Drafter = {}
Drafter.__index = Drafter

-- A product of 2^31 and 2^21 is exact, and other tokens with the same key are found out by looking.
local PRIME, FACTOR = 2147483647, 1000003

-- The last n tokens as one number.
local function key_of(tokens, size, n)
  local key = n
  for k = size - n + 1, size do key = (key * FACTOR + tokens[k]) % PRIME end
  return key
end

local function same(tokens, a, b, n)
  for k = 0, n - 1 do
    if tokens[a - k] ~= tokens[b - k] then return false end
  end
  return true
end

--- The text goes on with a token.
---@param token integer
function Drafter:push(token)
  local tokens, ends = self.tokens, self.ends
  local size = #tokens + 1
  tokens[size] = token
  self.found = nil
  for n = math.min(self.longest, size), self.shortest, -1 do
    local key = key_of(tokens, size, n)
    local before = ends[n][key]
    if not self.found and before and same(tokens, before, size, n) then self.found = before end
    ends[n][key] = size
  end
end

--- What may come next.
---@param most integer drafts at most
---@return table drafts a new list, empty where the text has nothing alike
function Drafter:drafts(most)
  local tokens, drafts = self.tokens, {}
  if not self.found then return drafts end
  for k = 1, math.min(most, #tokens - self.found) do drafts[k] = tokens[self.found + k] end
  return drafts
end

local M = {}

--- A drafter of an empty text. It looks for the last `longest` tokens (3), and where the text has them only
--- once, for fewer, down to `shortest` (1).
---@param longest integer|nil 1 .. 8
---@param shortest integer|nil 1 .. longest
---@return table drafter
function M.new(longest, shortest)
  longest, shortest = longest or 3, shortest or 1
  if longest % 1 ~= 0 or longest < 1 or longest > 8 then
    error(("ngram: longest = %s, want an integer in 1 .. 8"):format(longest), 2)
  end
  if shortest % 1 ~= 0 or shortest < 1 or shortest > longest then
    error(("ngram: shortest = %s, want an integer in 1 .. %d"):format(shortest, longest), 2)
  end
  local ends = {}
  for n = shortest, longest do ends[n] = {} end
  return setmetatable({ tokens = {}, ends = ends, longest = longest, shortest = shortest, found = nil },
                      Drafter)
end

return M
