-- The prompt of a completion: text, whose bytes are the tokens, or a list of tokens, or a list of one of
-- these.
local fields = require "examples.nginx.fields"

local M = {}

local function legal(value, most, nested)
  if type(value) == "string" then return value ~= "" end
  local count = fields.length(value)
  if not count or count == 0 then return false end
  local first = type(value[1])
  if not nested and (first == "string" or first == "table") then
    if count > 1 then return false, (" is a list of %d prompts, want one"):format(count) end
    return legal(value[1], most, true)
  end
  for n = 1, count do
    local token = value[n]
    if type(token) ~= "number" or token % 1 ~= 0 or token < 0 or token > most then
      return false, ("[%d] = %s, want an integer in 0 .. %d"):format(n - 1, fields.shown(token), most)
    end
  end
  return true
end

--- The field's rule. vocabulary: tokens that the model knows; nil: tokens are bytes.
---@param vocabulary integer|nil
function M.field(vocabulary)
  return { function(value) return legal(value, (vocabulary or 256) - 1, false) end,
           ("a string that is not empty, a list of %s, or a list of one of these"):format(
             vocabulary and "tokens" or "bytes") }
end

--- The text of a prompt that is legal, or its tokens, unless they are bytes.
---@return string|table
function M.plain(prompt, vocabulary)
  if type(prompt) == "string" then return prompt end
  if type(prompt[1]) ~= "number" then return M.plain(prompt[1], vocabulary) end
  if vocabulary then return prompt end
  local bytes = {}
  for n, token in ipairs(prompt) do bytes[n] = string.char(token) end
  return table.concat(bytes)
end

return M
