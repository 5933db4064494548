-- Tensors for other libraries: what an export says, whose memory it is, and who deletes it when.
--   GDN_CUDA_SPECS=cuda   tensors on a real device, too
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"
local drivers = require "spec.support.driver"
local raises = require "spec.support.raises"

local EINVAL = -1
local KIND = os.getenv "GDN_CUDA_SPECS" or "fake"

-- A step in which no tensor is missing, in two groups: speculative rows beside a prompt; or, without drafts,
-- a decode in front of two prompts.
local function open(device, speculative)
  local builder = assert(gdn.builder { device = device, max_num_seqs = 4, max_num_batched_tokens = 400,
                                       num_groups = 2, num_speculative_tokens = 1 })
  local batch = assert(builder:batch())
  local function add(query_len, seq_len, block, drafts)
    batch:add { query_len = query_len, seq_len = seq_len, drafts = drafts, prompt_done = seq_len > query_len,
                blocks = { { block, block + 1 }, { block + 4, block + 5 } } }
  end
  if speculative then add(2, 9, 1, 1) else add(1, 9, 1) end
  add(130, 130, 3)
  if not speculative then add(7, 7, 7) end
  assert(builder:build(batch))
  return builder, batch
end

local TYPES = { int32 = { 0, 32, "int32_t *" }, int64 = { 0, 64, "int64_t *" }, bool = { 6, 8, "uint8_t *" } }

local function elements(export, read)
  local t, out = export.dl_tensor, {}
  local n = tonumber(t.shape[0] * (t.ndim == 2 and t.shape[1] or 1))
  local type_ = t.code == 6 and "uint8_t" or ("int%d_t"):format(t.bits)
  local memory = read and read(t.data, n * t.bits / 8) or t.data
  local values = ffi.cast(type_ .. " *", memory)
  for i = 0, n - 1 do
    local value = values[i]
    out[i + 1] = t.code == 6 and value == 1 or t.code ~= 6 and tonumber(value)
  end
  return out
end

local function flat(view)
  local out = {}
  for i = 0, #view - 1 do out[i + 1] = view[i] end
  return out
end

local function collect()
  collectgarbage()
  collectgarbage()
end

describe("An exported tensor", function()
  it("is laid out as DLPack 1 says", function()
    local layouts = {
      gdn_dl_tensor = { 48, data = 0, device_type = 8, device_id = 12, ndim = 16, code = 20, bits = 21,
                        lanes = 22, shape = 24, strides = 32, byte_offset = 40 },
      gdn_dlpack = { 80, major = 0, minor = 4, manager_ctx = 8, deleter = 16, flags = 24, dl_tensor = 32 },
      gdn_dlpack_unversioned = { 64, dl_tensor = 0, manager_ctx = 48, deleter = 56 },
    }
    for name, layout in pairs(layouts) do
      for member, offset in pairs(layout) do
        local got = member == 1 and ffi.sizeof(name) or ffi.offsetof(name, member)
        assert.are.equal(offset, got, name .. "." .. member)
      end
    end
  end)

  for device, kind in pairs { cpu = 1, cuda = 2 } do
    describe("of " .. device, function()
      local driver, builder, batch
      setup(function() driver = drivers.open(KIND) end)
      before_each(function() builder, batch = open(device, true) end)
      after_each(function()
        batch:close()
        builder:close()
        collect()
      end)
      teardown(function() driver:close() end)

      -- Memory of the device is out of the host's reach.
      local function read(memory, bytes)
        if device == "cpu" then return memory end
        local copy = ffi.new("uint8_t[?]", bytes + 1)
        driver:call("cuMemcpyDtoHAsync_v2", copy, ffi.cast("uint64_t", memory), bytes, nil)
        driver:call("cuStreamSynchronize", nil)
        return copy
      end

      it("is the view's memory, element by element, whichever it is", function()
        local seen = {}
        for _, speculative in ipairs { true, false } do
          batch:close()
          builder:close()
          builder, batch = open(device, speculative)
          for g = 0, 1 do
            local meta = builder.metadata:group(g)
            for _, name in ipairs(compare.TENSORS) do seen[name] = seen[name] or meta[name] ~= nil end
            for _, name in ipairs(compare.STATE) do seen[name] = seen[name] or meta[name] ~= nil end
            for name in pairs(seen) do
              local view = meta[name]
              if view then
                local export = view:dlpack()
                local t, type_ = export.dl_tensor, TYPES[view.dtype]
                assert.is_true(t.data == ffi.cast("void *", view.data), name)
                assert.are.same({ 1, 0, 1, kind, 0, 1, 0 },
                  { export.major, export.minor, tonumber(export.flags), t.device_type, t.device_id, t.lanes,
                    tonumber(t.byte_offset) }, name)
                assert.are.same({ #view.shape, type_[1], type_[2] }, { t.ndim, t.code, t.bits }, name)
                local step = 1
                for d = t.ndim - 1, 0, -1 do
                  local size, stride = tonumber(t.shape[d]), tonumber(t.strides[d])
                  assert.are.same({ view.shape[d + 1], step }, { size, stride }, name)
                  step = step * size
                end
                assert.are.same(flat(view), elements(export, read), name)
              end
            end
          end
        end
        for name, met in pairs(seen) do assert.is_true(met, "no step has " .. name) end
      end)

      it("lives on when its builder is closed", function()
        local view = builder.metadata.chunk_indices
        local export, want = view:dlpack(), flat(view)
        batch:close()
        builder:close()
        collect()
        assert.are.same(want, elements(export, read))
      end)

      it("lives on when nobody holds its builder", function()
        local exports, want = {}, {}
        local function make()
          local b, rows = open(device, false)
          for i, name in ipairs { "has_initial_state", "chunk_offsets", "prefill_state_indices" } do
            local view = b.metadata:group(1)[name]
            exports[i], want[i] = view:dlpack(), flat(view)
          end
          rows:close()
        end
        make()
        collect()
        for i = 3, 1, -1 do
          assert.are.same(want[i], elements(exports[i], read))
          exports[i] = nil
          collect()
        end
      end)

      it("leaves its builder alone when it is deleted first", function()
        local view = builder.metadata.spec_state_indices_tensor
        local export = ffi.gc(view:dlpack(), nil)
        local other = view:dlpack()
        export.deleter(export)
        assert.are.same({ { 1, 2 } }, view:totable())
        assert(builder:build(batch))
        assert.are.same({ 1, 2 }, elements(other, read)) -- the address is the builder's, step after step
      end)

      it("shows what the next step wrote", function()
        local export = builder.metadata.non_spec_state_indices_tensor:dlpack()
        assert.are.same({ 3 }, elements(export, read))
        batch:clear()
        batch:add { query_len = 5, seq_len = 5, blocks = { { 8, 6 }, { 1, 2 } } }
        assert(builder:build(batch))
        assert.are.same({ 8 }, elements(export, read))
      end)

      it("has a form without a version", function()
        local tensor = lib.gdn_builder_metadata(builder.handle).spec_state_indices_tensor
        local out = ffi.new "gdn_dlpack_unversioned *[1]"
        assert.are.equal(0, lib.gdn_tensor_export_unversioned(builder.handle, tensor, out))
        batch:close()
        builder:close()
        assert.are.same({ 1, 2 }, elements(out[0], read))
        assert.are.equal(kind, out[0].dl_tensor.device_type)
        out[0].deleter(out[0])
      end)
    end)
  end

  it("is refused of what is no tensor of the builder", function()
    local builder, batch = open("cpu", true)
    local tensor, out = ffi.new "gdn_tensor", ffi.new "gdn_dlpack *[1]"
    local good = lib.gdn_builder_metadata(builder.handle).spec_state_indices_tensor
    local function refused(message)
      assert.are.equal(EINVAL, lib.gdn_tensor_export(builder.handle, tensor, out))
      assert.matches(message, ffi.string(lib.gdn_last_error(builder.handle)), 1, true)
      assert.is_true(out[0] == nil)
      ffi.copy(tensor, good, ffi.sizeof(tensor))
    end
    refused "the step has no such tensor: tensor.data is NULL"
    tensor.dtype = 3
    refused "tensor.dtype = 3, want 0 .. 2"
    tensor.ndim = 3
    refused "tensor.ndim = 3 with shape[1] = 2, want 2, or 1 with 1"
    tensor.ndim = 1
    refused "tensor.ndim = 1 with shape[1] = 2, want 2, or 1 with 1"
    tensor.shape[0] = -1
    refused "tensor.shape = [-1, 2], want both >= 0"
    tensor.shape[0], tensor.shape[1], tensor.dtype = 2^31 - 1, 2^31 - 1, 1 -- 2^65 bytes
    refused "4611686014132420609 elements at 0x"
    tensor.data = ffi.cast("char *", tensor.data) - builder.bytes
    refused "are not within the builder's tensors"
    ffi.copy(tensor, lib.gdn_builder_metadata(builder.handle).non_spec_conv_shift, ffi.sizeof(tensor))
    tensor.dtype, tensor.shape[0] = 1, 40 -- the last one there is: 40 bytes would fit
    refused "40 elements at 0x"
    tensor.data = ffi.cast("char *", tensor.data) + 2
    refused "want a multiple of 4 bytes"
    local other, rows = open("cpu", true)
    assert.are.equal(EINVAL, lib.gdn_tensor_export(other.handle, good, out))
    rows:close()
    other:close()
    batch:close()
    builder:close()
  end)

  it("is made of a view that may be read, at the caller's line", function()
    local builder, batch = open("cpu", true)
    local meta = builder.metadata
    local view = meta.chunk_indices
    raises("gdnmeta.Tensor:dlpack: call it with a colon", function() view.dlpack() end)
    raises("gdnmeta.Tensor:dlpack: a vector of nums_dict, want a tensor of the metadata",
           function() meta.nums_dict[8].mlist:dlpack() end)
    assert(builder:build(batch))
    raises("gdnmeta.Tensor: stale, made at step 1, the builder is at step 2", function() view:dlpack() end)
    batch:close()
    builder:close()
    raises("gdnmeta.Tensor: builder closed", function() view:dlpack() end)
  end)
end)

describe("The memory of a CUDA builder", function()
  local driver
  before_each(function()
    driver = drivers.open("fake", false)
    collect() -- what other specs left
  end)
  after_each(function() driver:close() end)

  local function contents(export)
    local host, t = ffi.new "int32_t[8]", export.dl_tensor
    driver:call("cuCtxSetCurrent", driver.context)
    driver:call("cuMemcpyDtoHAsync_v2", host, ffi.cast("uint64_t", t.data), 8, nil)
    driver:call("cuStreamSynchronize", nil)
    driver:call("cuCtxSetCurrent", nil)
    return { host[0], host[1] }
  end

  it("is given back by the last of builder and exports, context included", function()
    for last = 1, 3 do
      local live = driver:count "live"
      local builder, batch = open("cuda", true)
      local view = builder.metadata.spec_state_indices_tensor
      local exports = { ffi.gc(view:dlpack(), nil), ffi.gc(view:dlpack(), nil) }
      batch:close()
      driver:call("cuDevicePrimaryCtxRelease_v2", 0) -- ours: from here on the context is the builder's alone
      local drops = {
        function() exports[1].deleter(exports[1]) end,
        function() exports[2].deleter(exports[2]) end,
        function() builder:close() end,
      }
      for i = 1, 3 do
        if i ~= last then drops[i]() end
      end
      assert.is_true(driver:count "live" > live, "given back too early")
      local context = ffi.new "void *[1]"
      driver:call("cuDevicePrimaryCtxRetain", context, 0)
      if last < 3 then assert.are.same({ 1, 2 }, contents(exports[last])) end
      drops[last]()
      assert.are.equal(live, driver:count "live")
      assert.are.equal(0, driver:count "overruns")
    end
  end)

  it("is given back by the collector, unless the tensor was handed on", function()
    local live = driver:count "live"
    local builder, batch = open("cuda", true)
    local handed = ffi.gc(builder.metadata.chunk_offsets:dlpack(), nil)
    assert(builder.metadata.chunk_indices:dlpack())
    batch:close()
    builder:close()
    collect()
    assert.is_true(driver:count "live" > live)
    handed.deleter(handed)
    assert.are.equal(live, driver:count "live")
  end)

  it("is given back where the context is current, and where none is", function()
    for _, current in ipairs { true, false } do
      local live = driver:count "live"
      if current then driver:call("cuCtxSetCurrent", driver.context) end
      local builder, batch = open("cuda", true)
      local export = ffi.gc(builder.metadata.chunk_indices:dlpack(), nil)
      batch:close()
      builder:close()
      driver:call("cuCtxSetCurrent", nil) -- as on another thread
      export.deleter(export)
      local now = ffi.new "void *[1]"
      driver:call("cuCtxGetCurrent", now)
      assert.is_true(now[0] == nil)
      assert.are.equal(live, driver:count "live")
    end
  end)
end)

-- Output and exit status, less what watches this process.
local function run(command)
  local pipe = assert(io.popen(("env -u LD_PRELOAD %s 2>&1; echo rc $?"):format(command)))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

describe("A deleter", function()
  it("may be called by any thread, while the builder is freed #system", function()
    local program = os.tmpname()
    local compile = "cc -std=c11 -O1 -g -fsanitize=thread -pthread -Isrc spec/support/exports.c src/*.c -o "
    assert.are.equal("rc 0\n", run(compile .. program))
    assert.are.equal("12800 38400\nrc 0\n", run(program))
    os.remove(program)
  end)

  -- A host may end its VM, and with it the last user of the library, before its consumers are done.
  it("may be called when the library is closed", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write [=[
      local ffi = require "ffi"
      require "gdnmeta.cdef"
      local function export()
        local lib = ffi.load "build/libgdnmeta.so"
        local config, b, rows = ffi.new "gdn_config", ffi.new "gdn_builder *[1]", ffi.new "gdn_batch *[1]"
        lib.gdn_config_init(config)
        assert(lib.gdn_builder_new(config, b, nil, 0) == 0 and lib.gdn_batch_new(b[0], rows) == 0)
        local batch, out = rows[0], ffi.new "gdn_dlpack *[1]"
        batch.num_rows, batch.query_len[0], batch.seq_len[0], batch.read_column[0] = 1, 3, 3, -1
        batch.num_draft_tokens[0], batch.num_accepted_tokens[0], batch.blocks[0] = -1, 1, 3
        batch.table_row[0] = -1
        assert(lib.gdn_build(b[0], batch, nil) == 0)
        local meta = lib.gdn_builder_metadata(b[0])
        assert(lib.gdn_tensor_export(b[0], meta.non_spec_state_indices_tensor, out) == 0)
        lib.gdn_batch_free(batch)
        lib.gdn_builder_free(b[0])
        return out[0]
      end
      local kept = export()
      collectgarbage() collectgarbage()
      print(ffi.cast("int32_t *", kept.dl_tensor.data)[0])
      kept.deleter(kept)
    ]=]
    file:close()
    local output = run("LUA_PATH='./lua/?.lua;;' luajit " .. path)
    os.remove(path)
    assert.are.equal("3\nrc 0\n", output)
  end)
end)
