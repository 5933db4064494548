-- What a build asks of the driver: one launch and nothing else, whatever the step.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local ROWS = 256 -- capacity

-- Parts of a step: { rows, query_len, seq_len, drafts }; `pad`: rows in all.
local STEPS = {
  decode = { { 100, 1, 40, -1 } },
  speculative = { { 60, 4, 44, 3 } },
  mixed = { { 40, 4, 44, 3 }, { 20, 1, 30, -1 }, { 3, 100, 150, -1 }, { 3, 70, 70, -1 } },
  prefill = { { 5, 300, 300, -1 } },
  padded = { { 50, 1, 20, -1 }, pad = 64 },
  ["padded speculative"] = { { 20, 4, 30, 3 }, pad = 32 },
  oversized = { { 200, 4, 30, 3 }, { 56, 1, 30, -1 } },
}

describe("A build on a CUDA device", function()
  local driver, stream
  setup(function()
    driver = drivers.open "fake"
    stream = driver:stream()
  end)
  teardown(function() driver:close() end)
  after_each(function() driver:free_all() end)

  local function builder_of(groups, rules)
    return assert(gdn.builder { device = "cuda", rules = rules, max_num_seqs = ROWS, max_rows = ROWS,
      max_num_batched_tokens = 4096, num_speculative_tokens = 3, full_cuda_graph = true, num_groups = groups,
      num_slots = 2^22 })
  end

  -- Slots `apart`: 1 fits 16 bits over their lowest, 1000 does not.
  local function fill_tables(builder, groups, apart, on_device)
    local cells = int32s(ROWS * 4)
    for i = 0, ROWS * 4 - 1 do cells[i] = 1 + i * apart end
    for g = 0, groups - 1 do
      if on_device then
        local memory = driver:int32(ROWS * 4)
        driver:write(memory, cells, ROWS * 4)
        assert(builder:borrow_device_table(g, memory, 4, ROWS))
      else
        ffi.copy(builder:table(g), cells, ROWS * 16)
      end
    end
  end

  local function batch_of(builder, step)
    local batch, row, tokens = assert(builder:batch()), 0, 0
    for _, part in ipairs(step) do
      for _ = 1, part[1] do
        assert(batch:push(row, part[2], part[3], part[3] > part[2] and part[2] <= 4, part[4], 1))
        row, tokens = row + 1, tokens + part[2]
      end
    end
    if step.pad then assert(batch:pad(step.pad, step.pad * math.ceil(tokens / row))) end
    return batch
  end

  -- Slots of all groups on the host outgrow a launch, and nothing else does.
  local function in_ring(step, groups, tables, apart)
    local slots = 0
    for _, part in ipairs(step) do slots = slots + part[1] * (part[4] >= 0 and 4 or 1) end
    return tables == "host" and slots * groups * (apart == 1 and 2 or 4) > 31000
  end

  local function check(step, groups, tables, apart, what)
    local builder = builder_of(groups, "strict")
    fill_tables(builder, groups, apart, tables == "device")
    local batch = batch_of(builder, step)
    for _ = 1, 3 do
      lib.gdn_builder_poison(builder.handle) -- else the second is skipped
      driver.lib.fake_reset()
      assert(builder:build(batch, stream))
      assert.are.same({ 1, 0, 0, 0 }, { driver:count "launches", driver:count "copies", driver:count "waits",
        driver:count "allocations" }, what)
    end
    local ring = in_ring(step, groups, tables, apart) and 3 or 0
    assert.are.same({ launches = 3, ring_launches = ring, ring_waits = 0, reads = 0, skipped = 0 },
                    builder:counters(), what)
    assert.is_true(builder:peek_device_error())
    batch:close()
    builder:close()
  end

  for name, step in pairs(STEPS) do
    it("is one launch: " .. name, function()
      for _, groups in ipairs { 1, 3, 36 } do
        for _, tables in ipairs { "host", "device" } do
          for _, apart in ipairs { 1, 1000 } do
            check(step, groups, tables, apart, ("%d groups, tables on the %s, slots %d apart"):format(groups,
              tables, apart))
          end
        end
      end
    end)
  end

  it("is one for build_raw and capture as well", function()
    local builder = builder_of(2, "vllm-2026-08")
    local rows = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } }
    driver.lib.fake_reset()
    assert(builder:build_raw { query_start_loc = { 0, 1, 2 }, seq_lens = { 9, 9 },
                               block_table = { rows, rows } })
    assert.are.same({ 1, 0, 0 }, { driver:count "launches", driver:count "copies", driver:count "waits" })
    assert(builder:capture { query_start_loc = { 0, 4, 8 }, seq_lens = { 9, 9 },
                             block_table = { rows, rows } })
    assert.are.same({ 2, 0, 0 }, { driver:count "launches", driver:count "copies", driver:count "waits" })
    builder:close()
  end)

  it("asks for no more where its context is not the current one", function()
    local builder = builder_of(1, "strict")
    local batch = batch_of(builder, STEPS.decode)
    fill_tables(builder, 1, 1)
    driver:call("cuCtxSetCurrent", nil)
    driver.lib.fake_reset()
    assert(builder:build(batch))
    assert.are.same({ 1, 0, 0, 6 }, { driver:count "launches", driver:count "copies", driver:count "waits",
      driver:count "calls" }) -- get, push, is capturing, launch, number of the stream, pop
    local current = ffi.new "void *[1]"
    driver:call("cuCtxGetCurrent", current)
    assert.is_true(current[0] == nil)
    driver:call("cuCtxSetCurrent", driver.context)
    batch:close()
    builder:close()
  end)

  it("leaves no work", function()
    local before = driver:count "live"
    local builder = builder_of(3, "strict")
    assert.is_true(driver:count "live" > before)
    builder:close()
    assert.are.equal(before, driver:count "live")
    assert.are.equal(0, driver:count "overruns")
  end)

  it("waits only where a view is read, once a view", function()
    local builder = builder_of(1, "strict")
    fill_tables(builder, 1, 1)
    local batch = batch_of(builder, STEPS.mixed)
    local meta = assert(builder:build(batch))
    driver.lib.fake_reset()
    assert.are.equal(46, meta.num_prefills + meta.num_spec_decodes - 20)
    assert.are.equal(0, driver:count "calls")
    local view = meta.spec_query_start_loc
    assert.are.equal(160, view[40])
    assert.are.equal(0, view:totable()[1])
    assert.are.same({ 1, 1 }, { driver:count "copies", driver:count "waits" })
    assert.are.equal(1, builder:counters().reads)
    batch:close()
    builder:close()
  end)

  it("comes from a builder whose bytes are those of a CPU's, the launch, and the ring if any", function()
    local function more_bytes(rows)
      local bytes = {}
      for _, device in ipairs { "cuda", "cpu" } do
        local builder = assert(gdn.builder { device = device, max_num_seqs = rows, max_rows = rows })
        bytes[device] = builder.bytes
        builder:close()
      end
      return bytes.cuda - bytes.cpu
    end
    local LAUNCH, BUFFERS = 32764, 4
    local small, large = more_bytes(16), more_bytes(4096)
    assert.is_true(small >= LAUNCH and small < 2 * LAUNCH, small)
    assert.is_true(large >= LAUNCH * (1 + BUFFERS), large) -- a step of so many rows may pass a launch
  end)
end)
