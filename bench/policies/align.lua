-- What blocks cost: time to first token in mode align against mode none, and leftovers of a step that are
-- smaller than a block, which decodes must not always take.
local scenario = require "bench.scenario"
local steps = require "bench.steps"

local TRACE = "azure2023_conv.csv"

local function first_token(s, mode, more)
  local options = { policy = "fcfs", trace = scenario.trace(TRACE), mamba_cache_mode = mode }
  for name, value in pairs(more) do options[name] = value end
  return s:simulate(mode, options).ttft.p50
end

-- One decode, blocks as large as the budget, and a prompt of 5,000 tokens before one of 30.
local function leftovers(s)
  local server = steps.new({ policy = "fcfs", max_model_len = 16000 }, {
    max_num_batched_tokens = 2048, mamba_cache_mode = "align", mamba_block_size = 2048,
    max_blocks_per_row = 9, num_slots = 64 })
  server:submit("decode", 20, 1000)
  server:step()
  server:submit("long", 5000, 10)
  server:submit("short", 30, 10)
  s:report("short_steps", server:wait_for("short", 2000), "<=", 2)
  s:report("long_steps", server.first.long or server:wait_for("long", 2000), "<=", 16)
  server:close()
end

-- Steps in a row without an admission, while a request waits and table rows and memory are free.
local function longest_wait()
  local server = steps.new({ policy = "fcfs", max_model_len = 16000 }, {
    max_num_batched_tokens = 1100, mamba_cache_mode = "align", mamba_block_size = 1056,
    max_blocks_per_row = 20, max_num_seqs = 128, max_requests = 128, num_slots = 500 })
  for n = 1, 60 do server:submit(n, 5, 4000) end
  for _ = 1, 30 do server:step() end
  local longest, waited = 0, 0
  for n = 61, 100 do server:submit(n, 1 + n * 97 % 7000, 50) end
  for _ = 1, 1000 do
    local step = server:step()
    waited = (#step.admitted > 0 or server.engine.stats.waiting == 0) and 0 or waited + 1
    longest = math.max(longest, waited)
  end
  server:close()
  return longest
end

return {
  about = "mode align against mode none: time to first token, and who gets what is left of a step",
  traces = { TRACE },
  run = function(s)
    leftovers(s)
    s:report("steps_without_admission", longest_wait(), "<=", 1000)
    local function compare(figure, more)
      s:report(figure, first_token(s, "align", more) / first_token(s, "none", more), "<=", 1.3)
    end
    compare("ttft_p50_of_none", {})
    compare("ttft_p50_of_none_large", { mamba_block_size = 2048, max_num_batched_tokens = 2048 })
  end,
}
