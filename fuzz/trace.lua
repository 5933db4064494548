-- sim/trace.lua: any text at all is a list of requests that a simulation can take, or nil and a message that
-- names the line.
local trace = require "gdnmeta.sim.trace"

local MAX_SECONDS, MAX_TOKENS = 1e9, 2 ^ 30 - 1
local NAMES = { "user", "class", "session" }
local NUMBERS = { "priority", "weight", "ttft", "tpot", "deadline", "think" }

local function integer(value) return value % 1 == 0 and value >= 1 and value <= MAX_TOKENS end

local function check_request(r, known)
  assert(integer(r.prompt) and integer(r.output), "a length is no integer")
  for _, name in ipairs(NAMES) do
    assert(r[name] == nil or type(r[name]) == "string", name .. " is no name")
  end
  for _, name in ipairs(NUMBERS) do
    local value = r[name]
    assert(value == nil or type(value) == "number" and value - value == 0, name .. " is no number")
  end
  assert(not r.think or r.think >= 0, "a thought before the answer")
  assert(r.after == nil or known[r.after] and r.after ~= r and r.session, "a turn of no session")
end

local function check(requests)
  local known, before = {}, requests[1].arrival
  assert(#requests > 0 and type(requests.format) == "string" and requests.passed >= 0)
  assert(requests.skipped >= 0 and requests.rows >= requests.skipped + #requests)
  for _, r in ipairs(requests) do known[r] = true end
  for _, r in ipairs(requests) do
    assert(r.arrival >= before and r.arrival - requests[1].arrival <= 2 * MAX_SECONDS, "arrivals do not rise")
    check_request(r, known)
    before = r.arrival
  end
  for _, note in ipairs(trace.notices(requests)) do
    assert(#note < 1200 and not note:find "%c", "a note of any length, or with control bytes")
  end
end

return function(text)
  local requests, message = trace.parse(text, "t")
  if requests then return check(requests) end
  assert(type(message) == "string", "refused without a message")
  assert(message:find "^t:%d+: ." or message:find "^t: no request in it", message)
  assert(#message < 600 and not message:find "%c", "a message of any length, or with control bytes")
end
