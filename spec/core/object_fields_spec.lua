-- Fields of the library, of metadata and of batches: what they are before and after a build, what is
-- remembered and what is not, and what is written to a batch's memory.
local array_of = require "gdnmeta.array_of"
local draw_rows = require "gdnmeta.metadata.draw_rows"
local drivers = require "spec.support.driver"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local stands = require "spec.support.stands"

local int32s = array_of "int32_t"

local function make(options)
  local o = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64, num_slots = 8 }
  for name, value in pairs(options or {}) do o[name] = value end
  return assert(gdn.builder(o))
end

describe("The library", function()
  it("has these numbers", function()
    assert.are.same({ 1, 2, -1, -2, -3, -4, -5 },
      { gdn.STOP, gdn.LENGTH, gdn.EINVAL, gdn.ENOMEM, gdn.ECAP, gdn.EGUARD, gdn.EDEVICE })
  end)

  it("loads a module once, and may be given more", function()
    local lazy = { "cache", "engine", "metrics", "worker", "policy", "record", "reference", "sim" }
    for _, name in ipairs(lazy) do
      rawset(gdn, name, nil)
      local module = gdn[name]
      assert.is_truthy(module)
      assert.is_true(rawequal(module, rawget(gdn, name)) and rawequal(module, require("gdnmeta." .. name)))
    end
    gdn.mine = 5
    assert.are.equal(5, rawget(gdn, "mine"))
    gdn.mine = nil
    stands("gdnmeta: no field", function() return gdn.mine end)
  end)

  it("fills an array whole, or with the first elements of a list", function()
    for n = 0, 3 do
      local array = int32s(n + 1, 7)
      for i = 0, n do assert.are.equal(7, array[i]) end
    end
    local array = int32s(3, { 5, 6 })
    assert.are.same({ 5, 6, 0 }, { array[0], array[1], array[2] })
  end)
end)

describe("Metadata", function()
  local builder, batch
  before_each(function()
    builder = make { num_groups = 2 }
    batch = builder:batch()
  end)
  after_each(function() builder:close() end)

  local function build(...)
    batch:clear()
    for n, query_len in ipairs { ... } do
      batch:add { query_len = query_len, seq_len = query_len, blocks = { { n }, { n + 3 } } }
    end
    return assert(builder:build(batch))
  end

  it("is of step 0 before a build, of each group too", function()
    local meta = builder.metadata
    for _, object in ipairs { meta, meta:group(0), meta:group(1) } do
      assert.are.same({ 0, 0 }, { object.step, object.num_rows })
      assert.is_nil(object.batch_ptr)
      assert.are.equal("gdnmeta.Metadata: step 0, 0 rows, 0 tokens", tostring(object))
    end
  end)

  it("is one object, whose views are of the step and of the group", function()
    local meta = build(3)
    local first, second = meta:group(0), meta:group(1)
    assert.is_true(rawequal(first, meta:group(0)) and rawequal(second, first:group(1)))
    for step = 1, 3 do
      local seen = { meta.step, first.step, second.step, second.num_prefill_tokens,
                     first.non_spec_state_indices_tensor[0], second.non_spec_state_indices_tensor[0] }
      assert.are.same({ step, step, step, step == 1 and 3 or step + 4, 1, 4 }, seen)
      assert.is_true(rawequal(meta.batch_ptr, meta.batch_ptr))
      assert.is_nil(meta.spec_token_indx)
      assert.is_nil(meta.uniform_spec_sequence_length)
      build(step + 5)
    end
  end)

  it("draws a step of one row, one without rows, and one whose rows cannot be drawn", function()
    local text = tostring(build(3))
    assert.are.equal("gdnmeta.Metadata: step 1, 1 row, 3 tokens\n"
      .. "      row  class        tokens  positions       reads  writes\n"
      .. "        0  prefill           3  0 .. 2          fresh  1", text)
    local draw = stub(draw_rows, "draw", function() error "cannot" end)
    text = tostring(builder.metadata)
    draw:revert()
    assert.matches("^gdnmeta.Metadata: step 1, 1 row, 3 tokens\n  p  prefills  ", text)
    assert.are.equal("gdnmeta.Metadata: step 2, 0 rows, 0 tokens", tostring(build()))
  end)

  it("says why a group's cannot be had", function()
    local was = package.loaded["gdnmeta.metadata"]
    package.loaded["gdnmeta.metadata"], package.loaded["gdnmeta.native"] = nil, setmetatable({}, {
      __index = function(_, name)
        return name == "gdn_metadata_group" and function() return gdn.EDEVICE end or lib[name]
      end,
    })
    local metadata = require "gdnmeta.metadata"
    package.loaded["gdnmeta.metadata"], package.loaded["gdnmeta.native"] = was, lib
    local meta = build(3)
    local other = metadata.new(meta.core, meta.struct, 2)
    assert.are.equal(1, other.num_rows)
    local ok, message = pcall(function() return other:group(1).num_rows end)
    local why = require("ffi").string(lib.gdn_strstatus(gdn.EDEVICE))
    assert.are.same({ false, "gdnmeta.Metadata: " .. why }, { ok, message })
  end)
end)

describe("A batch", function()
  it("names rows that no batch can have", function()
    local builder = make()
    local batch = builder:batch()
    for _, n in ipairs { -1, batch.max_rows + 1 } do
      batch.rows.num_rows = n
      stands(("gdnmeta.Batch:pad: num_rows = %d, want an integer in 0 .. %d"):format(n, batch.max_rows),
        function() batch:pad(1, 1) end)
    end
    batch:clear()
    builder:close()
  end)

  it("gives rows without an index their own number, from the first index on", function()
    local driver = drivers.open "fake"
    local builder = make { device = "cuda" }
    local batch = builder:batch()
    local rows, most = batch.rows, batch.max_rows
    local function indices(name)
      local list = {}
      for i = 0, most - 1 do list[i + 1] = rows[name][i] end
      return list
    end
    local function but(place, value)
      local list = {}
      for i = 1, most do list[i] = i == place and value or -1 end
      return list
    end
    for i = 0, most - 1 do rows.seq_index[i], rows.accepted_index[i] = 9, 9 end
    for n = 0, 2 do batch:push(n, 1, 1, false) end
    assert.are.equal(0, rows.indexed)
    batch:index(1, 5)
    assert.are.same({ 1, but(2, 5), but(2, -1) },
      { rows.indexed, indices "seq_index", indices "accepted_index" })
    batch:index(2, -1, 6)
    assert.are.same({ 1, but(2, 5), but(3, 6) },
      { rows.indexed, indices "seq_index", indices "accepted_index" })
    batch:clear()
    assert.are.equal(0, rows.indexed)
    builder:close()
    driver:close()
  end)
end)
