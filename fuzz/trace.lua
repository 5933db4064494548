-- sim/trace.lua: any text at all is a list of requests that a simulation can take, or nil and a message that
-- names the line.
local trace = require "gdnmeta.sim.trace"

local MAX_SECONDS, MAX_TOKENS = 1e9, 2 ^ 30 - 1

local function integer(value) return value % 1 == 0 and value >= 1 and value <= MAX_TOKENS end

local function check(requests)
  local before = 0
  assert(#requests > 0 and type(requests.format) == "string" and requests.skipped >= 0)
  for _, r in ipairs(requests) do
    assert(r.arrival >= before and r.arrival <= MAX_SECONDS, "arrivals do not rise, or are none")
    assert(integer(r.prompt) and integer(r.output), "a length is no integer")
    assert(r.user == nil or type(r.user) == "string" and r.user ~= "", "a user without a name")
    before = r.arrival
  end
end

return function(text)
  local requests, message = trace.parse(text, "t")
  if requests then return check(requests) end
  assert(type(message) == "string", "refused without a message")
  assert(message:find "^t:%d+: ." or message == "t: no request in it", message)
  assert(#message < 600 and not message:find "%c", "a message of any length, or with control bytes")
end
