-- Every driver call fails once: the failure is named, nothing leaks, and the next try works.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"

local LAUNCH_FAILED, WORDS = 719, "CUDA_ERROR_LAUNCH_FAILED (unspecified launch failure)"
local EDEVICE, ENOMEM = -5, -2

describe("When a driver call fails", function()
  local driver, live
  before_each(function()
    driver = drivers.open "fake"
    live = driver:count "live"
  end)
  after_each(function()
    driver.lib.fake_reset()
    assert.are.same({ live, 0 }, { driver:count "live", driver:count "overruns" })
    driver:close()
  end)

  local OPTIONS = { device = "cuda", max_num_seqs = 512, num_speculative_tokens = 3, num_groups = 6,
    num_slots = 2^22, max_num_batched_tokens = 4096 }

  local function open() return gdn.builder(OPTIONS) end

  -- A name as the driver exports it begins with the one that messages use. A library without a kernel says
  -- so instead of quoting why nothing could be loaded.
  local function names(message)
    if message:find("was built without nvcc", 1, true) then return true end
    local called = ffi.string(driver.lib.fake_failed_call()):gsub("_v%d$", "")
    return called ~= "" and message:find(called, 1, true) and message:find(WORDS, 1, true)
  end

  -- Fails call 1, 2, ... of action() until it makes fewer. action returns a result, or nil, message, code.
  local function each_call(action, check)
    local n = 0
    while true do
      n = n + 1
      driver.lib.fake_fail(n, LAUNCH_FAILED)
      local result, message, code = action()
      local failed = ffi.string(driver.lib.fake_failed_call())
      driver.lib.fake_reset()
      if failed == "" then
        assert(result, message)
        return n - 1
      end
      check(result, message, code, ("call %d, %s"):format(n, failed))
    end
  end

  it("a builder is refused, and everything is given back", function()
    for _, current in ipairs { true, false } do
      driver:call("cuCtxSetCurrent", current and driver.context or nil)
      local calls = each_call(function()
        local builder, message, code = open()
        if builder then builder:close() end
        -- what closing returned does not matter
        if builder and ffi.string(driver.lib.fake_failed_call()) ~= "" then return true, "closed" end
        if not builder then assert.is_truthy(names(message), message) end
        return builder, message, code
      end, function(result, message, code, where)
        if message ~= "closed" then assert.are.same({ nil, EDEVICE }, { result, code }, where) end
        assert.are.equal(live, driver:count "live", where)
        local now = ffi.new "void *[1]"
        driver:call("cuCtxGetCurrent", now)
        assert.are.equal(current and driver.context or nil, now[0] ~= nil and now[0] or nil, where)
      end)
      assert.is_true(calls > 20)
    end
    driver:call("cuCtxSetCurrent", driver.context)
  end)

  it("any device means the CPU only where there is no device at all", function()
    local fallbacks = {}
    local n = 0
    repeat
      n = n + 1
      driver.lib.fake_fail(n, LAUNCH_FAILED)
      local builder, message = gdn.builder { device = "auto" }
      local failed = ffi.string(driver.lib.fake_failed_call())
      if builder and builder.device == "cpu" then fallbacks[#fallbacks + 1] = failed end
      if not builder then assert.is_truthy(names(message), message) end
      if builder then builder:close() end
    until failed == ""
    local absent = { "cuInit", "cuDriverGetVersion", "cuDeviceGetCount" }
    driver.lib.fake_no_image(1)
    local _, message = open()
    driver.lib.fake_no_image(0)
    if message:find("was built without nvcc", 1, true) then absent[4] = "cuModuleLoadData" end
    assert.are.same(absent, fallbacks)
  end)

  local function fill(builder, rows)
    local batch = assert(builder:batch())
    for g = 0, builder.num_groups - 1 do
      local cells = builder:table(g)
      for i = 0, builder.max_requests * 4 - 1 do cells[i] = 1 + i * 1000 end
    end
    for row = 0, rows - 1 do assert(batch:push(row, 4, 40, true, 3, 1 + row % 4)) end
    return batch
  end

  for _, home in ipairs { { "inside a launch", 20 }, { "in the ring", 512 } } do
    it("a build is refused, and the next one is right: payload " .. home[1], function()
      local builder = assert(open())
      local batch = fill(builder, home[2])
      local meta = assert(builder:build(batch))
      local want, steps = meta.spec_state_indices_tensor:totable(), meta.step
      assert.are.equal(home[2] == 512 and 1 or 0, builder:counters().ring_launches)
      for _, current in ipairs { true, false } do
        driver:call("cuCtxSetCurrent", current and driver.context or nil)
        each_call(function()
          batch.rows.num_accepted_tokens[0] = 3 - batch.rows.num_accepted_tokens[0] -- else it is skipped
          return builder:build(batch)
        end, function(result, message, code, where)
          if where:find "cuEventRecord" or where:find "cuCtxPopCurrent" or where:find "cuStreamGetId" then
            assert(result, where) -- the launch is done, and there was another way to guard its buffer
            return
          end
          assert.is_nil(result, where)
          assert.are.equal(EDEVICE, code, where)
          assert.are.equal(steps, meta.step)
          driver:call("cuCtxSetCurrent", current and driver.context or nil)
          require("gdnmeta.native").gdn_builder_poison(builder.handle)
          assert(builder:build(batch))
          steps = steps + 1
          assert.are.same(want, meta.spec_state_indices_tensor:totable(), where)
          assert.is_truthy(message:find(WORDS, 1, true), message)
        end)
        steps = meta.step
      end
      local counters = builder:counters()
      assert.are.same({ meta.step, home[2] == 512 and 2 or 0 }, { counters.launches, counters.ring_waits })
      driver:call("cuCtxSetCurrent", driver.context)
      batch:close()
      builder:close()
    end)
  end

  it("a view says so, and can be read again", function()
    local builder = assert(open())
    local batch = fill(builder, 20)
    local meta = assert(builder:build(batch))
    local view = meta.spec_query_start_loc
    local calls = each_call(function()
      local ok, result = pcall(view.totable, view)
      return ok and result or nil, not ok and result or nil
    end, function(result, message, _, where)
      assert.is_nil(result, where)
      assert.is_truthy(message:find("gdnmeta.Tensor: cu", 1, true), message)
      assert.is_truthy(message:find(WORDS, 1, true), message)
    end)
    assert.are.equal(4, calls) -- get current, is capturing, copy, wait
    assert.are.equal(80, view[20])
    batch:close()
    builder:close()
  end)

  it("a device array is not borrowed", function()
    local builder = assert(open())
    local memory = driver:int32(64)
    each_call(function()
      local ok, message, code = builder:borrow_device_seq_lens(memory, 64)
      return ok, message, code
    end, function(result, message, code, where)
      assert.are.same({ nil, EDEVICE }, { result, code }, where)
      assert.is_truthy(names(message) or message:find(WORDS, 1, true), message)
    end)
    builder:close()
    driver:free_all()
  end)

  it("a builder can be closed after a launch that killed its context", function()
    local builder = assert(open())
    local batch = fill(builder, 20)
    driver.lib.fake_break(3, LAUNCH_FAILED)
    local _, message, code = builder:build(batch)
    assert.are.equal(EDEVICE, code)
    assert.matches("^cuLaunchKernel of %d+ blocks: CUDA_ERROR_LAUNCH_FAILED", message)
    assert.is_nil((builder:build(batch)))
    batch:close()
    builder:close()
    builder:close()
    assert.are.equal(live, driver:count "live")
  end)

  it("no memory is its own code", function()
    local builder, message, code
    for n = 1, 40 do
      driver.lib.fake_fail(n, 2)
      builder, message, code = open()
      if builder then builder:close() end
      if ffi.string(driver.lib.fake_failed_call()) == "cuMemAlloc_v2" then break end
    end
    assert.is_nil(builder)
    assert.are.equal(ENOMEM, code)
    assert.matches("^cuMemAlloc of %d+ bytes of outputs: CUDA_ERROR_OUT_OF_MEMORY %(out of memory%)$",
                   message)
  end)
end)
