-- What a worker costs an engine: a step of 256 decodes in three cache groups is packed and sent, and its
-- result is received and checked, medians in microseconds; the time from one to the other, with a process
-- that builds the step and answers at once; and what the steps leave for the collector.
--   make bench                (STEPS=500 for a quick look; ROWS=64)
local ffi = require "ffi"
local gdn = require "gdnmeta"

if arg[1] == "echo" then -- the other process: every token says the next one
  local next = gdn.array_of "int32_t" (65536)
  return require "gdnmeta.worker.serve" (function() return { forward = function() return next end } end)
end

ffi.cdef [[ int gdn_bench_worker_clock(int clock, int64_t *time) __asm__("clock_gettime"); ]]

local STEPS, ROWS = tonumber(os.getenv "STEPS") or 5000, tonumber(os.getenv "ROWS") or 256
local WARM_UP = 500

local time = ffi.new "int64_t[2]"
local function now()
  ffi.C.gdn_bench_worker_clock(1, time)
  return tonumber(time[0]) * 1e6 + tonumber(time[1]) * 1e-3
end

local builder = assert(gdn.builder { device = "cpu", max_num_seqs = ROWS, max_num_batched_tokens = 8192,
                                     num_groups = 3, check_unique = false, num_slots = ROWS + 1 })
local engine = assert(gdn.engine { builder = builder, max_model_len = 2 ^ 20, kv_blocks = 2 ^ 20 })
local worker = assert(gdn.worker { engine = engine, command = { "luajit", "bench/worker.lua", "echo" } })
for id = 1, ROWS do assert(engine:submit { id = id, prompt_tokens = 1 + id % 7, max_tokens = 2 ^ 18 }) end

-- One step; returns how long packing took, sending with it, the successful poll, and all of it.
local function turn(n, timed)
  local step = assert(engine:step(n))
  local start = timed and now()
  if timed then worker.private.pack:step(step, worker.tokens) end
  local packed = timed and now()
  assert(worker:submit(step, nil, nil, 0))
  local sent = timed and now()
  local before, result
  repeat
    before = timed and now()
    result = worker:poll(0)
  until result
  local done = timed and now()
  assert(engine:complete(step, n))
  if timed then return packed - start, sent - packed, done - before, done - packed end
end

for n = 1, WARM_UP do turn(n, n % 2 == 0) end
collectgarbage()
collectgarbage "stop"
for n = 1, 2 do turn(WARM_UP + n) end
local before = collectgarbage "count"
for n = 1, STEPS do turn(WARM_UP + 2 + n) end
local garbage = collectgarbage "count" - before
local packs, sends, polls, all = {}, {}, {}, {}
for n = 1, STEPS do packs[n], sends[n], polls[n], all[n] = turn(WARM_UP + 2 + STEPS + n, true) end

local function percentile(list, p)
  table.sort(list)
  return list[math.max(1, math.ceil(#list * p))]
end
print(("bench worker-%d pack %.1f submit %.1f poll %.1f us garbage %.1f KB"):format(
  ROWS, percentile(packs, 0.5), percentile(sends, 0.5), percentile(polls, 0.5), garbage))
print(("  p99 %.1f, %.1f and %.1f us; there and back %.1f us, p99 %.1f us"):format(
  percentile(packs, 0.99), percentile(sends, 0.99), percentile(polls, 0.99), percentile(all, 0.5),
  percentile(all, 0.99)))
worker:close()
