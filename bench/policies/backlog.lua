-- Three users of a small machine: ada has one long answer under way and nothing waiting, bob always has, cid
-- comes back after a minute and always has from then on. Every waiting user is served.
local services = require "bench.service"

local function workload()
  local requests = { { arrival = 0, prompt = 100, output = 8000, user = "ada" } }
  for n = 1, 1800 do
    for _, user in ipairs { "bob", n >= 600 and "cid" or nil } do
      requests[#requests + 1] = { arrival = n / 10, prompt = 500, output = 100, user = user }
    end
  end
  return requests
end

return {
  about = "fair while one user has a long answer and nothing waiting, and another comes back",
  light = true,
  run = function(s)
    local requests = workload()
    local service = services.new(requests)
    local run = s:simulate("fair", {
      policy = "fair", requests = requests, max_num_seqs = 8, kv_tokens = 0, cost = { c0 = 12, c_pf = 0.07 },
    }, function(counters, seconds) service:observe(counters, seconds) end)
    s:note(("a user who waited was given nothing for at most %.1f s"):format(service.longest_unserved))
    s:report("counter_gap", run.fairness.max_gap, "<=", service:bound())
    s:report("unserved_tokens", service.unserved, "<=", service:bound())
  end,
}
