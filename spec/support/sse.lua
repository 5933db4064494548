-- Reads an answer of examples/nginx, so far as it came: for the specs and for wrk, which has its own Lua.
local cjson = require "cjson"

local M = {}

--- The text of a completion or of a chat's answer.
function M.text(completion)
  local choice = completion.choices[1]
  return choice.text or choice.message.content
end

--- A stream's body: { events, text, reason, done, usage, failure, comments, role }.
function M.read(body)
  local pieces, stream = {}, { events = 0, comments = 0, done = false }
  for line in body:gmatch "([^\n]*)\n\n" do
    local data = line:match "^data: (.*)$"
    if not data then
      assert(line == ": keep-alive", "no event: " .. line)
      stream.comments = stream.comments + 1
      goto next
    end
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
        stream.role = stream.role or choice.delta and choice.delta.role
        pieces[#pieces + 1] = choice.text or choice.delta.content or ""
        if choice.finish_reason ~= cjson.null then stream.reason = choice.finish_reason end
      end
    end
    ::next::
  end
  stream.text = table.concat(pieces)
  return stream
end

return M
