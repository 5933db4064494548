-- No token is lost and none is invented: a run fails if its sums do not agree. Of a request that
-- finished, prompt + output - 1 tokens are computed once (the last token is never fed back); beyond
-- that there are drafts that were not accepted, what preemptions threw away, and rows of requests that
-- had stopped while the step was under way; what it read from the state cache when it began for the last
-- time is not computed. A request that ran, was preempted and then turned away has all it
-- computed among what was thrown away; its emitted tokens are counted separately.
local numbers = require "gdnmeta.sim.numbers"

local M = {}

local function fail(...) error("the simulated run lost count: " .. string.format(...), 0) end

--- The sums of a run, or an error that says which request or sum is wrong.
---@param requests table
---@param counters table closed
---@param stats table the engine's
---@param cached ffi.cdata*|nil tokens that a request began with when it was admitted last, by request
---@return table sums
function M.check(requests, counters, stats, cached)
  local once, outputs, finished, unfinished, read = 0, 0, 0, 0, 0
  for i, r in ipairs(requests) do
    if counters.done[i] == 1 then
      if counters.got[i] ~= r.output then
        fail("request %d was given %d tokens, its output is %d", i, counters.got[i], r.output)
      end
      once, outputs, finished = once + r.prompt + r.output - 1, outputs + r.output, finished + 1
      read = read + (cached and cached[i] or 0)
    elseif counters.got[i] >= r.output then
      fail("request %d was given %d tokens and did not finish, its output is %d", i,
        counters.got[i], r.output)
    else
      unfinished = unfinished + counters.got[i]
    end
  end
  if finished + counters.rejected ~= #requests then
    fail("%d requests finished and %d were turned away, of %d", finished, counters.rejected, #requests)
  end
  local sums = { once = once, outputs = outputs, unfinished = unfinished, again = stats.discarded,
                 drafts = stats.rejected_drafts, wasted = stats.wasted_tokens, scheduled = stats.scheduled }
  if read > 0 then sums.cached = read end
  local want = once - read + sums.again + sums.drafts + sums.wasted
  if stats.scheduled ~= want then fail("%.0f tokens scheduled, want %.0f", stats.scheduled, want) end
  want = outputs + unfinished
  if counters.emitted ~= want or stats.emitted ~= want then
    fail("%.0f tokens emitted, %.0f by the engine, want %.0f", counters.emitted, stats.emitted, want)
  end
  return sums
end

--- The sums in words.
---@param run table
---@return string
function M.sentence(run)
  local s, count = run.conservation, numbers.count
  local parts = { ("%s: %s tokens scheduled = %s (prompt + output - 1 of each)"):format(
    run.policy, count(s.scheduled), count(s.once)) }
  if (s.cached or 0) > 0 then parts[2] = (" - %s read from the state cache"):format(count(s.cached)) end
  for _, part in ipairs { { s.again, "computed again" }, { s.drafts, "drafts not accepted" },
                          { s.wasted, "for requests that had stopped" } } do
    if part[1] > 0 then parts[#parts + 1] = (" + %s %s"):format(count(part[1]), part[2]) end
  end
  local emitted = s.outputs + (s.unfinished or 0)
  parts[#parts + 1] = ("; %s emitted = all outputs"):format(count(emitted))
  if emitted > s.outputs then
    parts[#parts + 1] = (" + %s of requests turned away later"):format(count(s.unfinished))
  end
  return table.concat(parts)
end

return M
