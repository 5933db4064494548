-- How long a build takes on a CUDA device, for the host and for the device, beside the floors of the same
-- run: an empty launch, and a copy within the device of as many bytes as the build writes.
--   make bench-gpu            (BENCH=D256 for one workload)
-- Without a device it prints `no device`.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"
local workloads = require "bench.workloads"
local array_of = require "gdnmeta.array_of"

local doubles = array_of "double"

ffi.cdef [[
  typedef struct bench_gpu bench_gpu;
  bench_gpu *bench_gpu_open(char *why, size_t why_size, char *name, int name_size, int *driver_version);
  double bench_gpu_build(bench_gpu *g, gdn_builder *b, gdn_batch *one, gdn_batch *two, int32_t rounds);
  double bench_gpu_single(bench_gpu *g, gdn_builder *b, gdn_batch *batch);
  int32_t bench_gpu_host(bench_gpu *g, gdn_builder *b, gdn_batch *one, gdn_batch *two, int32_t n, double *ns);
  double bench_gpu_empty(bench_gpu *g, int32_t kernel, int32_t rounds);
  int32_t bench_gpu_empty_host(bench_gpu *g, int32_t kernel, int32_t n, double *ns);
  double bench_gpu_copy(bench_gpu *g, int64_t bytes, int32_t rounds);
  int64_t bench_gpu_cleared(const gdn_builder *b);
  int32_t bench_gpu_copy_ring(gdn_builder *b);
  void *bench_gpu_stream(bench_gpu *g);
]]
local loops = ffi.load(assert(os.getenv "GDNMETA_BENCH", "GDNMETA_BENCH: path of libgdngpu.so"))

io.stdout:setvbuf "line" -- what was measured stands, whatever comes after
local SAMPLES, ROUNDS = 4000, 31
local SIZES = { [0] = 4, 8, 1, 1 }

local why, name, version = ffi.new "char[320]", ffi.new "char[128]", ffi.new "int[1]"
local gpu = loops.bench_gpu_open(why, 320, name, 128, version)
if gpu == nil then
  print "no device"
  io.stderr:write("bench-gpu: ", ffi.string(why), "\n")
  os.exit(0)
end
print(("bench-gpu device %s driver-cuda %d.%d"):format(ffi.string(name), version[0] / 1000,
  version[0] % 1000 / 10))

local samples = doubles(SAMPLES)
local function percentiles(bad)
  assert(bad == 0, "a call failed")
  local list = {}
  for i = 1, SAMPLES do list[i] = samples[i - 1] / 1000 end
  table.sort(list)
  return list[SAMPLES / 2], list[SAMPLES * 99 / 100]
end

local function good(us)
  assert(us >= 0, "a call failed")
  return us
end

-- Bytes that the builder's last build wrote: those of every view, of every group. Some lie within others. And
-- those behind them, where a graph might read slots of the step before.
local function bytes_of(builder)
  local bytes, ranges, group = tonumber(loops.bench_gpu_cleared(builder.handle)), {}, ffi.new "gdn_metadata"
  local function add(tensor)
    if tensor.data == nil then return end
    local at = ffi.cast("uintptr_t", tensor.data)
    local length = tensor.shape[0] * tensor.shape[1] * SIZES[tensor.dtype]
    for _, range in ipairs(ranges) do
      if at >= range[1] and at < range[2] then return end
    end
    ranges[#ranges + 1] = { at, at + length }
    bytes = bytes + length
  end
  for g = 0, builder.num_groups - 1 do
    lib.gdn_metadata_group(builder.handle, g, group)
    for _, list in ipairs { g == 0 and compare.TENSORS or {}, compare.STATE } do
      for _, field in ipairs(list) do add(group[field]) end
    end
  end
  return bytes
end

local LAUNCHES = { 4092, 12284, 32764 }
local floor
for kernel, bytes in ipairs(LAUNCHES) do
  local device = good(loops.bench_gpu_empty(gpu, kernel - 1, ROUNDS))
  local median, p99 = percentiles(loops.bench_gpu_empty_host(gpu, kernel - 1, SAMPLES, samples))
  floor = floor or device
  print(("bench-gpu-launch parameters %d host %.2f p99 %.2f device %.2f"):format(bytes, median, p99, device))
end

local function measure(workload, groups, options)
  options.device, options.num_groups = "cuda", groups
  local step = workloads.prepare(workload, options)
  local handle, one, two = step.builder.handle, step.batches[1].rows, step.batches[2].rows
  local bytes = 0 -- of the two in alternation
  for i = 3, 1, -1 do
    assert(step.builder:build(step.batches[2 - i % 2], loops.bench_gpu_stream(gpu)))
    if i < 3 then bytes = bytes + bytes_of(step.builder) / 2 end
  end
  local device = good(loops.bench_gpu_build(gpu, handle, one, two, ROUNDS))
  local median, p99 = percentiles(loops.bench_gpu_host(gpu, handle, one, two, SAMPLES, samples))
  local copy = good(loops.bench_gpu_copy(gpu, bytes, ROUNDS))
  assert(lib.gdn_build(handle, one, loops.bench_gpu_stream(gpu)) == 0)
  local skipped = step.builder:counters().skipped
  local again, again_p99 = percentiles(loops.bench_gpu_host(gpu, handle, one, one, SAMPLES, samples))
  assert(step.builder:counters().skipped == skipped + SAMPLES, "the same step was launched again")
  step.builder:close()
  return median, p99, device, copy, bytes, again, again_p99
end

local only = os.getenv "BENCH"
local function bench(workload, label, rules)
  if only and only ~= workload.name then return end
  for _, groups in ipairs { 1, 3 } do
    local median, p99, device, copy, bytes, again, again_p99 = measure(workload, groups, { rules = rules })
    local line = "bench-gpu %s groups %d host %.2f device %.2f launch-floor %.2f copy-floor %.2f"
    print(line:format(label, groups, median, device, floor, copy))
    local more = "bench-gpu-more %s groups %d host-p99 %.2f bytes %d device-to-floor %.2f"
    print(more:format(label, groups, p99, bytes, device / math.max(floor, copy)))
    print(("bench-gpu-skipped %s groups %d host %.2f p99 %.2f"):format(label, groups, again, again_p99))
  end
end
for _, workload in ipairs(workloads.list) do
  bench(workload, workload.name, workload.bucket and "strict" or "vllm-2026-08")
end
for _, workload in ipairs(workloads.list) do
  if not workload.bucket then bench(workload, "strict-" .. workload.name, "strict") end
end

-- A step too large for a launch: read in place from mapped memory, or copied to the device first.
local function ring_builder()
  local rows, groups = 2048, 36
  local builder = assert(gdn.builder { device = "cuda", rules = "vllm-2026-08", max_num_seqs = rows,
    max_rows = rows, max_num_batched_tokens = 4 * rows, num_speculative_tokens = 3, num_groups = groups,
    max_requests = rows, num_slots = 4 * rows + 1 })
  for g = 0, groups - 1 do
    local cells = builder:table(g)
    for i = 0, 4 * rows - 1 do cells[i] = i + 1 end
  end
  local batch = assert(builder:batch())
  for i = 0, rows - 1 do batch:push(i, 4, 1000 + i, true, 3, 1 + i % 4) end
  return builder, batch
end

local function ring_time(copied)
  local builder, batch = ring_builder()
  if copied then assert(loops.bench_gpu_copy_ring(builder.handle) == 0) end
  local times = {}
  for i = 1, 101 do
    batch.rows.num_accepted_tokens[0] = 1 + i % 4 -- else the step is skipped
    times[i] = good(loops.bench_gpu_single(gpu, builder.handle, batch.rows))
  end
  local counters = ffi.new "gdn_counters"
  lib.gdn_builder_counters(builder.handle, counters)
  assert(counters.ring_launches == 101, "the step went inside of a launch")
  local bytes = bytes_of(builder)
  batch:close()
  builder:close()
  table.sort(times)
  return times[51], bytes
end
if not only then
  local in_place, bytes = ring_time(false)
  local copied = ring_time(true)
  print(("bench-gpu-ring bytes %d in-place %.2f copied %.2f"):format(bytes, in_place, copied))
end
