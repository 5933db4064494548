-- Every byte of a record counts: one that differs under a right checksum is refused, or it is read and packs
-- again to the bytes that came. What a reader loses, no check could find.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local libc = require "gdnmeta.native.libc"
local lib = require "gdnmeta.native"
local records = require "spec.support.step_records"
local sealed = require "spec.support.sealed"

local int32s = gdn.array_of "int32_t"
local ROOM, why = 8192, records.why

local function is_bytes(bytes) return assert(tonumber(bytes) > 0 and tonumber(bytes), records.said()) end

-- tokens: of the prefill. 8 of them leave 4 bytes of the last word.
local function of_step(builder, hello, tokens)
  local batch, rows = assert(builder:batch()), 3
  assert(batch:push(0, 3, 13, true, 2, 2))
  assert(batch:push(1, 1, 9, true))
  assert(batch:push(2, tokens, 20, false))
  for row = 0, rows - 1 do builder:set_blocks(0, row, { 3 * row + 1, 3 * row + 2, 3 * row + 3 }) end
  local changes = int32s(3, { 0, 2, 9 })
  local rest, held = records.rest({ num_rows = rows, num_tokens = 4 + tokens, number = 77, graph = "full",
                                    samples = int32s(3, { 1, 1, 0 }) },
                                  { table_changes = changes, num_table_changes = 1 })
  local memory = records.memory(ROOM)
  local bytes = lib.gdn_step_pack_batch(builder.handle, batch.rows, rest, hello, memory, ROOM, why, 512)
  assert(held)
  return memory, is_bytes(bytes)
end

local function of_result(fields)
  local r, emitted, tokens = ffi.new "gdn_result_record", int32s(2, { 2, 1 }), int32s(3, { 7, 8, 9 })
  local drafts, next_drafts = int32s(1, { 4 }), int32s(2, { 0, 1 })
  r.number, r.num_rows, r.num_tokens, r.num_drafts = 5, 2, 3, fields.next_drafts and 1 or 0
  r.emitted, r.tokens, r.drafts, r.text, r.text_bytes = emitted, tokens, drafts, fields.text, #fields.text
  r.next_drafts = fields.next_drafts and next_drafts or nil
  local memory = records.memory(ROOM)
  return memory, is_bytes(lib.gdn_result_pack(r, memory, ROOM, why, 512))
end

local function of_hello(hello)
  local memory = records.memory(ROOM)
  return memory, is_bytes(lib.gdn_hello_pack(hello, memory, ROOM, why, 512))
end

-- Each byte another, in four ways. again(memory, bytes, out): how many bytes were packed of what was read, or
-- nil where the record is refused.
local function try_each_byte(memory, bytes, again)
  local lying, out, refused, equal = records.memory(ROOM), records.memory(ROOM), 0, 0
  local at = ffi.cast("uint8_t *", lying)
  for k = 0, bytes - 1 do
    for _, bits in ipairs { 1, 2, 0x80, 0xff } do
      ffi.copy(lying, memory, bytes)
      at[k] = bit.bxor(at[k], bits)
      -- Not where the checksum stands, and none over a length that is not there.
      if tonumber(lying[1]) == bytes and math.floor(k / 8) ~= 15 then sealed.seal(lying) end
      local packed = again(lying, bytes, out)
      if packed then
        assert.message(("byte %d by 0x%x"):format(k, bits)).are.equal(bytes, tonumber(packed))
        assert.message(("byte %d by 0x%x"):format(k, bits)).are.equal(0, libc.libc_memcmp(lying, out, bytes))
        equal = equal + 1
      else
        assert.is_true(#records.said() > 0)
        refused = refused + 1
      end
    end
  end
  assert.is_true(refused > bytes and equal > 0)
end

describe("Every byte of a record", function()
  local builder, hello
  setup(function()
    builder = records.builder { num_groups = 1 }
    hello = records.full_hello(builder)
  end)
  teardown(function() builder:close() end)

  it("counts in a step, with and without a rest of the last word", function()
    for _, case in ipairs { { 7, hello }, { 8, hello }, { 8 } } do
      local limits = case[2]
      local memory, bytes = of_step(builder, hello, case[1])
      try_each_byte(memory, bytes, function(lying, length, out)
        local step = records.unpack(lying, length, limits)
        return step and lib.gdn_step_pack(step, limits, out, length, why, 512)
      end)
    end
  end)

  it("counts in a result, whatever its length leaves of the last word", function()
    local view = ffi.new "gdn_result_record"
    for _, fields in ipairs { { text = "" }, { text = "a" }, { text = "abc", next_drafts = true },
                              { text = "abcdefg", next_drafts = true } } do
      local memory, bytes = of_result(fields)
      try_each_byte(memory, bytes, function(lying, length, out)
        if lib.gdn_result_unpack(lying, length, view, why, 512) ~= 0 then return end
        return lib.gdn_result_pack(view, out, length, why, 512)
      end)
    end
  end)

  it("counts in a hello, its configuration as well", function()
    local memory, bytes = of_hello(hello)
    local view = ffi.new "gdn_hello"
    try_each_byte(memory, bytes, function(lying, length, out)
      if lib.gdn_hello_unpack(lying, length, view, why, 512) ~= 0 then return end
      return lib.gdn_hello_pack(view, out, length, why, 512)
    end)
  end)
end)
