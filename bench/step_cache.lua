-- What a state cache adds to a step: the same requests with the cache and without it, in turns. Prompts share
-- nothing, so that both compute the same; with the cache a prompt's last tokens are a chunk of their own,
-- after the state that it leaves. A step is step() and complete(), in time that the thread had: the mean of
-- the fastest nine tenths, the best of three turns. `busy`: about one request a step comes, and one goes;
-- `blocks`: the engine owns the blocks of the attention cache, too; `hooks`: the cache `gdsf` decides.
--   make bench                (ROUNDS=2000 for a quick look, BENCH=<case>)
local ffi = require "ffi"
local gdn = require "gdnmeta"

ffi.cdef [[ int gdn_bench_step_cache_clock(int clock, int64_t *time) __asm__("clock_gettime"); ]]

local ROUNDS = tonumber(os.getenv "ROUNDS") or 20000
local WARM_UP, TURNS, BLOCK, THREAD = 3000, 3, 16, 3

local time = ffi.new "int64_t[2]"
local function now()
  ffi.C.gdn_bench_step_cache_clock(THREAD, time)
  return tonumber(time[0]) * 1e9 + tonumber(time[1])
end

local function engine_of(case, cached)
  local n = case.running
  local builder = assert(gdn.builder {
    device = "cpu", max_num_seqs = n, max_rows = n, max_requests = n, max_num_batched_tokens = 8192,
    num_groups = 3, full_cuda_graph = true, check_unique = false, num_slots = 4 * n, max_blocks_per_row = 2,
  })
  return assert(gdn.engine {
    builder = builder, policy = "fcfs", max_model_len = 16384, kv_blocks = case.kv_blocks,
    kv_block_size = BLOCK, hash_block_size = cached and BLOCK or nil, cache = cached and case.cache or nil,
  })
end

-- Requests of changing lengths, `waiting` of them in the queue: from a small generator, the same each time.
local function feeder(case, engine, cached)
  local state, id = 1, 0
  local function draw(most)
    state = (state * 16807) % 2147483647
    return 1 + math.floor(math.exp(state / 2147483647 * math.log(most)))
  end
  local stats, least = engine.stats, case.running + case.waiting
  return function()
    while stats.running + stats.waiting < least do
      id = id + 1
      local prompt, blocks = draw(case.prompt), nil
      if cached then
        blocks = {}
        for k = 1, math.floor(prompt / BLOCK) do blocks[k] = id * 2 ^ 20 + k end
      end
      assert(engine:submit { id = id, prompt_tokens = prompt, blocks = blocks,
                             max_tokens = draw(case.answer) })
    end
  end
end

-- ns of each step, and KB that one leaves on average. Requests are garbage, too, when they have gone: it is
-- collected between steps.
local function sampled(engine, feed, rounds)
  local samples, garbage = {}, 0
  collectgarbage "stop"
  for n = 1, rounds do
    feed()
    if n % 100 == 0 then collectgarbage() end
    local before, start = collectgarbage "count", now()
    local step = assert(engine:step(n * 0.01))
    engine:complete(step, n * 0.01)
    samples[n] = now() - start
    garbage = garbage + collectgarbage "count" - before
  end
  collectgarbage "restart"
  return samples, garbage / rounds
end

local function mean_of_best(samples)
  table.sort(samples)
  local sum, n = 0, math.floor(#samples * 0.9)
  for k = 1, n do sum = sum + samples[k] end
  return sum / n
end

local function measure(case, cached)
  jit.flush()
  local engine = engine_of(case, cached)
  local feed = feeder(case, engine, cached)
  sampled(engine, feed, WARM_UP)
  local samples, garbage = sampled(engine, feed, ROUNDS)
  assert(#engine:failures() == 0, "the cache failed")
  engine:close()
  return mean_of_best(samples), garbage
end

local function bench(case)
  local on, off, garbage, garbage_off = math.huge, math.huge, math.huge, math.huge
  for _ = 1, TURNS do
    local ns, kb = measure(case, false)
    off, garbage_off = math.min(off, ns), math.min(garbage_off, kb)
    ns, kb = measure(case, true)
    on, garbage = math.min(on, ns), math.min(garbage, kb)
  end
  print(("bench %s lua %.0f ns without %.0f ns ratio %.2f garbage %.2f KB without %.2f KB"):format(case.name,
    on, off, on / off, garbage, garbage_off))
end

local CASES = {
  { name = "step-cache-256", running = 256, waiting = 0, prompt = 100, answer = 15000 },
  { name = "step-cache-busy", running = 256, waiting = 60, prompt = 4000, answer = 1600 },
  { name = "step-cache-blocks", running = 256, waiting = 60, prompt = 4000, answer = 1600,
    kv_blocks = 2 ^ 16 },
  { name = "step-cache-hooks", running = 256, waiting = 60, prompt = 4000, answer = 1600, kv_blocks = 2 ^ 16,
    cache = "gdsf" },
}

local only = os.getenv "BENCH"
for _, case in ipairs(CASES) do
  if not only or case.name == only then bench(case) end
end
