-- How fast a build is, from C and from Lua, beside the floor of the same run.
--   make bench                (BENCH=D256 for one workload)
-- Every figure is the median of many short rounds, and what is compared takes turns.
local ffi = require "ffi"
local workloads = require "bench.workloads"

ffi.cdef [[
  typedef struct bench_pair { gdn_builder *builder; gdn_batch *batches[2]; char *sink; } bench_pair;
  double bench_build(const bench_pair *pair, int32_t rounds);
  double bench_floor(const bench_pair *pair, int32_t rounds);
  int64_t bench_arena_bytes(const gdn_builder *b);
  void bench_skip_strict(gdn_builder *b, int32_t skip);
  int64_t bench_checksum(const char *memory, int64_t bytes);
  struct bench_time { long seconds, nanoseconds; };
  int clock_gettime(int clock, struct bench_time *now);
  void *calloc(size_t n, size_t size);
  void free(void *memory);
]]
local loops = ffi.load(assert(os.getenv "GDNMETA_BENCH", "GDNMETA_BENCH: path of libgdnbench.so"))

local SAMPLES = 31
local SAMPLE_NS = 1e6      -- a sample runs about so long

local time = ffi.new "struct bench_time"
local function now()
  ffi.C.clock_gettime(1, time)
  return tonumber(time.seconds) * 1e9 + tonumber(time.nanoseconds)
end

local function median(values)
  table.sort(values)
  return values[math.floor(#values / 2) + 1]
end

--- Medians of several measurements that take turns; each is function(rounds) -> ns a round.
local function measure(...)
  local runs, samples, rounds = { ... }, {}, {}
  for i, run in ipairs(runs) do
    samples[i] = {}
    rounds[i] = math.max(2, 2 * math.floor(SAMPLE_NS / run(200) / 2))
  end
  for s = 1, SAMPLES do
    for i, run in ipairs(runs) do samples[i][s] = run(rounds[i]) end
  end
  local out = {}
  for i = 1, #runs do out[i] = median(samples[i]) end
  return unpack(out)
end

local function pair_of(step)
  local builder, batches = step.builder, step.batches
  local bytes = loops.bench_arena_bytes(builder.handle)
  local sink = ffi.gc(ffi.cast("char *", ffi.C.calloc(1, bytes)), ffi.C.free)
  local pair = ffi.new("bench_pair", { builder.handle, { batches[1].rows, batches[2].rows }, sink })
  return pair, sink, bytes
end

local function lua_builds(step)
  local builder, first, second = step.builder, step.batches[1], step.batches[2]
  return function(rounds)
    local start = now()
    for _ = 1, rounds / 2 do
      builder:build(first)
      builder:build(second)
    end
    return (now() - start) / rounds
  end
end

local function lua_packs(step)
  return function(rounds)
    local start = now()
    for _ = 1, rounds do workloads.fill(step.batches[1], step.rows[1]) end
    return (now() - start) / rounds
  end
end

local function bench_build(workload)
  local step = workloads.prepare(workload)
  local pair, sink, bytes = pair_of(step)
  local function c(rounds) return loops.bench_build(pair, rounds) end
  local function floor(rounds) return loops.bench_floor(pair, rounds) end
  local c_ns, lua_ns, floor_ns = measure(c, lua_builds(step), floor)
  assert(loops.bench_checksum(sink, bytes) ~= nil)
  local line = "bench %s %s %.0f ns floor %.0f ns ratio %.2f"
  print(line:format(workload.name, "c", c_ns, floor_ns, c_ns / floor_ns))
  print(line:format(workload.name, "lua", lua_ns, floor_ns, lua_ns / floor_ns))
  print(("bench lua-minus-c %s %.0f ns"):format(workload.name, lua_ns - c_ns))
  print(("bench pack-%s lua %.0f ns"):format(workload.name, (measure(lua_packs(step)))))
end

--- Rules strict: its checks against the same build without them, then uniqueness on top.
local function bench_strict(workload)
  local step = workloads.prepare(workload, { rules = "strict", check_unique = false })
  local unique = workloads.prepare(workload, { rules = "strict", check_unique = true })
  local pair, unique_pair = pair_of(step), pair_of(unique)
  local function with(rounds)
    loops.bench_skip_strict(step.builder.handle, 0)
    return loops.bench_build(pair, rounds)
  end
  local function without(rounds)
    loops.bench_skip_strict(step.builder.handle, 1)
    return loops.bench_build(pair, rounds)
  end
  local function uniquely(rounds) return loops.bench_build(unique_pair, rounds) end
  local checked, over, all = measure(with, without, uniquely)
  local cells, groups = 0, step.builder.num_groups
  for _, rows in ipairs(step.rows) do
    for _, row in ipairs(rows) do cells = cells + groups * (math.max(row[3], 0) + 1) end
  end
  print(("bench strict-%s c %.0f ns over %.0f ns percent %.1f"):format(workload.name, checked, over,
    100 * (checked - over) / over))
  print(("bench unique-%s c %.0f ns over %.0f ns cells %d each %.2f ns"):format(workload.name, all, checked,
    cells / 2, 2 * (all - checked) / cells))
end

local only = os.getenv "BENCH"
for _, workload in ipairs(workloads.list) do
  if not only or only == workload.name then bench_build(workload) end
end
for _, workload in ipairs(workloads.list) do
  if not only or only == workload.name then bench_strict(workload) end
end
