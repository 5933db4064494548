-- Fairness on the requests that the authors of virtual token counters measured theirs with: 1,500 of 27 users
-- of Chatbot Arena, squeezed to 10 minutes. The machine resembles theirs, a 7B model with room for 10,000
-- tokens. Published largest differences: 760 tokens a second first come, first served, 368 with counters.
local services = require "bench.service"
local scenario = require "bench.scenario"

local TRACE = "vtc_arena_real.csv"

local function run(s, requests, policy)
  local service = services.new(requests)
  local result = s:simulate(policy, {
    policy = policy, requests = requests, cost = { c0 = 30, c_seq = 0.4, c_pf = 0.15 }, kv_tokens = 10000,
    max_num_seqs = 256,
  }, function(counters, seconds) service:observe(counters, seconds) end)
  return service, result
end

return {
  about = "fair on the published fairness trace: counters within U, half of the difference of fcfs",
  traces = { TRACE },
  run = function(s)
    local requests = assert(require("gdnmeta.sim.trace").read(scenario.trace(TRACE)))
    local fair, result = run(s, requests, "fair")
    local first_come = run(s, requests, "fcfs")
    s:note(("a user who waited was given nothing for at most %.1f s, under fcfs for %.1f s"):format(
      fair.longest_unserved, first_come.longest_unserved))
    s:report("counter_gap", result.fairness.max_gap, "<=", fair:bound())
    s:report("unserved_tokens", fair.unserved, "<=", fair:bound())
    local difference, of_fcfs = fair:difference(), first_come:difference()
    s:note(("largest difference of service: fair %.0f tokens a second, fcfs %.0f"):format(difference,
      of_fcfs))
    s:report("difference_of_fcfs", difference / of_fcfs, "<=", 0.5)
  end,
}
