-- examples/nginx/request.lua: any body at all is a request that the server can take, at either endpoint, or
-- nil and a message that can be sent back. Bytes that do not begin like JSON are edits of a body that is
-- right.
package.path = "./?.lua;" .. package.path
local parse = require("examples.nginx.request").parse
local edits = require "fuzz.edits"

local RIGHT = [[{"prompt": [72, 105], "max_tokens": 5, "stream": true, "user": "ada", "priority": -3, "n": 1,
"model": "toy", "best_of": 1, "temperature": 0.5, "top_p": 1, "seed": 7, "stop": ["a", "b"], "echo": false,
"stream_options": {"include_usage": true}}]]
local CHAT = [[{"messages": [{"role": "system", "content": "Be brief."},
{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "max_completion_tokens": 5, "stop": "x",
"response_format": {"type": "text"}, "tools": []}]]
RIGHT, CHAT = RIGHT:gsub("\n", " "), CHAT:gsub("\n", " ")

local KINDS = { prompt = "string", max_tokens = "number", stream = "boolean", stream_options = "table",
                user = "string", priority = "number", model = "string", temperature = "number",
                top_p = "number", seed = "number", stop = "table" }

local function integer(value, low, high) return value % 1 == 0 and value >= low and value <= high end

-- Else edits would test nothing but its refusal.
assert(parse(edits.apply(RIGHT, "")))
assert(parse(edits.apply(CHAT, ""), "chat"))

local function check(request)
  for name, kind in pairs(KINDS) do
    assert(request[name] == nil or type(request[name]) == kind, name)
  end
  assert(#request.prompt > 0 and integer(request.max_tokens, 1, 1e6))
  assert(integer(request.priority, -1000, 1000) and #(request.user or "") <= 256)
  assert(request.temperature >= 0 and request.temperature <= 2 and request.top_p >= 0 and request.top_p <= 1)
  assert(#request.stop <= 4)
  for _, stop in ipairs(request.stop) do assert(type(stop) == "string" and #stop > 0 and #stop <= 256) end
end

local function try(body, kind)
  local request, message, param = parse(body, kind)
  if request then return check(request) end
  assert(type(message) == "string" and #message < 400, "a message of any length")
  assert(not (message .. (param or "")):find "[^\32-\126]", "a message with the body's own bytes")
end

return function(bytes)
  local given = bytes:sub(1, 1) == "{"
  try(given and bytes or edits.apply(RIGHT, bytes), "completion")
  try(given and bytes or edits.apply(CHAT, bytes), "chat")
end
