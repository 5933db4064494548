-- Traffic in which no two steps are alike (lengths as spread as those of a public reasoning trace): how long
-- a policy thinks, and how often LuaJIT throws its machine code away, at LuaJIT's own limits. Time is counted
-- once what is compiled once has been compiled: the best of several stretches of the run's second half. It is
-- read from the wall clock: a thread's own clock is a system call, of which two halves, up to 4 us at the
-- 99th percentile, would count as the policy's. So it wants a machine that does little else.
local histogram = require "gdnmeta.sim.histogram"

local STRETCHES = 6 -- of some 6,000 steps
local POLICIES = { "fcfs", "fair", "shortest_prefill", "deadline" }

local flushes = 0
local function count_flushes()
  jit.attach(function(what)
    if what == "flush" then flushes = flushes + 1 end
  end, "trace")
end

return {
  about = "steps of ever changing shapes: time of a policy, and machine code thrown away",
  run = function(s)
    count_flushes()
    for _, policy in ipairs(POLICIES) do
      flushes = 0
      local stretch, best = 0, math.huge
      local run = s:simulate(policy, {
        policy = policy, measure = true, preset = "h100-qwen3.6-35b-a3b-fp8", users = 30,
        workload = { seed = 5, requests = 6000, rate = 5.5, prompt_median = 356, prompt_sigma = 1.4,
                     prompt_max = 42000, output_median = 457, output_sigma = 1.1, output_max = 24000 },
      }, function(counters)
        if counters.finished < counters.n * (1 + stretch / STRETCHES) / 2 then return end
        if stretch > 0 then best = math.min(best, counters.policy_us:percentile(99)) end
        stretch, counters.policy_us = stretch + 1, histogram.new()
      end)
      s:note(("%s: %d steps"):format(policy, run.steps))
      s:report(policy .. "_p99_us", best, "<=", 10)
      s:report(policy .. "_flushes_per_10000", flushes / run.steps * 10000, "<=", 1)
    end
  end,
}
