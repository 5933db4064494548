-- States and windows are brought by one launch, captured or not, from what a build left on the device.
--   GDN_CUDA_SPECS=cuda   on a real device
local ffi = require "ffi"
local bring_memory = require "spec.support.bring_memory"
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"
local shell = require "spec.support.shell"
local steps = require "spec.support.bring_steps"
local until_met = require "spec.support.until_met"
local array_of = require "gdnmeta.array_of"

local byte_array = array_of "uint8_t"

local KIND = os.getenv "GDN_CUDA_SPECS" or "fake"
local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / (KIND == "fake" and 20 or 5))
local SEED = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24

describe("Bringing states on a CUDA device", function()
  local driver, stream
  drivers.around(KIND, { setup, teardown, after_each }, function(...) driver, stream = ... end)

  local function memory(size) return bring_memory(driver, stream, size) end

  it("moves the bytes that the header names, and no other", function()
    until_met(SEED, CASES, { moves = CASES, within = CASES / 20 }, function(case, met)
      math.randomseed(case)
      local c = steps.builder("cuda", case == SEED and 1500 or nil)
      for _, make in ipairs { steps.states, steps.windows } do
        local p = make(c)
        local moves, within = steps.check(c, p, ("GDN_SEED=%d"):format(case), memory(p.size), stream)
        met.moves, met.within = met.moves + moves, met.within + within
      end
      driver:free_all()
      c.batch:close()
      c.builder:close()
    end)
  end)

  it("is tried from the command line, for sanitizers", function()
    if KIND ~= "fake" then return pending "skipped: a process of its own, as scripts/gpu starts it" end
    local code, text = shell.run "luajit spec/bring.lua --cases 40 --seed 100"
    assert.are.equal(0, code, text)
    local pools, moved = text:match "^bring: seed 100, 40 cases: (%d+) pools, (%d+) states and windows moved"
    assert.is_true(tonumber(pools) == 80 and tonumber(moved) > 40, text)
    code, text = shell.run "luajit spec/bring.lua --cases many"
    assert.are.same({ 2, "usage: luajit spec/bring.lua [--device fake|cuda] [--cases N] [--seed N]\n" },
                    { code, text })
  end)

  it("is a node of a graph, which serves later steps of its size, each with what it needs", function()
    local builder = assert(gdn.builder { device = "cuda", max_num_seqs = 8, num_speculative_tokens = 2,
                                         num_slots = 64, full_cuda_graph = true })
    local batch = builder:batch()
    local function decode(rows, accepted)
      batch:clear()
      for row = 0, rows - 1 do
        batch:add { query_len = 1, seq_len = 20, prompt_done = true, accepted = accepted,
                    blocks = { 3 * row + 1, 3 * row + 2, 3 * row + 3 } }
      end
      assert(batch:pad(8, 8))
      return assert(builder:build(batch, stream))
    end
    local states = { windows = false, offsets = { 0 }, slot_bytes = 48, slot_stride = 64, size = 64 * 64 }
    local windows = { windows = true, offsets = { 0 }, channels = 5, length = 5, element_bytes = 2,
                      strides = { 32, 1, 6 }, size = 64 * 64 }
    local c = { builder = builder, num_slots = 64, mode = "none" }
    local pools = { [states] = memory(states.size), [windows] = memory(windows.size) }
    assert(builder:capture({ query_start_loc = { 0, 1, 2, 3, 4, 5, 6, 7, 8 } }, stream))
    local graph, executable = ffi.new "void *[1]", ffi.new "void *[1]"
    driver:call("cuStreamBeginCapture_v2", stream, 2)
    for p, pool in pairs(pools) do assert(steps.bring(c, p, 0, pool.address, stream)) end
    driver:call("cuStreamEndCapture", stream, graph)
    driver:call("cuGraphInstantiateWithFlags", executable, graph[0], 0)
    driver:call("cuGraphDestroy", graph[0])
    local moved = {}
    for _, step in ipairs { { 8, 2 }, { 3, 3 }, { 5, 1 }, { 1, 2 }, { 8, 1 }, { 6, 3 } } do
      local meta = decode(unpack(step))
      for p, pool in pairs(pools) do
        local before = steps.noise(p.size)
        local want, moves = steps.brought(c, meta, p, before)
        pool.write(before, p.size)
        driver:call("cuGraphLaunch", executable[0], stream)
        assert.is_true(ffi.string(want, p.size) == ffi.string(pool.read(p.size), p.size))
        moved[#moved + 1] = moves
      end
    end
    assert.are.same({ 8, 8, 3, 3, 0, 0, 1, 1, 0, 0, 6, 6 }, moved)
    driver:call("cuGraphExecDestroy", executable[0])
    batch:close()
    builder:close()
  end)

  if KIND == "cuda" then
    it("beyond 2^32 bytes of a pool, 64 MiB at a time", function()
      local bytes, slots = 64 * 2 ^ 20, 80
      local c = { num_slots = slots }
      c.builder = assert(gdn.builder { device = "cuda", max_num_seqs = 2, num_slots = slots,
                                       max_blocks_per_row = 2 })
      c.batch = c.builder:batch()
      local pool = memory(bytes * slots)
      for _, pair in ipairs { { 78, 3 }, { 2, 79 } } do
        local from, to = unpack(pair)
        c.batch:clear()
        c.batch:add { query_len = 1, seq_len = 9, prompt_done = true, blocks = { to, from }, read_column = 1 }
        assert(c.builder:build(c.batch, stream))
        local number = ffi.cast("uint64_t", pool.address)
        local wrote, got = byte_array(bytes), byte_array(bytes)
        for i = 0, bytes - 1, 4093 do wrote[i] = i % 251 + 1 end
        driver:call("cuMemcpyHtoDAsync_v2", number + from * bytes, wrote, bytes, stream)
        assert(c.builder:bring_states({ pool = pool.address, slot_bytes = bytes }, stream))
        driver:call("cuMemcpyDtoHAsync_v2", got, number + to * bytes, bytes, stream)
        driver:call("cuStreamSynchronize", stream)
        assert.is_true(ffi.string(wrote, bytes) == ffi.string(got, bytes))
      end
      c.batch:close()
      c.builder:close()
    end)
  end

  describe("refuses", function()
    local builder, pool
    before_each(function()
      builder = assert(gdn.builder { device = "cuda", max_num_seqs = 2, num_slots = 8 })
      local batch = builder:batch()
      batch:add { query_len = 1, seq_len = 9, prompt_done = true, blocks = { 1 } }
      assert(builder:build(batch, stream))
      pool = driver:int32(8 * 16)
    end)
    after_each(function() builder:close() end)

    local function is_refused(pattern, address, slot_bytes)
      local launches, bytes = builder:counters().launches, slot_bytes or 64
      for _, call in ipairs { { "bring_states", { pool = address, slot_bytes = bytes } },
        { "bring_windows", { pool = address, channels = bytes / 16, length = 2, element_bytes = 8 } } } do
        local ok, message, code = builder[call[1]](builder, call[2], stream)
        assert.are.same({ nil, gdn.EINVAL }, { ok, code })
        assert.matches(pattern, message)
      end
      assert.are.equal(launches, builder:counters().launches)
    end

    it("memory of the host, and a pool that ends too soon", function()
      assert(builder:bring_states({ pool = pool, slot_bytes = 64 }, stream))
      is_refused("^pool = .* is no memory that CUDA knows, want memory of cuda:0$", ffi.new "uint8_t[512]")
      local host = ffi.new "void *[1]"
      driver:call("cuMemHostAlloc", host, 512, 0)
      is_refused("^pool = .* is host memory, want memory of cuda:0$", host[0])
      driver:call("cuMemFreeHost", host[0])
      if KIND == "fake" then -- a real device's memory may go on
        is_refused("^pool = .* ends before its 1024 bytes do$", pool, 128)
      end
    end)

    it("the builder's own tensors", function()
      local meta = builder.metadata
      is_refused("^pool = .* overlaps the builder's tensors$", meta.non_spec_state_indices_tensor.data)
    end)

    it("memory of a device for a builder on the CPU", function()
      local cpu = assert(gdn.builder { device = "cpu", max_num_seqs = 2, num_slots = 8 })
      local batch = cpu:batch()
      assert(cpu:build(batch))
      local ok, message, code = cpu:bring_states { pool = pool, slot_bytes = 64 }
      assert.are.same({ nil, gdn.EINVAL }, { ok, code })
      assert.matches("^pool = .* is memory of a CUDA device, want host memory: this builder's device is the "
                     .. "CPU$", message)
      assert(cpu:bring_states { pool = ffi.new "uint8_t[512]", slot_bytes = 64 })
      cpu:close()
    end)
  end)
end)

describe("Bringing states asks of the driver", function()
  local driver
  setup(function() driver = drivers.open "fake" end)
  teardown(function() driver:close() end)

  it("one launch, and of it no more blocks than there are pieces", function()
    local builder = assert(gdn.builder { device = "cuda", max_num_seqs = 256, num_slots = 1024,
                                         num_speculative_tokens = 3 })
    local batch, stream = builder:batch(), driver:stream()
    for row = 0, 63 do
      batch:add { query_len = 1, seq_len = 9, prompt_done = true, blocks = { 4 * row + 1, 4 * row + 2 } }
    end
    assert(builder:build(batch, stream))
    local pool = driver:int32(1024 * 64)
    local launches = builder:counters().launches
    local function counted(call, o, blocks)
      driver.lib.fake_reset()
      assert(builder[call](builder, o, stream))
      assert.are.same({ 1, 0, 0, 0, blocks }, { driver:count "launches", driver:count "copies",
        driver:count "waits", driver:count "allocations", driver:count "blocks" })
      launches = launches + 1
      assert.are.equal(launches, builder:counters().launches)
    end
    counted("bring_states", { pool = pool, slot_bytes = 16, slot_stride = 256 }, 64)
    counted("bring_states", { pool = { pool, pool + 8, pool + 16, pool + 24, pool + 32 }, slot_bytes = 16,
                              slot_stride = 256 }, 264)
    counted("bring_windows", { pool = pool, channels = 32, length = 4, element_bytes = 2 }, 64)
    batch:clear()
    assert(builder:build(batch, stream))
    driver.lib.fake_reset()
    assert(builder:bring_states({ pool = pool, slot_bytes = 16 }, stream)) -- no rows
    assert.are.equal(0, driver:count "launches")
    batch:close()
    builder:close()
  end)
end)
