-- Calls of C that Lua's own checks keep from happening: a batch's counts and guards, another builder's batch,
-- a place for messages that is none, slots and blocks by numbers that are none. Against spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"
local records = require "spec.support.step_records"

local notes = noted.new "c-"
local note, check = notes.note, notes.check
local MOST, LEAST = 2 ^ 31 - 1, -2 ^ 31

local function said(b) return ffi.string(lib.gdn_last_error(b.handle)) end

local function builder_of(options)
  local o = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64, num_groups = 2, num_slots = 30,
              full_cuda_graph = true, checkpoint_any = true, max_rows = 6 }
  for name, value in pairs(options or {}) do o[name] = value end
  local builder = assert(gdn.builder(o))
  local batch = assert(builder:batch())
  for i = 1, 3 do
    assert(batch:add { query_len = 1, seq_len = 9, blocks = { { i }, { 10 + i } }, prompt_done = true })
  end
  return builder, batch
end

describe("C refuses", function()
  before_each(notes.clear)

  it("a batch's counts that cannot be, and what is written outside its arrays", function()
    local builder, batch = builder_of()
    local function try(name, value)
      local status = tonumber(lib.gdn_build(builder.handle, batch.rows, nil))
      note(name, value, status, status == 0 and "taken" or said(builder))
    end
    for _, name in ipairs { "num_rows", "padded_rows", "padded_tokens" } do
      local was = batch.rows[name]
      for _, value in ipairs { LEAST, -1, 0, 1, 2, 3, 4, 5, 6, 7, 64, 65, MOST } do
        batch.rows[name] = value
        try(name, ("%d"):format(value))
      end
      batch.rows[name] = was
    end
    for _, name in ipairs { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens", "prompt_done",
                            "table_row", "read_column", "checkpoint_len", "checkpoint_slot" } do
      local array, n = batch.rows[name], 6 * (name == "checkpoint_slot" and 2 or 1)
      for _, at in ipairs { -16, -1, n, n + 15 } do
        local was = array[at]
        array[at] = was + 1
        try(name, at)
        array[at] = was
      end
    end
    try("as it was", "")
    local other, its_batch = builder_of()
    note("another's batch", tonumber(lib.gdn_build(builder.handle, its_batch.rows, nil)), said(builder))
    for _, b in ipairs { batch, its_batch, builder, other } do b:close() end
    check "batches"
  end)

  -- Rows of 65,536 tokens and more are added up apart from the others.
  it("as many tokens as the rows have, and none of the row behind them", function()
    local limit = 70000
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = limit })
    local batch = assert(builder:batch())
    local c = batch.rows
    for _, length in ipairs { 1, 65535, 65536, limit - 1, limit, limit + 1, MOST } do
      for rows = 1, 3 do
        for i = 0, 2 do
          c.query_len[i], c.seq_len[i], c.table_row[i] = length, length, i
          c.num_draft_tokens[i], c.num_accepted_tokens[i], c.read_column[i] = -1, 1, -2
          builder:table(0)[i] = 1 + i
        end
        if rows == 2 then c.query_len[1], c.seq_len[1] = 1, 1 end
        c.num_rows = rows
        local status = tonumber(lib.gdn_build(builder.handle, c, nil))
        note(("%d rows, %d"):format(rows, length), status, status == 0 and "taken" or said(builder))
      end
    end
    -- What 32 bits cannot hold, and would show as 1 token.
    c.query_len[0], c.query_len[1], c.query_len[2] = MOST, MOST, 3
    note("2^32 + 1 tokens", tonumber(lib.gdn_build(builder.handle, c, nil)), said(builder))
    batch:close()
    builder:close()
    check "tokens"
  end)

  it("a check before a build", function()
    local builder, batch = builder_of { check = true }
    note("check", tonumber(lib.gdn_check(builder.handle, nil)), said(builder))
    assert(builder:build(batch))
    note("check", tonumber(lib.gdn_check(builder.handle, nil)))
    batch:close()
    builder:close()
    check "check"
  end)

  it("also where there is no place for words, or one of no bytes", function()
    local config, builder = ffi.new "gdn_config", builder_of()
    local hello, memory = records.full_hello(builder), records.memory(4096)
    hello.reserved = 1
    local function out_of(name) return ffi.new("gdn_" .. name .. " *[1]") end
    local none, arguments = ffi.new "gdn_hello", ffi.new "const char *[1]"
    local calls = {
      { "builder_new", function(...) return lib.gdn_builder_new(config, out_of "builder", ...) end },
      { "builder_new, no out", function(...) return lib.gdn_builder_new(config, nil, ...) end },
      { "builder_bytes", function(...) return lib.gdn_builder_bytes(config, ffi.new "int64_t[1]", ...) end },
      { "index_new", function(...)
        return lib.gdn_index_new(ffi.new "gdn_index_config", out_of "index", ...)
      end },
      { "hello_pack", function(...) return lib.gdn_hello_pack(hello, memory, 4096, ...) end },
      { "hello_unpack", function(...) return lib.gdn_hello_unpack(memory, 64, none, ...) end },
      { "step_pack", function(...)
        return lib.gdn_step_pack(ffi.new "gdn_step_record", nil, memory, 4096, ...)
      end },
      { "step_unpack", function(...)
        return lib.gdn_step_unpack(memory, 64, nil, ffi.new "gdn_step_record", ...)
      end },
      { "result_unpack", function(...)
        return lib.gdn_result_unpack(memory, 64, ffi.new "gdn_result_record", ...)
      end },
      { "channel_new", function(...) return lib.gdn_channel_new(7, 8, out_of "channel", ...) end },
      { "channel_open", function(...) return lib.gdn_channel_open(-1, out_of "channel", ...) end },
      { "process_new", function(...)
        return lib.gdn_process_new(arguments, nil, 0, out_of "process", ...)
      end },
    }
    for _, call in ipairs(calls) do
      local why = ffi.new("char[300]", ("A"):rep(299))
      local status = tonumber(call[2](nil, 300))
      assert.are.equal(status, tonumber(call[2](why, 0)), call[1])
      assert.are.equal(("A"):rep(299), ffi.string(why))
      assert.are.equal(status, tonumber(call[2](why, 7)), call[1])
      note(call[1], status, ffi.string(why, 6), why[6], ffi.string(why + 7, 2))
      assert.are.equal(status, tonumber(call[2](why, 300)), call[1])
      note(call[1], ffi.string(why))
    end
    builder:close()
    check "no-words"
  end)

  it("slots, blocks and rows by numbers that are none", function()
    local builder = builder_of()
    local cells, list = ffi.new "int32_t *[2]", ffi.new("int32_t[16]", 1, 1, 1, 1)
    local columns = { ffi.new "int32_t[8]", ffi.new "int32_t[8]" }
    cells[0], cells[1] = columns[1], columns[2]
    local function pools()
      local out = ffi.new "gdn_slots *[1]"
      assert(lib.gdn_slots_new(2, ffi.new("int32_t[2]", 4, 5), out) == 0)
      assert(lib.gdn_slots_take_each(out[0], 1, 0, cells, 0) == 0)
      return ffi.gc(out[0], lib.gdn_slots_free)
    end
    local n = tonumber
    local function named(prefix)
      return setmetatable({}, { __index = function(_, name) return lib["gdn_" .. prefix .. "_" .. name] end })
    end
    local slots, kvs = named "slots", named "kv"
    for _, value in ipairs { LEAST, -1, 0, 1, 2, 3, 4, 5, MOST } do
      local shown = ("%d"):format(value)
      local small = value > 7 and 7 or value -- tables have eight cells
      note("take", shown, n(slots.take(pools(), 0, value, 1, list)),
        n(slots.take(pools(), value, 1, 1, list)),
        n(slots.take(pools(), 0, 1, value, list)))
      note("take each", shown, n(slots.take_each(pools(), value, 0, cells, 1)),
        n(slots.take_each(pools(), 1, value, cells, 1)),
        n(slots.take_each(pools(), 1, 0, cells, small)))
      note("move each", shown, n(slots.move_each(pools(), cells, small, 3, 0)),
        n(slots.move_each(pools(), cells, 0, small, 0)),
        n(slots.move_each(pools(), cells, 0, 3, value)))
      note("copy each", shown, n(slots.copy_each(pools(), cells, small, list)))
      local s = pools()
      note("of one", shown, slots.available(s, value), slots.owner(s, 0, value),
        slots.holders(s, 0, value), slots.generation(s, 0, value), slots.owner(s, value, 1),
        n(slots.drop(s, 0, value)), n(slots.drop(s, value, 1)))
    end
    local function blocks()
      local out = ffi.new "gdn_kv *[1]"
      assert(lib.gdn_kv_new(builder.handle, ffi.new("gdn_kv_config", 8, 4, 3, 4, 2), out) == 0)
      assert(kvs.extend(out[0], 0, 2) == 0)
      return ffi.gc(out[0], lib.gdn_kv_free)
    end
    local row, query = ffi.new("int32_t[2]", 0, 0), ffi.new("int32_t[2]", 1, 1)
    local seq = ffi.new("int32_t[2]", 5, 8)
    for _, value in ipairs { LEAST, -1, 0, 1, 2, 3, 4, 5, 8, 9, 64, 65, MOST } do
      local shown = ("%d"):format(value)
      local one, few = ffi.new("int32_t[1]", value), math.min(value, 4)
      note("extend", shown, n(kvs.extend(blocks(), 1, value)), n(kvs.extend(blocks(), value, 1)))
      note("share", shown, n(kvs.share(blocks(), 1, list, few)),
        n(kvs.share(blocks(), value, list, 1)), n(kvs.share(blocks(), 1, one, 1)))
      note("hold, drop, take", shown, n(kvs.hold(blocks(), list, few)),
        n(kvs.drop(blocks(), list, few)), n(kvs.hold(blocks(), one, 1)),
        n(kvs.take(blocks(), math.min(value, 9), ffi.new "int32_t[16]")))
      note("map", shown, n(kvs.map(blocks(), value, 1, row, query, seq, 4)),
        n(kvs.map(blocks(), 0, math.min(value, 2), row, query, seq, 4)),
        n(kvs.map(blocks(), 0, 1, one, query, seq, 4)),
        n(kvs.map(blocks(), 0, 1, row, one, seq, 64)),
        n(kvs.map(blocks(), 0, 1, row, query, one, 4)),
        n(kvs.map(blocks(), 0, 1, row, query, seq, value)))
      local kv = blocks()
      note("of one block", shown, n(kvs.clear(kv, value)), kvs.length(kv, value),
        kvs.sole(kv, value), kvs.holders(kv, value), kvs.mapping(kv, value) ~= nil)
    end
    builder:close()
    check "numbers"
  end)
end)
