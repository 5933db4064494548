-- Checks on a CUDA device: what they ask of the driver, when the host hears of them, and that they find what
-- those on the CPU find.
--   GDN_SEED=N   replays a run      GDN_CUDA_SPECS=cuda   compares with a real device
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"
local feed = require "spec.support.submit_paths"
local random = require "spec.support.random_config"
local step = require "spec.support.random_step"
local until_met = require "spec.support.until_met"
local vectors = require "spec.support.vectors"
local compare = require "spec.support.compare"

local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 6000) / 60)
local EINVAL, SHARED = -1, 7

describe("A check on a CUDA device", function()
  print(("\ncuda_check_spec: GDN_SEED=%d"):format(SEED))
  local driver, stream
  before_each(function()
    driver = drivers.open "fake"
    stream = driver:stream()
  end)
  after_each(function()
    driver.lib.fake_hold(0)
    driver.lib.fake_reset()
    driver:free_all()
    assert.are.same({ 1, 0 }, { driver:count "live", driver:count "overruns" }) -- the spec's own context
    driver:close()
  end)

  local function open(options)
    local given = { device = "cuda", max_num_seqs = 16, num_speculative_tokens = 3, num_groups = 2,
      max_num_batched_tokens = 600, check = true, full_cuda_graph = true }
    for name, value in pairs(options or {}) do given[name] = value end
    local builder = assert(gdn.builder(given))
    local batch = assert(builder:batch())
    for g = 0, 1 do
      for i = 0, 16 * 4 - 1 do builder:table(g)[i] = 1 + i end
    end
    return builder, batch
  end

  local function close(builder, batch)
    batch:close()
    builder:close()
  end

  local function push(batch, plain, speculative, prefills)
    batch:clear()
    for row = 0, plain + speculative + prefills - 1 do
      if row < plain then assert(batch:push(row, 1, 9, true))
      elseif row < plain + speculative then assert(batch:push(row, 4, 40, true, 3, 2))
      else assert(batch:push(row, 70, 70, false)) end
    end
  end

  local function asked()
    return { driver:count "launches", driver:count "copies", driver:count "waits",
      driver:count "allocations" }
  end

  it("fills what no tensor has of each buffer, where poison is asked for", function()
    local builder, batch = open { poison = true, check = false }
    for row = 0, 7 do assert(batch:push(row, 60, 60, false)) end
    assert(builder:build(batch, stream))
    batch:clear()
    for row = 0, 2 do assert(batch:push(row, 1, 9, true)) end
    local meta = assert(builder:build(batch, stream))
    local slots = driver:read(ffi.cast("int32_t *", meta.non_spec_state_indices_tensor.data), 16)
    local starts = driver:read(ffi.cast("int32_t *", meta.non_spec_query_start_loc.data), 17)
    assert.are.same({ 1, 5, 9 }, { slots[1], slots[2], slots[3] })
    for i = 4, 16 do assert.are.equal(-1515870811, slots[i], "slot " .. i) end
    for i = 5, 17 do assert.are.equal(-1515870811, starts[i], "boundary " .. i) end
    close(builder, batch)
  end)

  it("is one launch more, and nothing else", function()
    local KINDS = { {}, { poison = true }, { check = false, poison = true }, { check_unique = false } }
    for _, options in ipairs(KINDS) do
      local builder, batch = open(options)
      for _, rows in ipairs { { 16, 0, 0 }, { 0, 16, 0 }, { 3, 0, 5 }, { 3, 4, 2 }, { 0, 0, 0 } } do
        push(batch, unpack(rows))
        driver.lib.fake_reset()
        local before = builder:counters().launches
        assert(builder:build(batch, stream))
        assert.are.same({ 2, 0, 0, 0 }, asked())
        assert.are.equal(2, builder:counters().launches - before)
        assert.is_true(builder:peek_check_result())
      end
      driver.lib.fake_reset()
      assert.is_true(builder:peek_check_result())
      assert.are.equal(0, driver:count "calls")
      if options.check ~= false then
        assert(builder:check(stream))
        local blocks = driver:count "blocks"
        assert(builder:check(stream))
        assert.are.equal(2 * blocks, driver:count "blocks") -- as many as the check before had
      end
      close(builder, batch)
    end
  end)

  it("is heard of when it is done, and kept until it is forgotten", function()
    local builder, batch = open()
    local table_of = driver:int32(16 * 4)
    local cells = {}
    for i = 1, 16 * 4 do cells[i] = i end
    cells[9], cells[17] = 5, 5 -- the host cannot see that rows 2 and 4 write the slot of row 1
    driver:write(table_of, cells)
    assert(builder:borrow_device_table(1, table_of, 4, 16))
    push(batch, 6, 0, 0)
    driver.lib.fake_hold(1)
    assert(builder:build(batch, stream))
    assert.is_true(builder:peek_check_result())
    cells[9], cells[17] = 9, 17
    driver.lib.fake_hold(0)
    driver:call("cuStreamSynchronize", stream)
    driver:write(table_of, cells)
    assert(builder:build(batch, stream))
    local _, message, code = builder:peek_check_result()
    assert.matches("^step 1: non_spec_state_indices_tensor%[[124]%] of group 1 is a slot that two rows use",
                   message)
    assert.are.equal(EINVAL, code)
    assert.are.equal(message, (select(2, builder:take_check_result())))
    assert.is_true(builder:peek_check_result())
    assert(builder:build(batch, stream))
    assert.is_true(builder:peek_check_result())
    assert.is_true(builder:peek_device_error())
    close(builder, batch)
  end)

  -- Rows in front of a row are counted by the mask, eight at a time.
  it("raises no alarm wherever the one row without drafts stands", function()
    for place = 0, 33 do
      local builder, batch = open { max_num_seqs = 34 }
      for row = 0, 33 do
        local drafts = row ~= place and 1 or -1
        for g = 0, 1 do
          for k = 4 * row, 4 * row + 3 do builder:table(g)[k] = 1 + k end
        end
        assert(batch:push(row, 2, 40, true, drafts, 1))
      end
      assert(builder:build(batch, stream))
      assert.are.same({ place, true }, { place, (builder:peek_check_result()) })
      close(builder, batch)
    end
  end)

  it("may be refused without the build", function()
    for _, current in ipairs { true, false } do
      local builder, batch = open()
      push(batch, 6, 0, 0)
      driver:call("cuCtxSetCurrent", current and driver.context or nil)
      driver.lib.fake_reset()
      assert(builder:build(batch, stream))
      local calls, refused = driver:count "calls", 0
      for n = 1, calls do
        driver.lib.fake_fail(n, 719)
        local meta = builder:build(batch, stream)
        local call = ffi.string(driver.lib.fake_failed_call()):gsub("_v%d$", "")
        driver.lib.fake_reset()
        local _, found = builder:take_check_result()
        if found then
          assert.matches("^step %d+ was not checked: " .. call .. ".*CUDA_ERROR_LAUNCH_FAILED", found)
          refused = refused + 1
          assert.is_truthy(meta)
        end
        assert(builder:build(batch, stream))
        assert.is_true(builder:peek_check_result())
      end
      assert.are.equal(current and 3 or 4, refused) -- get, (push,) is capturing, launch
      driver:call("cuCtxSetCurrent", driver.context)
      close(builder, batch)
    end
  end)

  it("is refused on a stream that is being captured", function()
    local builder, batch = open()
    push(batch, 1, 0, 0)
    assert(builder:build(batch, stream))
    local graph = ffi.new "void *[1]"
    driver:call("cuStreamBeginCapture_v2", stream, 0)
    local ok, message, code = builder:check(stream)
    driver:call("cuStreamEndCapture", stream, graph)
    driver:call("cuGraphDestroy", graph[0])
    assert.are.same({ false, EINVAL }, { ok or false, code })
    assert.are.equal("stream is capturing: check before the capture begins", message)
    assert.is_true(builder:peek_check_result())
    close(builder, batch)
  end)
end)

describe("A check on a device and one on the CPU", function()
  local driver
  setup(function() driver = drivers.open(os.getenv "GDN_CUDA_SPECS" or "fake") end)
  teardown(function() driver:close() end)

  local POINTERS = { [0] = "int32_t[1]", "int64_t[1]", "uint8_t[1]", "uint8_t[1]" }
  local SIZES = { [0] = 4, 8, 1, 1 }

  -- Element i of a tensor, on both sides.
  local function set(cpu, gpu, i, value)
    local one = ffi.new(POINTERS[cpu.dtype], value)
    local bytes, at = SIZES[cpu.dtype], i * SIZES[cpu.dtype]
    ffi.copy(ffi.cast("char *", cpu.data) + at, one, bytes)
    driver:call("cuMemcpyHtoDAsync_v2", ffi.cast("uint64_t", gpu.data) + at, one, bytes, nil)
  end

  local function element(t, i) return tonumber(ffi.cast(POINTERS[t.dtype]:gsub("%[1%]", " *"), t.data)[i]) end

  it("find the same", function()
    local rand = random.rng(SEED)
    local a, b = ffi.new "gdn_violation", ffi.new "gdn_violation"
    until_met(1, CASES, { found = 5 * CASES }, function(case, met)
      local rules = random.pick(rand, { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" })
      local config = random.config(rand, rules)
      local in_bucket = rules == "strict" and random.chance(rand, 60)
      if in_bucket then config.full_cuda_graph = "mixed" end
      local builders, batches, metas = {}, {}, {}
      local options = vectors.without_nulls(config)
      options.rules, options.check, options.poison = rules, true, random.chance(rand, 50)
      options.pad_slot_id = random.chance(rand, 30) and -1 or 0
      options.query_start_loc_dtype = random.chance(rand, 30) and "int64" or "int32"
      for i, device in ipairs { "cpu", "cuda" } do
        options.device = device
        builders[i] = assert(gdn.builder(options))
        batches[i] = assert(builders[i]:batch())
      end
      for _ = 1, 8 do
        local inputs, path, rows
        if in_bucket then inputs, path, rows = step.draw_bucket(rand, config)
        else inputs, path, rows = step.draw(rand, rules, config) end
        for i = 1, 2 do
          local ok, meta = pcall(feed.paths[path], builders[i], batches[i], inputs, rows)
          metas[i] = ok and meta and lib.gdn_builder_metadata(builders[i].handle)
          driver:call("cuStreamSynchronize", nil)
          assert.is_true(builders[i]:peek_check_result())
        end
        for _, names in ipairs(metas[1] and { compare.TENSORS, compare.STATE } or {}) do
          for _, name in ipairs(names) do
            local x, y = metas[1][name], metas[2][name]
            local n = x.data ~= nil and x.shape[0] * x.shape[1] or 0
            for _ = 1, n > 0 and 3 or 0 do
              local i = rand(0, n - 1)
              local was = element(x, i)
              set(x, y, i, x.dtype == 2 and random.pick(rand, { 1 - was, 2 }) or was + rand(-3, 3))
              assert(builders[1]:check() and builders[2]:check())
              driver:call("cuStreamSynchronize", nil)
              local one = lib.gdn_check_result(builders[1].handle, 1, a) ~= 0
              local two = lib.gdn_check_result(builders[2].handle, 1, b) ~= 0
              local where = ("GDN_SEED=%d case %d: %s[%d]"):format(SEED, case, name, i)
              assert.are.equal(one, two, where)
              if one then
                met.found = met.found + 1
                -- which of a slot's users comes second depends on the order of threads, and so whether
                -- another violation stands in front of it
                local same = a.field == b.field and a.element == b.element and a.group == b.group
                assert.is_true(same and a.code == b.code or a.code == SHARED or b.code == SHARED, where)
              end
              set(x, y, i, was)
            end
          end
        end
      end
      for i = 1, 2 do
        batches[i]:close()
        builders[i]:close()
      end
    end)
  end)
end)
