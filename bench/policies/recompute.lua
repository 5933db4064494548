-- Coding agents: long prompts that fill the attention cache, under policies that evict. Tokens that were
-- computed again, as a share of all.
local WORKLOAD = { seed = 7, requests = 400, rate = 2, prompt_median = 20000, prompt_sigma = 1,
                   prompt_max = 120000, output_median = 400, output_sigma = 1, output_max = 4000 }

return {
  about = "long prompts and a full attention cache: tokens that are computed again",
  light = true,
  run = function(s)
    for _, policy in ipairs { "deadline", "priority", "fcfs" } do
      local run = s:simulate(policy, { policy = policy, workload = WORKLOAD, kv_tokens = 400000 })
      s:note(("%s: %d preemptions, %d s"):format(policy, run.preemptions, run.seconds))
      s:report(policy .. "_recomputed_percent", 100 * run.recompute_tax, "<=", 5)
    end
  end,
}
