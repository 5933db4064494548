-- Where a builder's tensors begin and end, to the byte: what is read or lent to others lies between.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"

local bytes_of = require "gdnmeta.array_of" "uint8_t"

local UINT8, INT64 = 3, 1 -- as tensor.dtype says it

describe("The memory of a builder's tensors", function()
  local builder, first, size

  local function said() return ffi.string(lib.gdn_last_error(builder.handle)) end

  -- Both forms of an export, and a read where elements are bytes: all are taken, or none. `at` is in bytes.
  local function is_taken(at, elements, dtype)
    local tensor, place = ffi.new "gdn_tensor", ffi.cast("char *", first) + at
    tensor.data, tensor.dtype, tensor.ndim = place, dtype or UINT8, 1
    tensor.shape[0], tensor.shape[1] = elements, 1
    local out, older = ffi.new "gdn_dlpack *[1]", ffi.new "gdn_dlpack_unversioned *[1]"
    local status = tonumber(lib.gdn_tensor_export(builder.handle, tensor, out))
    local words = status ~= 0 and said()
    if status == 0 then out[0].deleter(out[0]) end
    assert.are.equal(status, tonumber(lib.gdn_tensor_export_unversioned(builder.handle, tensor, older)))
    if status == 0 then older[0].deleter(older[0]) else assert.are.equal(words, said()) end
    if not dtype then
      local to = bytes_of(math.max(elements, 1))
      assert.are.equal(status, tonumber(lib.gdn_builder_read(builder.handle, to, place, elements)))
      if status ~= 0 then
        assert.matches(("^%d bytes at .* are not within the builder's tensors$"):format(elements), said())
      end
    end
    return status == 0, words
  end

  -- The largest n up to `most` for which `is` holds, which it does for 0.
  local function largest(most, is)
    local low, high = 0, most + 1
    while high - low > 1 do
      local middle = math.floor((low + high) / 2)
      if is(middle) then low = middle else high = middle end
    end
    return low
  end

  before_each(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_num_batched_tokens = 8 })
    local batch = assert(builder:batch())
    batch:push(0, 1, 9, true)
    builder:table(0)[0] = 1
    assert(builder:build(batch))
    batch:close()
    first = lib.gdn_builder_metadata(builder.handle).non_spec_query_start_loc.data
    local before = largest(builder.bytes, function(n) return is_taken(-n, 0) end)
    first = ffi.cast("char *", first) - before
    size = largest(builder.bytes, function(n) return is_taken(0, n) end)
  end)
  after_each(function() builder:close() end)

  it("is read and exported whole, and nothing beside it", function()
    assert.is_true(size > 64 and size < builder.bytes)
    assert.are.equal(0, size % 8)
    for _, at in ipairs { 0, 1, 8, size - 8, size - 1, size } do
      assert.is_true((is_taken(at, 0)))
      assert.is_true((is_taken(at, size - at)))
      local many = size - at + 1
      local ok, words = is_taken(at, many)
      assert.is_false(ok)
      assert.matches(("^%d elements at .* are not within the builder's tensors$"):format(many), words)
    end
    for _, at in ipairs { -1, size + 1 } do
      for _, n in ipairs { 0, 1 } do assert.is_false((is_taken(at, n))) end
    end
  end)

  it("is exported in elements of every size, each on a multiple of it", function()
    for dtype, bytes in pairs { [0] = 4, [INT64] = 8, [2] = 1, [UINT8] = 1 } do
      assert.is_true((is_taken(size, 0, dtype)))
      assert.is_true((is_taken(0, size / bytes, dtype)))
      assert.is_true((is_taken(size - bytes, 1, dtype)))
      assert.is_false((is_taken(size - bytes, 2, dtype)))
      assert.is_false((is_taken(0, size / bytes + 1, dtype)))
      for at = 1, bytes - 1 do
        local ok, words = is_taken(at, 1, dtype)
        assert.is_false(ok)
        assert.matches(("^tensor.data = .*, want a multiple of %d bytes$"):format(bytes), words)
      end
    end
  end)
end)
