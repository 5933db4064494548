-- Records and their arrays at the end of readable memory: nothing behind the last element is read or written,
-- and what stands behind the rows of a batch is no part of a step.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local libc = require "gdnmeta.native.libc"
local page_end = require "spec.support.page_end"
local records = require "spec.support.step_records"
local sealed = require "spec.support.sealed"

local int32s = gdn.array_of "int32_t"
local why, said = records.why, records.said
local ROWS, GROUPS, TOKENS, ROOM = 3, 2, 24, 8192

-- Element and count of each array of the step.
local ARRAYS = {
  request = { "int64_t", ROWS }, seed = { "uint64_t", ROWS }, query_len = { "int32_t", ROWS },
  seq_len = { "int32_t", ROWS }, drafts = { "int32_t", ROWS }, accepted_tokens = { "int32_t", ROWS },
  prompt_done = { "int32_t", ROWS }, table_row = { "int32_t", ROWS }, read_column = { "int32_t", ROWS },
  checkpoint_len = { "int32_t", ROWS }, samples = { "int32_t", ROWS }, temperature = { "float", ROWS },
  top_p = { "float", ROWS }, slots = { "int32_t", 3 * ROWS * GROUPS },
  read_slots = { "int32_t", ROWS * GROUPS },
  checkpoint_slot = { "int32_t", ROWS * GROUPS }, tokens = { "int32_t", TOKENS },
  table_changes = { "int32_t", 6 }, kv_copies = { "int32_t", 2 },
}
local OF_BATCH = { query_len = "query_len", seq_len = "seq_len", drafts = "num_draft_tokens",
                   accepted_tokens = "num_accepted_tokens", prompt_done = "prompt_done",
                   table_row = "table_row", read_column = "read_column", checkpoint_len = "checkpoint_len" }

local function sample()
  local s = { builder = records.builder { checkpoint_any = true }, ends = page_end.new() }
  s.hello = records.full_hello(s.builder)
  s.batch = assert(s.builder:batch())
  assert(s.batch:push(0, 3, 13, true, 2, 2))
  assert(s.batch:push(1, 1, 9, true))
  assert(s.batch:push(2, 20, 20, false))
  local rows = s.batch.rows
  rows.checkpoint_len[2] = 16
  for group = 0, 1 do
    for row = 0, 2 do
      s.builder:set_blocks(group, row, { 9 * group + 3 * row + 1, 9 * group + 3 * row + 2,
                                         9 * group + 3 * row + 3 })
    end
    rows.checkpoint_slot[group * rows.max_rows + 2] = 30 + group
  end
  s.changes, s.copies = s.ends.array("int32_t", 6, { 0, 2, 9, 1, 7, 31 }),
    s.ends.array("int32_t", 2, { 4, 5 })
  local rest, held = records.rest({ num_rows = ROWS, num_tokens = TOKENS, number = 77, graph = "full",
                                    samples = int32s(ROWS, { 1, 1, 0 }) },
    { table_changes = s.changes, num_table_changes = 2, branches = 7, kv_copies = s.copies,
      num_kv_copies = 1 })
  for _, name in ipairs { "request", "seed", "temperature", "top_p", "samples", "tokens" } do
    local element, n = unpack(ARRAYS[name])
    rest[name] = s.ends.array(element, n, rest[name])
  end
  s.rest, s.held = rest, held
  function s.pack(memory, size)
    return tonumber(lib.gdn_step_pack_batch(s.builder.handle, rows, rest, s.hello, memory, size, why, 512))
  end
  s.memory = records.memory(ROOM)
  s.bytes = s.pack(s.memory, ROOM)
  assert(s.bytes > 0, said())
  return s
end

-- The step with each array at the end of a page of its own.
local function apart(s)
  local step = assert(records.unpack(s.memory, s.bytes, s.hello))
  for name, array in pairs(ARRAYS) do step[name] = s.ends.array(array[1], array[2], step[name]) end
  return step
end

local function result_of(ends)
  local r = ffi.new "gdn_result_record"
  r.number, r.num_rows, r.num_tokens, r.num_drafts, r.text_bytes = 5, 3, 3, 1, 4
  r.emitted, r.tokens = ends.array("int32_t", 3, { 2, 1, 0 }), ends.array("int32_t", 3, { 7, 8, 9 })
  r.next_drafts, r.drafts = ends.array("int32_t", 3, { 1, 0, 0 }), ends.array("int32_t", 1, { 4 })
  r.text = ends.array("char", 4, "well")
  return r
end

local function same(a, b, bytes) assert.are.equal(0, libc.libc_memcmp(a, b, bytes)) end

describe("At the end of readable memory", function()
  local s
  setup(function() s = sample() end)
  teardown(function() s.builder:close() end)

  it("a record is read to its last byte and no further, however short it is", function()
    local memory, out = records.memory(ROOM), { step = ffi.new "gdn_step_record", hello = ffi.new "gdn_hello",
                                                result = ffi.new "gdn_result_record" }
    local kinds = {
      step = { s.memory, s.bytes, function(at, n, ...)
        return lib.gdn_step_unpack(at, n, s.hello, out.step, ...)
      end },
      hello = { records.memory(ROOM), 0, function(at, n, ...)
        return lib.gdn_hello_unpack(at, n, out.hello, ...)
      end },
      result = { memory, 0, function(at, n, ...)
        return lib.gdn_result_unpack(at, n, out.result, ...)
      end },
    }
    kinds.hello[2] = tonumber(lib.gdn_hello_pack(s.hello, kinds.hello[1], ROOM, why, 512))
    kinds.result[2] = tonumber(lib.gdn_result_pack(result_of(s.ends), memory, ROOM, why, 512))
    for kind, of in pairs(kinds) do
      local whole, bytes, read = unpack(of)
      assert.is_true(bytes > 128, kind)
      for n = 0, bytes, 8 do
        local at, held = page_end.bytes(n)
        ffi.copy(at, whole, n)
        local status = tonumber(read(at, n, why, 512))
        if n == bytes then
          assert.are.same({ kind, 0 }, { kind, status })
        else
          local want = n < 128 and "a record of %d bytes, want >= 128"
            or "bytes = " .. bytes .. " in a record of %d, want those, in units of 8"
          assert.are.same({ kind, gdn.EINVAL, want:format(n) }, { kind, status, said() })
          ffi.fill(why, 512, 65)
          assert.are.equal(status, tonumber(read(at, n, nil, 512)))
          assert.are.equal(status, tonumber(read(at, n, why, 0)))
          assert.are.equal("AA", ffi.string(why, 2))
          assert.are.equal(status, tonumber(read(at, n, why, 2)))
          assert.are.equal(want:sub(1, 1), ffi.string(why))
        end
        assert(held)
      end
    end
  end)

  it("a hello without groups is none, nor one that ends in its configuration", function()
    local memory, out, size = records.memory(ROOM), ffi.new "gdn_hello", ffi.sizeof "gdn_config"
    assert(lib.gdn_hello_pack(s.hello, memory, ROOM, why, 512) > 0)
    local bytes = 128 + 8 + size
    for k, want in pairs { [0] = ("a hello of %d bytes for 2 groups"):format(bytes),
                           [-8] = ("a configuration of %d bytes, want %d"):format(size, size) } do
      local at, held = page_end.bytes(bytes + k)
      ffi.copy(at, memory, bytes + k)
      local words = ffi.cast("int64_t *", at)
      words[1] = bytes + k
      sealed.seal(words)
      assert.are.equal(gdn.EINVAL, tonumber(lib.gdn_hello_unpack(at, bytes + k, out, why, 512)))
      assert.are.equal(want, said())
      assert(held)
    end
    -- Nor one of more groups than there may be, or fewer, though it is as long as it says.
    for _, groups in ipairs { -2, -1, 0, 65, 66 } do
      local n = math.ceil((bytes + 4 * groups) / 8) * 8
      local at, held = page_end.bytes(n)
      ffi.copy(at, memory, math.min(n, bytes))
      local config = ffi.cast("gdn_config *", at + 136)
      config.num_groups = groups
      ffi.cast("int64_t *", at)[1] = n
      sealed.seal(ffi.cast("int64_t *", at))
      assert.are.equal(gdn.EINVAL, tonumber(lib.gdn_hello_unpack(at, n, out, why, 512)))
      assert.are.equal(n < bytes and ("a configuration of %d bytes, want %d"):format(size, size)
        or ("a hello of %d bytes for %d groups"):format(n, groups), said())
      assert(held)
    end
  end)

  it("a step's arrays are packed, under limits and without, into just the bytes that it takes", function()
    local step = apart(s)
    local config = s.hello.config
    config.num_slots = s.ends.array("int32_t", GROUPS, config.num_slots)
    local out = s.ends.array("uint8_t", s.bytes)
    for _, limits in ipairs { s.hello, false } do
      local function pack(bytes)
        return tonumber(lib.gdn_step_pack(step, limits or nil, out, bytes, why, 512))
      end
      ffi.fill(out, s.bytes)
      assert.are.equal(gdn.ECAP, pack(s.bytes - 8))
      assert.are.equal(s.bytes, pack(s.bytes))
      same(out, s.memory, s.bytes)
    end
    ffi.fill(out, s.bytes)
    assert.are.equal(s.bytes, s.pack(out, s.bytes))
    same(out, s.memory, s.bytes)
    local memory = records.memory(ROOM)
    local bytes = tonumber(lib.gdn_hello_pack(s.hello, memory, ROOM, why, 512))
    out = s.ends.array("uint8_t", bytes)
    assert.are.equal(bytes, tonumber(lib.gdn_hello_pack(s.hello, out, bytes, why, 512)))
    same(out, memory, bytes)
  end)

  it("a step becomes a batch: its rows, and nothing behind them", function()
    local step, batch = apart(s), assert(s.builder:batch())
    local rows = batch.rows
    local most = rows.max_rows
    for _, name in pairs(OF_BATCH) do
      for row = 0, most - 1 do rows[name][row] = 77 end
    end
    for k = 0, GROUPS * most - 1 do rows.checkpoint_slot[k] = 77 end
    for k = 0, GROUPS * most * rows.max_blocks_per_row - 1 do rows.blocks[k] = 77 end
    assert.are.equal(0, tonumber(lib.gdn_step_batch(step, s.builder.handle, rows, why, 512)))
    for name, its in pairs(OF_BATCH) do
      for row = 0, most - 1 do
        local want = row >= ROWS and 77 or name == "table_row" and -1 - row or step[name][row]
        assert.message(name .. row).are.equal(want, rows[its][row])
      end
    end
    for g = 0, GROUPS - 1 do
      for row = 0, most - 1 do
        local want = row < ROWS and step.checkpoint_slot[g * ROWS + row] or 77
        assert.are.equal(want, rows.checkpoint_slot[g * most + row])
        for k = 0, 2 do
          want = row < ROWS and step.slots[(g * ROWS + row) * 3 + k] or 77
          assert.are.equal(want, rows.blocks[(g * most + row) * 3 + k])
        end
      end
    end
    assert.are.same({ 0, 0, 30, 0, 0, 31 }, { step.checkpoint_slot[0], step.checkpoint_slot[1],
      step.checkpoint_slot[2], step.checkpoint_slot[3], step.checkpoint_slot[4], step.checkpoint_slot[5] })
    batch:close()
  end)

  it("what stands behind a batch's rows is no part of its step", function()
    local rows, again = s.batch.rows, records.memory(ROOM)
    for _, value in ipairs { 1, 16, -1, 2 ^ 31 - 1 } do
      for row = ROWS, rows.max_rows - 1 do
        for _, name in pairs(OF_BATCH) do rows[name][row] = value end
        for g = 0, GROUPS - 1 do rows.checkpoint_slot[g * rows.max_rows + row] = value end
      end
      assert.are.equal(s.bytes, s.pack(again, ROOM), said())
      same(again, s.memory, s.bytes)
    end
  end)

  it("a result is packed, and copied, to its last element", function()
    local ends = page_end.new()
    local r = result_of(ends)
    local out, held = page_end.bytes(176)
    assert.are.equal(176, tonumber(lib.gdn_result_pack(r, out, 176, why, 512)))
    local e, t, n, d = ends.array("int32_t", 3), ends.array("int32_t", 3), ends.array("int32_t", 3),
      ends.array("int32_t", 1)
    lib.gdn_result_copy(r, e, t, n, d)
    assert.are.same({ 2, 1, 0, 7, 8, 9, 1, 0, 0, 4 },
      { e[0], e[1], e[2], t[0], t[1], t[2], n[0], n[1], n[2], d[0] })
    assert(held)
  end)

  it("changes of the kv table are those of the rows", function()
    local ends = page_end.new()
    local sent, out = ends.array("gdn_kv_sent", 2), ends.array("int32_t", 15)
    ffi.fill(sent, 2 * ffi.sizeof "gdn_kv_sent", 0xff)
    local kv = ends.array("int32_t", 6, { 5, 6, 7, 8, 9, 10 })
    assert.are.equal(5, tonumber(lib.gdn_kv_changes(2, ends.array("int32_t", 2, { 1, 0 }),
      ends.array("int64_t", 2, { 3, 4 }), ends.array("int32_t", 2, { 3, 2 }), kv, 2, 3, sent, out, 5)))
    -- Without a column, or a row, there is nothing to send.
    local function none(rows, columns)
      local table_row, owner = ends.array("int32_t", 2, { 1, 0 }), ends.array("int64_t", 2, { 3, 4 })
      return tonumber(lib.gdn_kv_changes(rows, table_row, owner, ends.array("int32_t", 2), kv, rows, columns,
        sent, out, 0))
    end
    assert.are.same({ 0, 0, 0, 0 }, { none(2, 3), none(2, 0), none(0, 3), none(0, 0) })
    assert.are.same({ -1, -1 }, { none(2, -1), none(-1, 3) })
    local list = {}
    for k = 0, 14 do list[k + 1] = out[k] end
    assert.are.same({ 1, 0, 8, 1, 1, 9, 1, 2, 10, 0, 0, 5, 0, 1, 6 }, list)
  end)
end)

describe("A step of a batch", function()
  -- Drafts, accepted tokens and the column that is read of a row of three blocks; is its state brought?
  local BRING = {
    { -1, 1, 0, 0 }, { -1, 2, 0, 1 }, { -1, 3, 0, 1 }, { 0, 1, 0, 0 }, { 0, 2, 0, 0 }, { 0, 3, 0, 0 },
    { -1, 1, 1, 1 }, { 0, 1, 1, 1 }, { 0, 1, 2, 1 }, { 0, 1, -2, 0 }, { 0, 2, -2, 1 }, { 0, 3, -2, 1 },
    { -1, 1, -1, 0 }, { 0, 1, -1, 0 },
  }
  it("says how many states are to be brought", function()
    local s = sample()
    for _, c in ipairs(BRING) do
      local rows, memory = s.batch.rows, records.memory(ROOM)
      rows.num_draft_tokens[1], rows.num_accepted_tokens[1], rows.read_column[1] = c[1], c[2], c[3]
      rows.read_column[0] = 0
      local bytes = s.pack(memory, ROOM)
      assert(bytes > 0, said())
      local step = assert(records.unpack(memory, bytes, s.hello))
      assert.message(table.concat(c, " ")).are.equal(c[4], step.num_bring)
    end
    s.builder:close()
  end)

  it("is none where the batch has inputs on a device", function()
    local s = sample()
    s.batch.rows.indexed = 1
    assert.are.equal(gdn.EINVAL, s.pack(s.memory, ROOM))
    assert.are.equal("the batch has inputs on a device, want host arrays", said())
    s.batch.rows.indexed = 0
    s.builder:close()
  end)
end)
