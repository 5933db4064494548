-- examples/nginx/request.lua: any body at all is a request that the server can take, or nil and a message
-- that can be sent back. Bytes that do not begin like JSON are edits of a body that is right.
package.path = "./?.lua;" .. package.path
local parse = require("examples.nginx.request").parse
local edits = require "fuzz.edits"

local RIGHT = [[{"prompt": [72, 105], "max_tokens": 5, "stream": true, "user": "ada", "priority": -3, "n": 1,
"model": "toy", "best_of": 1, "temperature": 0, "echo": false, "stream_options": {"include_usage": true}}]]
RIGHT = RIGHT:gsub("\n", " ")

local KINDS = { prompt = "string", max_tokens = "number", stream = "boolean", stream_options = "table",
                user = "string", priority = "number", model = "string", n = "number", best_of = "number",
                temperature = "number", echo = "boolean" }

local function integer(value, low, high) return value % 1 == 0 and value >= low and value <= high end

assert(parse(edits.apply(RIGHT, ""))) -- else edits would test nothing but its refusal

return function(bytes)
  local body = bytes:sub(1, 1) == "{" and bytes or edits.apply(RIGHT, bytes)
  local request, message, param = parse(body)
  if not request then
    assert(type(message) == "string" and #message < 400, "a message of any length")
    assert(not (message .. (param or "")):find "[^\32-\126]", "a message with the body's own bytes")
    return
  end
  for name, value in pairs(request) do assert(type(value) == KINDS[name], name) end
  assert(#request.prompt > 0 and integer(request.max_tokens, 1, 1e6))
  assert(integer(request.priority or 0, -1000, 1000) and #(request.user or "") <= 256)
end
