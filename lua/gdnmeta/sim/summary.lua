-- The figures of a run, from its counters. Times are in milliseconds unless a name says otherwise.
--   ttft         arrival to first token
--   tpot         (last token - first) / (tokens - 1), of requests with at least two
--   itl          gaps between the bursts of a request: the pauses that a reader sees
--   itl_token    the same gaps, each divided by the tokens of its burst and counted once per token
--   e2e          arrival to last token
--   queue        arrival to the first step that names the request
--   normalised   e2e per token of output
--   attainment   share of all requests that finished within their targets: the first token, the mean time a
--                token, and no single gap between two bursts beyond gap_ms (by default 10 times that mean)
--   goodput      those of them per second, of the time from first arrival to last token
--   starved      requests that waited for their first step for 10 times the target of the first token
local printed = require "gdnmeta.native.printed"
local share = require("gdnmeta.sim.numbers").share

-- A run that is printed: the caller adds the policy.
local RUN = printed.figures("Run", { "policy", "requests", "finished", "rejected", "seconds", "steps",
                                     "attainment", "goodput", "preemptions" })

local M = {}

local NS_PER_MS = 1e6

local DISTRIBUTIONS = { "ttft", "tpot", "itl", "itl_token", "e2e", "queue", "normalised" }

-- Points for a plot that stretches the tail: { nines, ms }, where nines 1 is the 90th percentile, 2 the
-- 99th, 3 the 99.9th, as far as there are samples for.
local function curve(s)
  local points = {}
  if s.n == 0 then return points end
  local most = math.log10(s.n)
  for i = 0, 119 do
    local nines = most * i / 120
    points[i + 1] = { nines, s:percentile(100 - 100 * 10^-nines) / NS_PER_MS }
  end
  points[121] = { most, s:max() / NS_PER_MS }
  return points
end

local function padding(counters)
  local kinds = {}
  for name, kind in pairs(counters.kinds) do
    kinds[name] = {
      steps = kind.steps, share = share(kind.steps, counters.steps), tokens = kind.tokens,
      padded = kind.padded, waste = share(kind.padded - kind.tokens, kind.padded),
    }
  end
  return { kinds = kinds, waste = share(counters.padded - counters.tokens, counters.padded) }
end

local function wall(s)
  return { p50 = s:percentile(50), p99 = s:percentile(99) }
end

--- The figures of a counters.
---@param counters table closed
---@param setup table budget (tokens per step), slots (pool), stats (the engine's), ttft_ms, tpot_ms,
--- gap_ms
---@return table figures plain numbers, strings and tables: fit for JSON
function M.figures(counters, setup)
  local seconds = math.max(counters.ended, 1) / 1e9
  local steps, stats = counters.steps, setup.stats
  local tokens = share(counters.tokens, steps)
  local figures = {
    requests = counters.n, finished = counters.finished, rejected = counters.rejected,
    rejection = counters.rejection, seconds = seconds,
    steps = steps, busy = counters.busy / math.max(counters.ended, 1),
    targets = { ttft_ms = setup.ttft_ms, tpot_ms = setup.tpot_ms, gap_ms = setup.gap_ms },
    starved = counters.starved, stalled = counters.stalled,
    attainment = share(counters.met, counters.arrived), goodput = counters.met / seconds,
    prefill_tokens = counters.prefill, decode_tokens = counters.decode, emitted = counters.emitted,
    scheduled = stats.scheduled,
    tokens_in_per_second = counters.prefill / seconds, tokens_out_per_second = counters.emitted / seconds,
    batch = { rows = share(counters.rows, steps), most_rows = counters.most_rows, tokens = tokens,
              most_tokens = counters.most_tokens, fill = tokens / setup.budget },
    padding = padding(counters),
    slots = { pool = setup.slots, mean = share(counters.slots, steps), peak = counters.most_slots },
    preemptions = counters.preemptions, recomputed = stats.discarded,
    recompute_tax = share(stats.discarded, stats.scheduled),
    rejected_drafts = stats.rejected_drafts,
    wasted_rows = stats.wasted_rows, wasted_tokens = stats.wasted_tokens,
    fairness = counters.fairness:figures(1e9, counters.ended),
    longest_wait_ms = counters.longest_wait / NS_PER_MS, longest_waiter = counters.longest_waiter,
    fallbacks = stats.fallbacks, failures = stats.failures,
    wall = { policy_us = wall(counters.policy_us), build_us = wall(counters.build_us) },
    curves = {}, timeline = counters.timeline:points(),
  }
  if counters.spec_rows > 0 then
    figures.speculation = { rows = counters.spec_rows, drafts = counters.drafts / counters.spec_rows,
                            tokens = 1 + counters.accepted / counters.spec_rows,
                            accepted = share(counters.accepted, counters.drafts) }
  end
  for _, name in ipairs(DISTRIBUTIONS) do
    figures[name] = counters[name]:summary(1 / NS_PER_MS)
  end
  for _, name in ipairs { "ttft", "itl" } do figures.curves[name] = curve(counters[name]) end
  return setmetatable(figures, RUN)
end

return M
