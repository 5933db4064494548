-- The families of a page of metrics, in order.
local text = require "gdnmeta.metrics.text"
local OUTCOMES = require("gdnmeta.metrics.observer").OUTCOMES

-- { name, kind, field of the engine's stats, help }
local STATS = {
  { "requests_waiting", "gauge", "waiting", "Requests in the queue." },
  { "requests_running", "gauge", "running", "Requests that hold a table row." },
  { "steps_total", "counter", "steps", "Steps that were planned, empty ones included." },
  { "empty_steps_total", "counter", "empty_steps", "Steps in which nothing could run." },
  { "scheduled_tokens_total", "counter", "scheduled", "Tokens of all steps, without padding." },
  { "padding_tokens_total", "counter", "padding", "Tokens that steps were padded with." },
  { "discarded_tokens_total", "counter", "discarded", "Computed tokens lost to preemption." },
  { "abandoned_tokens_total", "counter", "abandoned", "Computed tokens of cancelled requests." },
  { "rejected_draft_tokens_total", "counter", "rejected_drafts", "Drafts that were not accepted." },
  { "wasted_tokens_total", "counter", "wasted_tokens", "Tokens of requests that had finished before." },
  { "preemptions_total", "counter", "preemptions", "Requests sent back to the queue." },
  { "policy_fallbacks_total", "counter", "fallbacks", "Steps that the built-in policy planned." },
  { "policy_failures_total", "counter", "failures", "Failures of hooks, the policy's and the cache's." },
}

-- The same of a state cache, where there is one.
local CACHE_STATS = {
  { "cache_hits_total", "hits", "Requests that began with a state of the cache." },
  { "cached_tokens_total", "cached_tokens", "Tokens that were not computed, for the cache had their state." },
}

local BY_CLASS = {
  { "requests_arrived_total", "arrivals", "Requests taken into the queue." },
  { "prompt_tokens_total", "prompts", "Prompt tokens of requests that arrived." },
  { "emitted_tokens_total", "tokens", "Tokens that requests were given." },
}

local TIMES = {
  { "step_seconds", "step_time", "From the plan of a step to its results." },
  { "policy_seconds", "policy_time", "Planning of a step, by the host's stopwatch." },
  { "build_seconds", "build_time", "Building of a step's metadata, by the host's stopwatch." },
}

local TIMES_BY_CLASS = {
  { "queue_seconds", "queue_time", "From arrival to the first step that has the request." },
  { "time_to_first_token_seconds", "first_token", "From arrival to the first token." },
  { "time_between_tokens_seconds", "between", "Between two steps that gave a request tokens." },
  { "request_seconds", "request_time", "From arrival to the last token." },
}

-- `other` shows once something went there.
local function each_class(o, visit)
  local others = o.arrivals[0] + o.tokens[0]
  for k = 0, #OUTCOMES - 1 do others = others + o.outcomes[k] end
  for series = others > 0 and 0 or 1, o.classes.size - 1 do visit(series, o.classes.names[series]) end
end

local function by_class(page, o)
  for _, f in ipairs(BY_CLASS) do
    page:family(f[1], "counter", f[3])
    each_class(o, function(series, class) page:sample(o[f[2]][series], "class", class) end)
  end
  page:family("requests_total", "counter", "Requests that are gone, by what became of them.")
  each_class(o, function(series, class)
    for k, outcome in ipairs(OUTCOMES) do
      page:sample(o.outcomes[series * #OUTCOMES + k - 1], "class", class, "outcome", outcome)
    end
  end)
  for _, f in ipairs(TIMES_BY_CLASS) do
    page:family(f[1], "histogram", f[3])
    each_class(o, function(series, class) page:histogram(o[f[2]], series, "class", class) end)
  end
end

local function one(page, name, kind, help, value)
  page:family(name, kind, help)
  page:sample(value)
end

local function cache(page, engine)
  local held = engine:cached()
  if not held then return end
  for _, f in ipairs(CACHE_STATS) do one(page, f[1], "counter", f[3], engine.stats[f[2]]) end
  one(page, "cache_evictions_total", "counter", "States that left the cache.", held.evicted)
  one(page, "cache_unused_total", "counter", "States that left the cache and were never read.", held.unused)
  one(page, "cache_states", "gauge", "States that the cache holds.", held.states)
  one(page, "cache_slots", "gauge", "State slots of all groups that hold them.", held.slots)
  local stats = engine.cache:stats()
  one(page, "cache_states_made_total", "counter", "States that joined the cache.", stats.states_made)
  one(page, "cache_blocks_evicted_total", "counter", "Blocks of prompts that left it.", stats.blocks_evicted)
  one(page, "cache_host_states", "gauge", "States of the cache on the host.", stats.host_states)
  one(page, "cache_host_slots", "gauge", "States that the host has room for.", stats.host_slots)
  one(page, "cache_demoted_total", "counter", "States that the host was told to copy to it.", stats.demoted)
  one(page, "cache_restored_total", "counter", "States that it was told to copy back.", stats.restored)
  one(page, "cache_disabled", "gauge", "1: the cache failed too often, the built-in one decides.",
    engine.cache:health() and 0 or 1)
end

local function memory(page, engine)
  local slots, kv = engine:slots(), engine:kv()
  local function gauge(name, help, value) one(page, name, "gauge", help, value) end
  gauge("slots", "State slots of all groups.", slots.size)
  gauge("slots_used", "State slots in use.", slots.used)
  if kv then
    gauge("kv_blocks", "Blocks of the attention cache.", kv.size)
    gauge("kv_blocks_used", "Blocks of the attention cache in use.", kv.used)
  end
  cache(page, engine)
  gauge("policy_disabled", "1: the policy failed too often, the built-in one plans.",
    engine.policy_enabled and 0 or 1)
end

--- The page as it is now.
---@param engine gdnmeta.Engine
---@param o table its observer
---@param labels table of every sample, name -> text
---@return string
return function(engine, o, labels)
  local page = text.new(labels)
  for _, f in ipairs(STATS) do
    page:family(f[1], f[2], f[4])
    page:sample(engine.stats[f[3]])
  end
  memory(page, engine)
  for _, f in ipairs(TIMES) do
    if f[2] == "step_time" or o.engine.stopwatch then -- without a stopwatch there is nothing to tell
      page:family(f[1], "histogram", f[3])
      page:histogram(o[f[2]], 0)
    end
  end
  by_class(page, o)
  return page:close()
end
