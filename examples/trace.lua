-- What two policies do to the latency of a recorded workload (Azure, BurstGPT, Mooncake, Qwen-Bailian
-- or compact CSV), at its own rate or another.
--   luajit examples/trace.lua azure2023_conv.csv [requests per second]
local sim = require("gdnmeta").sim

local path, rate = ...
local runs = {}
for i, policy in ipairs { "fcfs", "decode_first" } do
  local run = assert(sim.run { policy = policy, trace = path, rate = tonumber(rate) })
  print(("%-13s first token p50 %.0f ms, p99 %.0f ms; longest gap %.0f ms; %d of %d in time"):format(
    policy, run.ttft.p50, run.ttft.p99, run.itl.max or 0, run.attainment * run.requests, run.requests))
  runs[i] = run
end

for _, note in ipairs(runs[1].setup.notices) do print(note) end -- rows that were left out, and the like

local difference = sim.compare(runs).ttft
print(("%d of %d first tokens come later under decode_first, %.0f ms in the median"):format(
  difference.worse, difference.n, difference.p50))
