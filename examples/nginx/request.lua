-- What a body of POST /v1/completions says. What this server does not do, it refuses rather than ignores.
local cjson = require("cjson").new()

cjson.decode_invalid_numbers(false) -- no NaN, no hexadecimal
cjson.decode_max_depth(8)

local null = cjson.null

local M = {}

local function integer(low, high)
  return function(value)
    return type(value) == "number" and value % 1 == 0 and value >= low and value <= high
  end, ("an integer in %d .. %d"):format(low, high)
end

local function only(wanted)
  return function(value) return value == wanted end, tostring(wanted)
end

local function boolean(value) return type(value) == "boolean" end
local function text(value) return type(value) == "string" and #value <= 256 end
-- It is sent back, and an answer is UTF-8.
local function printable(value) return text(value) and not value:find "[^\32-\126]" end
local is_byte = integer(0, 255)

-- Text, whose bytes are the tokens, or a list of them; false, and the place of what is no byte.
local function prompt(value)
  if type(value) == "string" then return value ~= "" end
  if type(value) ~= "table" or #value == 0 then return false end
  local count = 0
  for key, token in pairs(value) do
    if type(key) ~= "number" then return false end
    if not is_byte(token) then return false, key end
    count = count + 1
  end
  return count == #value
end

local function stream_options(value)
  if type(value) ~= "table" then return false end
  for name, option in pairs(value) do
    if name ~= "include_usage" or not boolean(option) then return false end
  end
  return true
end

-- { is it legal, what is wanted }
local FIELDS = {
  prompt = { prompt, "a string that is not empty, or a list of bytes" },
  max_tokens = { integer(1, 1000000) },
  stream = { boolean, "true or false" },
  stream_options = { stream_options, '{"include_usage": true or false}' },
  user = { text, "a string of at most 256 bytes" },
  priority = { integer(-1000, 1000) },
  model = { printable, "a string of at most 256 characters of ASCII" },
  n = { only(1) },
  best_of = { only(1) },
  temperature = { only(0) }, -- the model is greedy
  echo = { only(false) },
}

-- What comes back to a client is ASCII, whatever came from it.
local function ascii(value)
  return (value:gsub("[^\32-\126]", function(char) return ("\\x%02x"):format(char:byte()) end))
end

local function shown(value)
  if type(value) == "string" then
    return #value <= 40 and '"' .. ascii(value) .. '"' or ("a string of %d bytes"):format(#value)
  end
  if value == null then return "null" end
  return type(value) == "table" and "an object or a list" or tostring(value)
end

--- Fields by name, defaults filled in; a prompt is its bytes.
---@param body string|nil
---@return table|nil request
---@return string? message
---@return string? param the field at fault
function M.parse(body)
  local ok, given = pcall(cjson.decode, body or "")
  if not ok then return nil, "the body is not JSON: " .. given end
  if type(given) ~= "table" or #given > 0 then return nil, "the body is not a JSON object" end
  local request = { max_tokens = 16, stream = false, stream_options = {} }
  for name, value in pairs(given) do
    local field = FIELDS[name]
    if not field then return nil, "unknown field " .. shown(name), ascii(name:sub(1, 40)) end
    if value ~= null then
      local legal, at = field[1](value)
      if at then
        return nil, ("%s[%d] = %s, want an integer in 0 .. 255"):format(name, at - 1, shown(value[at])), name
      elseif not legal then
        return nil, ("%s = %s, want %s"):format(name, shown(value), field[2]), name
      end
      request[name] = value
    end
  end
  if request.prompt == nil then return nil, "no prompt, want " .. FIELDS.prompt[2], "prompt" end
  if type(request.prompt) == "table" then
    local bytes = {}
    for n, token in ipairs(request.prompt) do bytes[n] = string.char(token) end
    request.prompt = table.concat(bytes)
  end
  return request
end

return M
