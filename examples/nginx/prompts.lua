-- The prompt of a completion: text, whose bytes are the tokens, or a list of tokens, or a list of one of
-- these.
local fields = require "examples.nginx.fields"

local is_byte = fields.integer(0, 255)[1]

local M = {}

local function legal(value, nested)
  if type(value) == "string" then return value ~= "" end
  local count = fields.length(value)
  if not count or count == 0 then return false end
  local first = type(value[1])
  if not nested and (first == "string" or first == "table") then
    if count > 1 then return false, (" is a list of %d prompts, want one"):format(count) end
    return legal(value[1], true)
  end
  for n = 1, count do
    if not is_byte(value[n]) then
      return false, ("[%d] = %s, want an integer in 0 .. 255"):format(n - 1, fields.shown(value[n]))
    end
  end
  return true
end

M.field = { function(value) return legal(value, false) end,
            "a string that is not empty, a list of bytes, or a list of one of these" }

--- The bytes of a prompt that is legal.
---@return string
function M.bytes(prompt)
  if type(prompt) == "string" then return prompt end
  if type(prompt[1]) ~= "number" then return M.bytes(prompt[1]) end
  local bytes = {}
  for n, token in ipairs(prompt) do bytes[n] = string.char(token) end
  return table.concat(bytes)
end

return M
