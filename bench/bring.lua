-- How long bring_states and bring_windows take the device, 36 layers with a state of 1 MiB each: with nothing
-- to bring, and with rows that had drafts accepted. Launches are replayed by a graph.
--   make bench-gpu
local ffi = require "ffi"
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"

ffi.cdef [[
  int cuEventCreate(void **event, unsigned flags);
  int cuEventRecord(void *event, void *stream);
  int cuEventSynchronize(void *event);
  int cuEventElapsedTime(float *ms, void *from, void *to);
  int cuEventDestroy_v2(void *event);
]]

local LAYERS, S, SLOT, CHANNELS, LENGTH, LAUNCHES, ROUNDS = 36, 3, 2 ^ 20, 8192, 6, 20, 8
local WINDOW = CHANNELS * LENGTH * 2 -- bytes
local FROM, TO = 3, 1 -- the columns of a row that had two drafts accepted

local ok, driver = pcall(drivers.open, os.getenv "GDN_CUDA_SPECS" or "cuda")
if not ok then
  print "no device"
  os.exit(0)
end
local stream = driver:stream()

local function event()
  local out = ffi.new "void *[1]"
  driver:call("cuEventCreate", out, driver.kind == "fake" and 2 or 0)
  return out[0]
end
local began, ended = event(), event()

-- Microseconds of what `enqueue` launches, as one graph.
local function timed(enqueue)
  local graph, executable, ms = ffi.new "void *[1]", ffi.new "void *[1]", ffi.new "float[1]"
  driver:call("cuStreamBeginCapture_v2", stream, 2)
  enqueue()
  driver:call("cuStreamEndCapture", stream, graph)
  driver:call("cuGraphInstantiateWithFlags", executable, graph[0], 0)
  local least = math.huge
  for _ = 1, ROUNDS do
    driver:call("cuEventRecord", began, stream)
    driver:call("cuGraphLaunch", executable[0], stream)
    driver:call("cuEventRecord", ended, stream)
    driver:call("cuEventSynchronize", ended)
    driver:call("cuEventElapsedTime", ms, began, ended)
    least = math.min(least, ms[0])
  end
  driver:call("cuGraphExecDestroy", executable[0])
  driver:call("cuGraphDestroy", graph[0])
  return least * 1000
end

-- Rows of one token, of which the first `moved` had drafts accepted.
local function rows_of(builder, batch, rows, moved)
  for row = 0, rows - 1 do
    local first = (S + 1) * row + 1
    local accepted = row < moved and FROM - TO + 1 or 1
    batch:add { query_len = 1, seq_len = 30, prompt_done = true, accepted = accepted,
                blocks = { first, first + 1, first + 2, first + 3 } }
  end
  assert(builder:build(batch, stream))
end

local function run(rows, moved, slot)
  local slots = (S + 1) * rows + 1
  local builder = assert(gdn.builder { device = "cuda", max_num_seqs = rows, num_speculative_tokens = S,
                                       num_slots = slots })
  local batch, states, windows = builder:batch(), {}, {}
  for i = 1, LAYERS do
    states[i], windows[i] = driver:int32(slots * slot / 4), driver:int32(slots * WINDOW / 4)
  end
  rows_of(builder, batch, rows, moved)
  local kinds = {
    { "states", states, function(pool)
      assert(builder:bring_states({ pool = pool, slot_bytes = slot }, stream))
    end, 2 * slot },
    { "windows", windows, function(pool)
      assert(builder:bring_windows({ pool = pool, channels = CHANNELS, length = LENGTH, element_bytes = 2,
                                     strides = { CHANNELS * LENGTH, 1, CHANNELS } }, stream))
    end, 2 * (LENGTH - FROM + TO) * CHANNELS * 2 },
  }
  for _, kind in ipairs(kinds) do
    local name, pools, bring, bytes = unpack(kind)
    local once = timed(function() for _ = 1, LAUNCHES do bring(pools) end end) / LAUNCHES
    local each = timed(function() for i = 1, LAYERS do bring(pools[i]) end end)
    local line = "bring-bench %s rows %d moved %d layers %d us %.2f tb-per-s %.2f a-launch-a-layer-us %.2f"
    print(line:format(
      name, rows, moved, LAYERS, once, moved * LAYERS * bytes / once / 1e6, each))
  end
  batch:close()
  builder:close()
  driver:free_all()
end

local slot = driver.kind == "fake" and 4096 or SLOT
for _, case in ipairs { { 32, 0 }, { 32, 1 }, { 32, 12 }, { 256, 0, SLOT / 16 } } do
  run(case[1], case[2], math.min(case[3] or SLOT, slot))
end
for _, e in ipairs { began, ended } do driver:call("cuEventDestroy_v2", e) end
driver:close()
