-- Short jobs first, on the published arrivals and lengths of a reasoning model: how much better the time per
-- output token is (arrival to last token, over the tokens) than first come, first served. With lengths known
-- beforehand, and by the prompt alone. The arrivals are stretched to somewhat more than one machine can do.
local scenario = require "bench.scenario"

local TRACE = "servegen_r1_1h.csv"

return {
  about = "shortest_prefill, and jobs of known length, against fcfs: time per output token",
  traces = { TRACE },
  run = function(s)
    local requests = assert(require("gdnmeta.sim.trace").read(scenario.trace(TRACE)))
    local function run(name, policy, known)
      return s:simulate(name, { policy = policy, trusted = true, requests = requests, limit = 3000, rate = 3,
                                known_lengths = known })
    end
    local fcfs = run("fcfs", "fcfs")
    local by_prompt = run("shortest_prefill", "shortest_prefill")
    local by_job = run("shortest_job", "examples/policies/shortest_job.lua", true)
    for _, result in ipairs { fcfs, by_prompt, by_job } do
      s:note(("%s: %.0f ms a token, longest wait %.0f s"):format(result.policy, result.normalised.mean,
        result.longest_wait_ms / 1000))
    end
    s:report("known_lengths_ratio", fcfs.normalised.mean / by_job.normalised.mean, ">=", 2.5)
    s:report("shortest_prefill_ratio", fcfs.normalised.mean / by_prompt.normalised.mean, ">=", 2)
  end,
}
