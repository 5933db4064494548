-- Tensors for other libraries: what an export says, and whose memory it is.
--   GDN_CUDA_SPECS=cuda   tensors on a real device, too
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"
local drivers = require "spec.support.driver"
local exported = require "spec.support.exports"
local raises = require "spec.support.raises"
local array_of = require "gdnmeta.array_of"

local byte_array = array_of "uint8_t"

local EINVAL = -1
local KIND = os.getenv "GDN_CUDA_SPECS" or "fake"
local open, collect = exported.open, exported.collect

local TYPES = { int32 = { 0, 32, "int32_t *" }, int64 = { 0, 64, "int64_t *" }, bool = { 6, 8, "uint8_t *" },
                uint8 = { 1, 8, "uint8_t *" } }

local function elements(export, read)
  local t, out = export.dl_tensor, {}
  local n = tonumber(t.shape[0] * (t.ndim == 2 and t.shape[1] or 1))
  local type_ = t.bits == 8 and "uint8_t" or ("int%d_t"):format(t.bits)
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
        local copy = byte_array(bytes + 1)
        driver:call("cuMemcpyDtoHAsync_v2", copy, ffi.cast("uint64_t", memory), bytes, nil)
        driver:call("cuStreamSynchronize", nil)
        return copy
      end

      it("is the view's memory, element by element, whichever it is", function()
        local seen = {}
        for _, made in ipairs { { open, true }, { open, false }, { exported.open_kept },
                           { exported.open_bucket } } do
          batch:close()
          builder:close()
          builder, batch = made[1](device, made[2])
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

      it("lives on when its builder is not held", function()
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
    tensor.dtype = 4
    refused "tensor.dtype = 4, want 0 .. 3"
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
    ffi.copy(tensor, good, ffi.sizeof(tensor))
    tensor.ndim, tensor.shape[0], tensor.shape[1], tensor.dtype = 1, builder.bytes, 1, 1
    refused(("%d elements at 0x"):format(builder.bytes))
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
