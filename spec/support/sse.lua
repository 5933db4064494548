-- Reads an answer of examples/nginx, so far as it came: for the specs and for wrk, which has its own Lua.
local cjson = require "cjson"

local M = {}

-- A token is a byte, sent as the code point of its number.
local function as_bytes(text)
  return (text:gsub("[\194\195][\128-\191]", function(pair)
    return string.char((pair:byte(1) - 192) * 64 + pair:byte(2) - 128)
  end))
end

--- The bytes of a completion.
function M.bytes(completion) return as_bytes(completion.choices[1].text) end

--- A stream's body: { events, bytes, reason, done, usage, failure }.
function M.read(body)
  local pieces, stream = {}, { events = 0, done = false }
  for data in body:gmatch "data: ([^\n]*)\n\n" do
    stream.events = stream.events + 1
    assert(not stream.done, "an event after [DONE]")
    if data == "[DONE]" then
      stream.done = true
    else
      local event = cjson.decode(data)
      stream.failure, stream.usage = event.error, event.usage
      local choice = event.choices and event.choices[1]
      if choice then
        assert(not stream.reason, "text after the last")
        pieces[#pieces + 1] = as_bytes(choice.text)
        if choice.finish_reason ~= cjson.null then stream.reason = choice.finish_reason end
      end
    end
  end
  stream.bytes = table.concat(pieces)
  return stream
end

return M
