-- How long a whole engine step takes: policy, plan, proof, slots, rows and metadata, for requests that
-- all decode; what it leaves for the collector in 20,000 steps; and whether anything did not compile.
-- `async`: two steps in flight, after some that were alone, as where a server had little to do.
-- `shapes`: requests come and go, prompts and answers of any length, so that no two steps are alike; garbage
-- is then that of the requests, and what matters is how often LuaJIT threw its machine code away (flushes).
--   make bench                (BENCH=step-256 for one line; STEPS=2000 for a quick look)
local ffi = require "ffi"
local gdn = require "gdnmeta"

ffi.cdef [[ int gdn_bench_step_clock(int clock, int64_t *time) __asm__("clock_gettime"); ]]

local STEPS = tonumber(os.getenv "STEPS") or 20000
local WARM_UP = 2000
local traceerr = require("jit.vmdef").traceerr

local time = ffi.new "int64_t[2]"
local function now()
  ffi.C.gdn_bench_step_clock(1, time)
  return tonumber(time[0]) * 1e9 + tonumber(time[1])
end

local function engine_of(case)
  local n, spec = case.running, case.drafts or 0
  local options = {
    device = "cpu", max_num_seqs = n, max_rows = n, max_requests = n, max_num_batched_tokens = 8192 + 4 * n,
    num_groups = 3, num_speculative_tokens = spec, full_cuda_graph = true, check_unique = false,
    num_slots = n * (spec + 1) + 1,
  }
  local builder = assert(gdn.builder(options))
  -- One hook call a request: drafts by the number of those who run, interpreted and with a budget.
  local policy = case.policy or { drafts = function(_, k, ctx) return ctx.running > 128 and 1 or k end }
  return assert(gdn.engine {
    builder = builder, policy = policy, max_model_len = 2 ^ 30, async = case.async,
    second_builder = case.async and assert(gdn.builder(options)) or nil,
  })
end

-- Every request runs and decodes; `waiting` more requests wait, of 100 users.
local function prepare(case)
  local engine = engine_of(case)
  for id = 1, case.running + (case.waiting or 0) do
    assert(engine:submit { id = id, prompt_tokens = 1 + id % 7, max_tokens = 2 ^ 30, arrival = id / 1000,
                           user = "user " .. id % 100 })
  end
  repeat
    local step = assert(engine:step(1))
    engine:complete(step, 1)
  until step.num_rows == case.running and step.prefill_tokens == 0
  return engine
end

-- The results of a step: from none to all of a row's drafts are accepted.
local function accept(step, n)
  for row = 0, step.num_rows - 1 do step.accepted_drafts[row] = (row + n) % (step.drafts[row] + 1) end
end

-- Requests of changing lengths, up to eight waiting: from a small generator, the same in every run.
local function feeder(engine)
  local state, id = 1, 0
  local function draw(most)
    state = (state * 16807) % 2147483647
    return 1 + math.floor(math.exp(state / 2147483647 * math.log(most)))
  end
  return function()
    while engine.stats.waiting < 8 and draw(16) < 3 do
      id = id + 1
      engine:submit { id = id, prompt_tokens = draw(8000), max_tokens = draw(1000),
                      user = "user " .. id % 30 }
    end
  end
end

local function nothing() end

local built_before -- in an engine with two steps in flight

-- The step that is complete after one was built; nil: none.
local function oldest(engine, step)
  if not engine.async then return step end
  local before = built_before
  built_before = step
  return before
end

local function run(engine, steps, feed)
  for n = 1, steps do
    feed()
    local step = oldest(engine, engine:step(n * 0.01))
    if engine.num_spec > 0 then accept(step, n) end
    if step then engine:complete(step, n * 0.01) end
  end
end

-- ns of each step, and of each completion.
local function time_steps(engine, steps, feed)
  local step_ns, complete_ns = {}, {}
  for n = 1, steps do
    feed()
    local start = now()
    local step = engine:step(n * 0.01)
    local built = now()
    step = oldest(engine, step)
    if engine.num_spec > 0 then accept(step, n) end
    local before = now()
    engine:complete(step, n * 0.01)
    step_ns[n], complete_ns[n] = built - start, now() - before
  end
  table.sort(step_ns)
  table.sort(complete_ns)
  return step_ns, complete_ns
end

local function percentile(sorted, p)
  return sorted[math.max(1, math.ceil(#sorted * p))]
end

-- NYI aborts and flushes of the first WARM_UP + STEPS steps, and KB that the latter leave.
local function count(engine, feed)
  local nyi, flushes = 0, 0
  jit.attach(function(what, _, _, _, code)
    if what == "abort" and traceerr[code]:find("NYI", 1, true) then nyi = nyi + 1 end
    if what == "flush" then flushes = flushes + 1 end
  end, "trace")
  run(engine, WARM_UP, feed)
  collectgarbage()
  collectgarbage "stop"
  run(engine, 2, feed) -- a collection shrinks the stack, which a step then asks for again, once
  local before = collectgarbage "count"
  run(engine, STEPS, feed)
  local garbage = collectgarbage "count" - before
  collectgarbage "restart"
  jit.attach(function() end, "trace")
  return nyi, garbage, flushes
end

local function bench(case)
  jit.flush()
  built_before = nil
  local engine = case.shapes and engine_of(case) or prepare(case)
  local feed = case.shapes and feeder(engine) or nothing
  local nyi, garbage, flushes = count(engine, feed)
  local step_ns, complete_ns = time_steps(engine, STEPS, feed)
  print(("bench %s lua %.0f ns garbage %.1f KB nyi %d"):format(case.name, percentile(step_ns, 0.5), garbage,
                                                               nyi))
  print(("  p99 %.0f ns; complete %.0f ns, p99 %.0f ns%s"):format(percentile(step_ns, 0.99),
    percentile(complete_ns, 0.5), percentile(complete_ns, 0.99),
    case.shapes and ("; %d flushes in %d steps"):format(flushes, WARM_UP + STEPS) or ""))
  assert(#engine:failures() == 0 and engine.stats.fallbacks == 0, "the policy failed")
  engine:close()
end

local CASES = {
  { name = "step-64", running = 64, policy = "fcfs" },
  { name = "step-256", running = 256, policy = "fcfs" },
  { name = "step-256-async", running = 256, async = true, policy = "fcfs" },
  { name = "step-1024", running = 1024, policy = "fcfs" },
  { name = "step-4096", running = 4096, policy = "fcfs" },
  { name = "step-256-drafts3", running = 256, drafts = 3, policy = "fcfs" },
  { name = "step-256-fair-1000", running = 256, waiting = 1000, policy = "fair" },
  { name = "step-256-untrusted", running = 256, drafts = 3 },
  { name = "step-shapes", running = 64, policy = "fcfs", shapes = true },
}

local only = os.getenv "BENCH"
for _, case in ipairs(CASES) do
  if not only or case.name == only then bench(case) end
end
