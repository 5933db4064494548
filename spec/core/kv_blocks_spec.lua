-- Blocks of an attention cache in C: who holds which, and where a step's tokens lie.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"

local OK, EINVAL, ECAP = 0, -1, -3

local builder

local function make(num_blocks, block_size, rows, columns)
  local out = ffi.new "gdn_kv *[1]"
  local config = ffi.new("gdn_kv_config", num_blocks, block_size, rows, columns, 1)
  assert.are.equal(OK, tonumber(lib.gdn_kv_new(builder.handle, config, out)))
  return ffi.gc(out[0], lib.gdn_kv_free)
end

local function ints(list) return ffi.new("int32_t[16]", list) end
local function code(status) return tonumber(status) end

local function blocks_of(kv, row, columns, n)
  local list = {}
  for c = 1, n do list[c] = lib.gdn_kv_table(kv)[row * columns + c - 1] end
  return list
end

describe("Blocks of an attention cache", function()
  setup(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 32 })
  end)
  teardown(function() builder:close() end)

  it("fill a row, all that it lacks or nothing, and come back when it is cleared", function()
    local kv = make(5, 4, 3, 4)
    assert.are.equal(OK, code(lib.gdn_kv_extend(kv, 0, 2)))
    assert.are.equal(OK, code(lib.gdn_kv_extend(kv, 1, 1)))
    assert.are.equal(OK, code(lib.gdn_kv_extend(kv, 1, 2)))
    assert.are.equal(ECAP, code(lib.gdn_kv_extend(kv, 2, 2)))
    assert.are.equal(0, lib.gdn_kv_length(kv, 2))
    assert.are.same({ 0, 1 }, blocks_of(kv, 0, 4, 2))
    assert.are.same({ 2, 3 }, blocks_of(kv, 1, 4, 2))
    assert.are.equal(EINVAL, code(lib.gdn_kv_extend(kv, 0, 5))) -- wider than the table
    assert.are.equal(OK, code(lib.gdn_kv_clear(kv, 0)))
    assert.are.equal(3, lib.gdn_kv_available(kv))
    assert.are.same({ 0, 0 }, blocks_of(kv, 0, 4, 2))
  end)

  it("count who holds them, and are free when the last one drops them", function()
    local kv = make(6, 4, 3, 4)
    lib.gdn_kv_extend(kv, 0, 3)
    assert.are.equal(OK, code(lib.gdn_kv_share(kv, 1, ints { 0, 1 }, 2)))
    assert.are.equal(OK, code(lib.gdn_kv_hold(kv, ints { 0 }, 1)))
    assert.are.same({ 3, 2, 1, 0 }, { lib.gdn_kv_holders(kv, 0), lib.gdn_kv_holders(kv, 1),
                                      lib.gdn_kv_holders(kv, 2), lib.gdn_kv_holders(kv, 3) })
    assert.are.equal(1, lib.gdn_kv_sole(kv, 0))
    assert.are.equal(OK, code(lib.gdn_kv_extend(kv, 1, 3)))
    assert.are.same({ 0, 1, 3 }, blocks_of(kv, 1, 4, 3))
    lib.gdn_kv_clear(kv, 0)
    assert.are.equal(3, lib.gdn_kv_available(kv)) -- 2, 4 and 5
    lib.gdn_kv_clear(kv, 1)
    assert.are.equal(5, lib.gdn_kv_available(kv))
    assert.are.equal(OK, code(lib.gdn_kv_drop(kv, ints { 0 }, 1)))
    assert.are.equal(6, lib.gdn_kv_available(kv))
  end)

  it("are taken for no row, all that are asked for or none", function()
    local kv, out = make(3, 4, 1, 3), ints { -7, -7, -7, -7 }
    assert.are.equal(ECAP, code(lib.gdn_kv_take(kv, 4, out)))
    assert.are.same({ -7, 3 }, { out[0], lib.gdn_kv_available(kv) })
    assert.are.equal(OK, code(lib.gdn_kv_take(kv, 2, out)))
    assert.are.same({ 0, 1, -7, 1 }, { out[0], out[1], out[2], lib.gdn_kv_available(kv) })
    assert.are.equal(ECAP, code(lib.gdn_kv_take(kv, 2, out)))
    assert.are.equal(OK, code(lib.gdn_kv_take(kv, 0, nil)))
    for _, wrong in ipairs { { kv, -1, out }, { kv, 1, nil }, { nil, 1, out } } do
      assert.are.equal(EINVAL, code(lib.gdn_kv_take(wrong[1], wrong[2], wrong[3])))
    end
    assert.are.equal(OK, code(lib.gdn_kv_drop(kv, out, 2)))
    assert.are.equal(3, lib.gdn_kv_available(kv))
  end)

  it("refuse what nothing holds, rows that have some, and unknown ones", function()
    local kv = make(6, 4, 3, 4)
    lib.gdn_kv_extend(kv, 0, 1)
    assert.are.equal(EINVAL, code(lib.gdn_kv_share(kv, 1, ints { 0, 1 }, 2)))
    assert.are.equal(0, lib.gdn_kv_length(kv, 1))
    assert.are.equal(1, lib.gdn_kv_holders(kv, 0))
    assert.are.equal(EINVAL, code(lib.gdn_kv_share(kv, 0, ints { 0 }, 1)))
    for _, block in ipairs { -1, 6, 3 } do
      assert.are.equal(EINVAL, code(lib.gdn_kv_hold(kv, ints { block }, 1)))
      assert.are.equal(EINVAL, code(lib.gdn_kv_drop(kv, ints { block }, 1)))
    end
    for _, row in ipairs { -1, 3 } do
      assert.are.equal(EINVAL, code(lib.gdn_kv_extend(kv, row, 1)))
      assert.are.equal(EINVAL, code(lib.gdn_kv_clear(kv, row)))
    end
  end)

  it("say where each token of a step lies, and that padding lies nowhere", function()
    local kv = make(9, 4, 3, 4)
    lib.gdn_kv_extend(kv, 2, 1)
    lib.gdn_kv_extend(kv, 0, 3) -- 1, 2, 3
    lib.gdn_kv_extend(kv, 2, 2) -- 0, 4
    -- Row 2 has tokens 3 .. 5, row 0 tokens 2 .. 8.
    local status = lib.gdn_kv_map(kv, 0, 2, ints { 2, 0 }, ints { 3, 7 }, ints { 6, 9 }, 12)
    assert.are.equal(OK, code(status))
    local got = {}
    for t = 0, 11 do got[t + 1] = tonumber(lib.gdn_kv_mapping(kv, 0)[t]) end
    assert.are.same({ 3, 16, 17, 6, 7, 8, 9, 10, 11, 12, -1, -1 }, got)
    local function refused(row, n, ends, padded)
      return code(lib.gdn_kv_map(kv, 0, 1, ints { row }, ints { n }, ints { ends }, padded))
    end
    assert.are.equal(EINVAL, refused(2, 1, 9, 4)) -- no block
    assert.are.equal(EINVAL, refused(0, 5, 9, 4)) -- fewer places than tokens
    assert.are.equal(ECAP, code(lib.gdn_kv_map(kv, 0, 0, ints {}, ints {}, ints {}, 33)))
  end)
end)
