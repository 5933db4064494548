-- What an onlooker of an engine can note of a run, and whether a page of metrics agrees with it and with
-- the stats of the engine.
local assert = require "luassert"
local exposition = require "spec.support.exposition"

local M = {}

-- What an onlooker writes down of a run: values of each histogram and counts, by class.
function M.onlooker()
  local seen = { requests = {}, values = {}, counts = {} }
  local function note(name, class, value)
    local list = seen.values[name .. class] or {}
    seen.values[name .. class] = list
    list[#list + 1] = value
  end
  local function count(name, class, n)
    seen.counts[name .. class] = (seen.counts[name .. class] or 0) + n
  end
  local opts = {}
  function opts.on_submit(request)
    seen.requests[request.id] = { class = request.class, arrival = request.arrival }
    count("arrived", request.class, 1)
    count("prompt", request.class, request.prompt_tokens)
  end
  function opts.on_cancel(id) count("cancelled", seen.requests[id].class, 1) end
  function opts.on_step(step)
    for _, id in ipairs(step.rejected) do count("rejected", seen.requests[id].class, 1) end
  end
  function opts.on_complete(step)
    local now = step.now + seen.lag(step)
    note("step", "", now - step.now)
    for row = 0, step.num_rows - 1 do
      local q, n = seen.requests[step.ids[row + 1]], step.emitted[row]
      if not q.started then note("queue", q.class, step.now - q.arrival) end
      q.started = true
      if n > 0 then
        count("emitted", q.class, n)
        note(q.last and "between" or "first", q.class, now - (q.last or q.arrival))
        q.last = now
        if step.finish[row] > 0 then
          note("request", q.class, now - q.arrival)
          count(step.finish[row] == 1 and "stop" or "length", q.class, 1)
        end
      end
    end
  end
  return seen, opts
end

M.HISTOGRAMS = { step = "step_seconds", queue = "queue_seconds", first = "time_to_first_token_seconds",
                     between = "time_between_tokens_seconds", request = "request_seconds" }
local COUNTERS = { arrived = "requests_arrived_total", prompt = "prompt_tokens_total",
                   emitted = "emitted_tokens_total" }

local function same_histogram(where, page, name, class, values)
  local labels = class and { class = class } or nil
  local buckets, count, sum = exposition.histogram(page, "gdnmeta_" .. name, labels)
  local total = 0
  for _, value in ipairs(values) do total = total + value end
  assert.are.equal(#values, count, where .. name)
  assert.is_true(math.abs(sum - total) < 1e-6, where .. name)
  for _, bucket in ipairs(buckets) do
    local upto = 0
    for _, value in ipairs(values) do if value <= bucket[1] then upto = upto + 1 end end
    assert.are.equal(upto, bucket[2], ("%s%s le %g"):format(where, name, bucket[1]))
  end
end

local CLASSES = { "class 0", "class 1", "class 2", "class 3" }

function M.same_as_seen(where, page, seen)
  for short, name in pairs(M.HISTOGRAMS) do
    for _, class in ipairs(short == "step" and { "" } or CLASSES) do
      if short == "step" or seen.counts["arrived" .. class] then
        same_histogram(where, page, name, class ~= "" and class, seen.values[short .. class] or {})
      end
    end
  end
  for _, class in ipairs(CLASSES) do
    for short, name in pairs(COUNTERS) do
      assert.are.equal(seen.counts[short .. class] or 0,
        exposition.sum(page, "gdnmeta_" .. name, { class = class }), where .. name)
    end
    for _, outcome in ipairs { "stop", "length", "cancelled", "rejected" } do
      assert.are.equal(seen.counts[outcome .. class] or 0, exposition.sum(page, "gdnmeta_requests_total",
        { class = class, outcome = outcome }), where .. outcome)
    end
  end
end

local BY_STATS = {
  steps = "steps_total", empty_steps = "empty_steps_total", scheduled = "scheduled_tokens_total",
  padding = "padding_tokens_total", discarded = "discarded_tokens_total", preemptions = "preemptions_total",
  abandoned = "abandoned_tokens_total", rejected_drafts = "rejected_draft_tokens_total",
  wasted_tokens = "wasted_tokens_total", fallbacks = "policy_fallbacks_total", waiting = "requests_waiting",
  failures = "policy_failures_total", running = "requests_running", emitted = "emitted_tokens_total",
  arrived = "requests_arrived_total",
}

function M.same_as_stats(where, page, engine)
  local stats = engine.stats
  for stat, name in pairs(BY_STATS) do
    assert.are.equal(stats[stat], exposition.sum(page, "gdnmeta_" .. name), where .. stat)
  end
  local function gone(outcome)
    return exposition.sum(page, "gdnmeta_requests_total", { outcome = outcome })
  end
  assert.are.equal(stats.finished, gone "stop" + gone "length", where)
  assert.are.equal(stats.cancelled, gone "cancelled", where)
  assert.are.equal(stats.rejected, gone "rejected", where)
  assert.are.equal(engine:slots().used, exposition.sum(page, "gdnmeta_slots_used"), where)
  if engine:kv() then assert.are.equal(engine:kv().used, exposition.sum(page, "gdnmeta_kv_blocks_used")) end
end

return M
