-- Drivers, devices, contexts and streams: whose they are, and what is refused.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"
local raises = require "spec.support.raises"

local EDEVICE, EINVAL = -5, -1

describe("A CUDA builder", function()
  local driver, builder, batch
  before_each(function() driver = drivers.open("fake", false) end)
  after_each(function()
    if batch then batch:close() end
    if builder then builder:close() end
    builder, batch = nil, nil
    driver.lib.fake_devices(1)
    driver.lib.fake_version(13000)
    driver.lib.fake_no_image(0)
    driver.lib.fake_reset()
    driver:close()
  end)

  local function current()
    local now = ffi.new "void *[1]"
    driver:call("cuCtxGetCurrent", now)
    return now[0]
  end

  local function open(device)
    local message, code
    builder, message, code = gdn.builder { device = device, max_num_seqs = 4, max_num_batched_tokens = 64 }
    return builder, message, code
  end

  local function build(stream)
    batch = batch or assert(builder:batch())
    batch:clear()
    batch:add { query_len = 1, seq_len = 9, blocks = { 3 }, prompt_done = true }
    return builder:build(batch, stream)
  end

  it("takes the primary context where none is current, and leaves none", function()
    assert.are.equal("cuda:0", assert(open "cuda").device)
    assert.is_true(current() == nil)
    assert.are.same({ 3 }, assert(build()).non_spec_state_indices_tensor:totable())
    assert.is_true(current() == nil)
  end)

  it("works in the context that is current, and keeps it current", function()
    driver:call("cuCtxSetCurrent", driver.context)
    assert(open "cuda")
    assert.is_true(current() == driver.context)
    assert(build())
    assert.is_true(current() == driver.context)
  end)

  it("is of the current context's device when any will do", function()
    driver.lib.fake_devices(2)
    local second = ffi.new "void *[1]"
    driver:call("cuDevicePrimaryCtxRetain", second, 1)
    driver:call("cuCtxSetCurrent", second[0])
    assert.are.equal("cuda:1", assert(open "auto").device)
    builder:close()
    assert.are.equal("cuda:0", assert(open "cuda:0").device)
    assert.are.same({ 3 }, assert(build()).non_spec_state_indices_tensor:totable())
    assert.is_true(current() == second[0])
    driver:call("cuCtxSetCurrent", nil)
    driver:call("cuDevicePrimaryCtxRelease_v2", 1)
  end)

  it("shares a process with others, also on other devices", function()
    driver.lib.fake_devices(2)
    local others = {}
    for i = 0, 3 do
      local other = assert(gdn.builder { device = "cuda:" .. i % 2, max_num_seqs = 4,
                                         max_num_batched_tokens = 64 })
      others[i] = { other, assert(other:batch()) }
      others[i][2]:add { query_len = 1, seq_len = 9, blocks = { 1 + i % 4 }, prompt_done = true }
    end
    for i = 0, 3 do assert(others[i][1]:build(others[i][2])) end
    for i = 0, 3 do
      assert.are.same({ 1 + i % 4 }, others[i][1].metadata.non_spec_state_indices_tensor:totable())
      others[i][2]:close()
      others[i][1]:close()
    end
    assert.is_true(current() == nil)
  end)

  it("refuses a device that is not there", function()
    assert.are.same({ nil, "device = cuda:1, want cuda:0 .. cuda:0", EDEVICE }, { open "cuda:1" })
    driver.lib.fake_devices(0)
    assert.are.same({ nil, "the CUDA driver finds no device", EDEVICE }, { open "cuda" })
    assert.are.equal("cpu", assert(open "auto").device)
  end)

  it("refuses a driver that cannot pass so many parameters", function()
    driver.lib.fake_version(12000)
    assert.are.same({ nil, "the CUDA driver is of version 12.0, want 12.1 (driver 530) or later", EDEVICE },
                    { open "cuda" })
    assert.are.equal("cpu", assert(open "auto").device)
    builder:close()
    driver.lib.fake_version(12010)
    assert(open "cuda")
  end)

  it("refuses where there is no driver, or another library in its place", function()
    ffi.C.setenv("GDNMETA_LIBCUDA", "/nowhere/libcuda.so.1", 1)
    local none, message, code = open "cuda"
    assert.are.same({ nil, EDEVICE }, { none, code })
    assert.matches("^no CUDA driver: /nowhere/libcuda.so.1: cannot open", message)
    assert.are.equal("cpu", assert(open "auto").device)
    builder:close()
    ffi.C.setenv("GDNMETA_LIBCUDA", "libm.so.6", 1)
    local why = "the CUDA driver libm.so.6 has no cuInit, want CUDA 12.1 (driver 530) or later"
    assert.are.same({ nil, why, EDEVICE }, { open "cuda" })
  end)

  it("refuses a stream that is none, or of another context", function()
    assert(open "cuda")
    raises("gdnmeta.Builder:build: stream = \"0\", want nil or a pointer", function() build "0" end)
    local none, message, code = build(ffi.cast("void *", 0x1234))
    assert.are.same({ nil, EDEVICE }, { none, code })
    assert.are.equal("cuStreamIsCapturing: CUDA_ERROR_INVALID_HANDLE (invalid resource handle)", message)
    driver.lib.fake_devices(2)
    local second = ffi.new "void *[1]"
    driver:call("cuDevicePrimaryCtxRetain", second, 1)
    driver:call("cuCtxSetCurrent", second[0])
    none, message, code = build(driver:stream())
    assert.are.same({ nil, EDEVICE }, { none, code })
    assert.matches("^cuLaunchKernel of %d+ blocks: CUDA_ERROR_INVALID_HANDLE", message)
    assert.are.equal(0, builder.metadata.step)
    driver:call("cuCtxSetCurrent", nil)
    driver:call("cuDevicePrimaryCtxRelease_v2", 1)
  end)

  it("refuses to build on a stream that is being captured", function()
    driver:call("cuCtxSetCurrent", driver.context)
    assert(open "cuda")
    local stream, graph = driver:stream(), ffi.new "void *[1]"
    local view = assert(build(stream)).non_spec_state_indices_tensor
    driver:call("cuStreamBeginCapture_v2", stream, 2)
    assert.are.same({ nil, "stream is capturing: build before the capture begins", EINVAL },
                    { build(stream) })
    local raw = { query_start_loc = { 0, 1 }, seq_lens = { 4 }, block_table = { { 1 } } }
    assert.are.same({ nil, "stream is capturing: build before the capture begins", EINVAL },
                    { builder:capture(raw, stream) })
    assert.has_error(function() view:totable() end,
                     "gdnmeta.Tensor: stream is capturing: read before the capture begins")
    assert.are.equal(1, builder.metadata.step)
    driver:call("cuStreamEndCapture", stream, graph)
    driver:call("cuGraphDestroy", graph[0])
    assert.are.same({ 3 }, view:totable())
    assert(build(stream))
  end)

  it("is itself after its batch and its views are gone", function()
    assert(open "cuda")
    local view = assert(build()).non_spec_state_indices_tensor
    builder:close()
    assert.has_error(function() return view[0] end, "gdnmeta.Tensor: builder closed")
    assert.are.equal("gdnmeta.Builder(device=cuda:0, rules=strict, max_rows=4, " ..
                     "max_num_batched_tokens=64, closed)", tostring(builder))
  end)
end)

describe("A library without a kernel", function()
  local make = "make lib BUILD=build/nocuda WITH_CUDA=0 2>&1"

  it("says so, and is a CPU library otherwise", function()
    local log = assert(io.popen(("env -u LD_PRELOAD %s && echo built"):format(make)))
    local text = log:read "*a"
    log:close()
    assert.matches("built\n$", text)
    local driver = drivers.open "fake"
    driver.lib.fake_no_image(1)
    local lib = ffi.load "build/nocuda/libgdnmeta.so"
    local config, out, why = ffi.new "gdn_config", ffi.new "gdn_builder *[1]", ffi.new "char[320]"
    config.size, config.max_num_seqs, config.max_num_batched_tokens = ffi.sizeof(config), 4, 64
    config.mamba_block_size, config.num_groups = 16, 1
    assert.are.equal(EDEVICE, tonumber(lib.gdn_builder_new(config, out, why, 320)))
    assert.are.equal("this library was built without nvcc and has no kernel, " ..
                     "want one built where nvcc 12.1 or later is", ffi.string(why))
    config.device = lib.GDN_DEVICE_AUTO
    assert.are.equal(0, tonumber(lib.gdn_builder_new(config, out, why, 320)))
    local info = ffi.new "gdn_builder_info"
    lib.gdn_builder_describe(out[0], info)
    assert.are.equal(lib.GDN_DEVICE_CPU, info.device)
    lib.gdn_builder_free(out[0])
    -- the specs' driver brings a kernel of its own
    driver.lib.fake_no_image(0)
    config.device = 0
    assert.are.equal(0, tonumber(lib.gdn_builder_new(config, out, why, 320)))
    lib.gdn_builder_free(out[0])
    driver:close()
  end)
end)

describe("A CPU builder", function()
  it("refuses what is to be on a device", function()
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, num_groups = 2 })
    local memory = ffi.new "int32_t[64]"
    local why = " is to be device memory, want a CUDA builder: this one's device is the CPU"
    assert.are.same({ nil, "table" .. why, EINVAL }, { builder:borrow_device_table(1, memory, 8, 4) })
    assert.are.same({ nil, "seq_lens" .. why, EINVAL }, { builder:borrow_device_seq_lens(memory, 64) })
    assert.are.same({ nil, "num_accepted_tokens" .. why, EINVAL },
                    { builder:borrow_device_accepted(memory, 64) })
    assert.is_true(builder:peek_device_error())
    assert.are.same({ launches = 0, ring_launches = 0, ring_waits = 0, reads = 0, skipped = 0 },
                    builder:counters())
    local batch = assert(builder:batch())
    batch:add { query_len = 1, seq_len = 2, blocks = { { 1 }, { 1 } } }
    raises("gdnmeta.Batch:index: the builder's device is the CPU, want a CUDA device",
           function() batch:index(0, 1) end)
    batch:close()
    builder:close()
  end)
end)
