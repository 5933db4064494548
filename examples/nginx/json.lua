-- JSON of requests and answers.
local cjson = require("cjson").new()
local utf8 = require "examples.nginx.utf8"

cjson.decode_invalid_numbers(false) -- no NaN, no hexadecimal
cjson.decode_max_depth(64)

local M = { null = cjson.null }

-- What comes back to a client is ASCII, whatever came from it.
function M.ascii(text)
  return (text:gsub("[^\32-\126]", function(char) return ("\\x%02x"):format(char:byte()) end))
end

--- The object that a body is.
---@param body string|nil
---@return table|nil object
---@return string? message
function M.object(body)
  body = body or ""
  local wrong = utf8.wrong(body)
  if wrong then
    return nil, ("the body is not UTF-8: byte %d is 0x%02x"):format(wrong - 1, body:byte(wrong))
  end
  -- The decoder takes a NUL for the end.
  if body:find("\0", 1, true) then return nil, "the body is not JSON: it has a NUL byte" end
  local ok, value = pcall(cjson.decode, body)
  if not ok then return nil, "the body is not JSON: " .. M.ascii(value:sub(1, 200)) end
  if type(value) ~= "table" or value[1] ~= nil then return nil, "the body is not a JSON object" end
  return value
end

--- cjson takes an empty table for an object.
M.empty_list = {}

---@param value table
---@return string
function M.encode(value)
  local empty = value.choices == M.empty_list
  local text = cjson.encode(value)
  return empty and (text:gsub('"choices":{}', '"choices":[]', 1)) or text
end

return M
