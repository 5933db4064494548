-- The lines of a report: what is shown of a run, in which unit, and which way is better. Text and HTML
-- show the same ones.
local numbers = require "gdnmeta.sim.numbers"

local number, percent, count = numbers.number, numbers.percent, numbers.count

local M = {}

-- { label, unit, value(run) -> number or nil, formatter, better = "low" | "high" }
local function ms(label, field, p)
  return { label, "ms", function(run) return run[field][p] end, number, better = "low" }
end

local function waste(kind)
  return {
    ("  %s graph: share of steps"):format(kind), "%",
    function(run) return run.padding.kinds[kind].share end, percent,
  }, {
    ("  %s graph: padding"):format(kind), "% of tokens",
    function(run)
      local k = run.padding.kinds[kind]
      return k.steps > 0 and k.waste or nil
    end, percent, better = "low",
  }
end
local full_share, full_waste = waste "full"
local piecewise_share, piecewise_waste = waste "piecewise"

local function speculation(field)
  return function(run) return run.speculation and run.speculation[field] end
end

local function of_cache(field)
  return function(run) return run.cache and run.cache[field] end
end

local function of_host(field)
  return function(run) return run.cache and run.cache.host and run.cache.host[field] end
end

M.parts = {
  { "Latency",
    ms("time to first token, p50", "ttft", "p50"),
    ms("time to first token, p90", "ttft", "p90"),
    ms("time to first token, p99", "ttft", "p99"),
    ms("gap between tokens, p50", "itl", "p50"),
    ms("gap between tokens, p99", "itl", "p99"),
    ms("gap between tokens, longest", "itl", "max"),
    ms("time per output token, p50", "tpot", "p50"),
    ms("time per output token, p99", "tpot", "p99"),
    ms("arrival to last token, p50", "e2e", "p50"),
    ms("arrival to last token, p99", "e2e", "p99"),
    ms("the same per token, p50", "normalised", "p50"),
    ms("in the queue, p99", "queue", "p99"),
    { "longest wait for a first step", "ms", function(run) return run.longest_wait_ms end, number,
      better = "low" },
  },
  { "Service",
    { "requests that met their targets", "%", function(run) return run.attainment end, percent,
      better = "high" },
    { "goodput", "requests/s", function(run) return run.goodput end, number, better = "high" },
    { "prompt tokens computed", "1/s", function(run) return run.tokens_in_per_second end, number },
    { "tokens emitted", "1/s", function(run) return run.tokens_out_per_second end, number,
      better = "high" },
    { "stalled beyond the target", "requests", function(run) return run.stalled end, count,
      better = "low" },
    { "starved in the queue", "requests", function(run) return run.starved end,
      count, better = "low" },
    { "finished", "requests", function(run) return run.finished end, count },
    { "turned away", "requests", function(run) return run.rejected end, count, better = "low" },
  },
  { "State cache",
    { "prompt tokens that it served", "%", of_cache "hit", percent, better = "high" },
    { "  at most, by what prompts share", "%", of_cache "ceiling", percent },
    { "prompts that began with a state", "%", of_cache "hit_requests", percent, better = "high" },
    { "states made", "", of_cache "states_made", count },
    { "  never read", "% of them", function(run)
      local c = run.cache
      return c and c.states_made > 0 and c.states_unread / c.states_made or nil
    end, percent, better = "low" },
    { "  evicted", "", of_cache "states_evicted", count },
    { "  kept at once, most", "", of_cache "most_states", count },
    { "  the same in memory", "GiB", function(run)
      local bytes = run.cache and run.cache.most_bytes
      return bytes and bytes / 2^30
    end, number, better = "low" },
    { "  on the host, most", "", of_host "most_states", count },
    { "prompts that began with a state of the host", "", of_host "hits", count, better = "high" },
    { "states copied to the host", "", of_host "demoted", count, better = "low" },
    { "time of all copies, back too", "ms", of_host "copied_ms", number, better = "low" },
    { "tokens read again after preemptions", "", of_cache "resumed_tokens", count },
  },
  { "Steps",
    { "steps", "", function(run) return run.steps end, count },
    { "rows per step, mean", "", function(run) return run.batch.rows end, number },
    { "rows per step, most", "", function(run) return run.batch.most_rows end, count },
    { "tokens per step, mean", "", function(run) return run.batch.tokens end, number },
    { "token budget used", "%", function(run) return run.batch.fill end, percent },
    { "padding", "% of tokens", function(run) return run.padding.waste end, percent, better = "low" },
    full_share, full_waste, piecewise_share, piecewise_waste,
    { "  eager: share of steps", "%", function(run) return run.padding.kinds.eager.share end, percent },
  },
  { "Memory",
    { "state slots in use, mean (all groups)", "", function(run) return run.slots.mean end, number },
    { "state slots in use, peak (all groups)", "", function(run) return run.slots.peak end, count },
    { "state slots in the pools", "", function(run) return run.slots.pool end, count },
    { "preemptions", "", function(run) return run.preemptions end, count, better = "low" },
    { "tokens computed again", "% of all", function(run) return run.recompute_tax end, percent,
      better = "low" },
  },
  { "Speculation",
    { "drafts per speculative row", "", speculation "drafts", number },
    { "tokens emitted per speculative row", "", speculation "tokens", number, better = "high" },
    { "gap over the tokens of its burst, p99", "ms",
      function(run) return run.speculation and run.itl_token.p99 end, number, better = "low" },
    { "drafts accepted", "%", speculation "accepted", percent, better = "high" },
  },
  { "Fairness",
    { "users who had to wait", "", function(run)
      return run.fairness.backlogged_users > 1 and run.fairness.backlogged_users or nil
    end, count },
    { "Jain's index of their service", "", function(run) return run.fairness.jain end,
      function(x) return x and ("%.3f"):format(x) or "-" end, better = "high" },
    { "the least served, of the mean", "%", function(run) return run.fairness.least end, percent,
      better = "high" },
    { "longest wait without any service", "s", function(run)
      return run.fairness.backlogged_users > 1 and run.fairness.longest_without or nil
    end, number, better = "low" },
    { "largest gap between two of them", "tokens", function(run)
      return run.fairness.backlogged_users > 1 and run.fairness.max_gap or nil
    end, number, better = "low" },
  },
  { "Host",
    { "policy and packing, p50", "us", function(run) return run.wall.policy_us.p50 end, number },
    { "policy and packing, p99", "us", function(run) return run.wall.policy_us.p99 end, number },
    { "metadata, p50", "us", function(run) return run.wall.build_us.p50 end, number },
    { "metadata, p99", "us", function(run) return run.wall.build_us.p99 end, number },
    { "steps that the policy failed", "", function(run) return run.fallbacks end, count, better = "low" },
  },
}

-- A run's figures of a class, by name.
local function class_of(run, name)
  for _, class in ipairs(run.classes or {}) do
    if class.name == name then return class end
  end
end

-- The lines of a class.
local function class_section(name)
  local function value(field, p)
    return function(run)
      local class = class_of(run, name)
      local figure = class and class[field] -- results of before lack some
      if p then return figure and figure[p] end
      return figure
    end
  end
  return { "Class " .. name:gsub("[%c\127]", "?"), -- a result's file may say anything
    { "requests", "", value "requests", count },
    { "that met their targets", "%", value "attainment", percent, better = "high" },
    { "time to first token, p50", "ms", value("ttft", "p50"), number, better = "low" },
    { "time to first token, p99", "ms", value("ttft", "p99"), number, better = "low" },
    { "gap between tokens, p99", "ms", value("itl", "p99"), number, better = "low" },
    { "gap between tokens, longest", "ms", value("itl", "max"), number, better = "low" },
    { "time per output token, p99", "ms", value("tpot", "p99"), number, better = "low" },
    { "arrival to last token, p99", "ms", value("e2e", "p99"), number, better = "low" },
    { "longest wait for a first step", "ms", value "longest_wait_ms", number, better = "low" },
    { "turned away", "requests", value "rejected", count, better = "low" },
  }
end

--- The parts for these runs: those above, and one per class if requests have classes.
---@param runs table
---@return table parts
function M.of(runs)
  local list, seen = {}, {}
  for i, part in ipairs(M.parts) do list[i] = part end
  for _, run in ipairs(runs) do
    for _, class in ipairs(run.classes or {}) do
      if not seen[class.name] then list[#list + 1], seen[class.name] = class_section(class.name), true end
    end
  end
  return list
end

--- The part's rows that any of the runs has a figure for, as { label, unit, texts, best }: best[i]
--- is true if run i has the best figure and another run has a worse one.
---@param part table one of M.parts
---@param runs table
---@return table rows
function M.filled(part, runs)
  local list = {}
  for k = 2, #part do
    local row, values, best = part[k], {}, {}
    local low, high = math.huge, -math.huge
    for i, run in ipairs(runs) do
      local value = row[3](run)
      values[i] = value
      if value then low, high = math.min(low, value), math.max(high, value) end
    end
    if low <= high then
      local n = #runs
      values[n + 1], values[n + 2] = low, high
      local texts = numbers.alike(row[4], values, n + 2)
      local shown_high, shown_low = table.remove(texts), table.remove(texts)
      local wanted = shown_low ~= shown_high and (row.better == "low" and shown_low
        or row.better == "high" and shown_high)
      for i, text in ipairs(texts) do best[i] = text == wanted end
      list[#list + 1] = { label = row[1], unit = row[2], texts = texts, best = best }
    end
  end
  return list
end

return M
