-- What wrk sends and how it judges the answers. The first argument is a Lua file of cases: { body, text }.
--   wrk ... -s spec/support/wrk.lua URL -- CASES
-- luacheck: globals wrk setup init request response done good busy bad example
package.path = "./?.lua;" .. package.path
local sse = require "spec.support.sse"

local cases, sent, threads = nil, 0, {}

-- Globals of a thread, which done() asks for.
good, busy, bad, example = 0, 0, 0, ""

function setup(thread) threads[#threads + 1] = thread end

function init(args)
  cases = dofile(args[1])
  math.randomseed(tonumber((tostring({}):match "0x(%x+)"), 16) % 2 ^ 31)
  sent = math.random(#cases)
end

function request()
  sent = sent % #cases + 1
  return wrk.format("POST", nil, { ["Content-Type"] = "application/json", ["X-Request-Id"] = sent },
    cases[sent].body)
end

local function problem_of(headers, body)
  local case = cases[tonumber(headers["X-Request-Id"])]
  local ok, stream = pcall(sse.read, body)
  if not ok then return stream end
  if stream.text ~= case.text then
    return ("%s: %q, want %q"):format(case.body, stream.text, case.text)
  end
  if stream.reason ~= "length" or not stream.done then return case.body .. ": no end" end
end

function response(status, headers, body)
  if status == 429 and headers["Retry-After"] then
    busy = busy + 1
  else
    local problem = status == 200 and problem_of(headers, body) or status ~= 200 and status .. " " .. body
    if problem then
      bad, example = bad + 1, tostring(problem)
    else
      good = good + 1
    end
  end
end

function done(summary)
  local sums = { good = 0, busy = 0, bad = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(sums) do sums[name] = sums[name] + thread:get(name) end
    if thread:get "example" ~= "" then print("example", thread:get "example") end
  end
  local errors = summary.errors
  print("good", sums.good)
  print("busy", sums.busy)
  print("bad", sums.bad)
  print("errors", errors.connect + errors.read + errors.write + errors.timeout)
end
