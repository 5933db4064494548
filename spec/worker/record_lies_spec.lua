-- Records whose checksum is right and whose contents are not, and those that are not to be packed: each lie
-- and what is said of it, against spec/goldens/texts. The last value that may stand there is taken.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"
local records = require "spec.support.step_records"
local sealed = require "spec.support.sealed"

local int32s = gdn.array_of "int32_t"
local notes = noted.new "records-"
local note, check = notes.note, notes.check
local why = records.why

local function note_status(name, value, status) note(name, value, records.verdict(status)) end

-- Three rows that emitted 2, 1 and 0 tokens and propose one draft, with a text.
local function result(fields)
  local r = ffi.new "gdn_result_record"
  local held = { int32s(3, { 2, 1, 0 }), int32s(3, { 7, 8, 9 }), int32s(3, { 1, 0, 0 }), int32s(1, { 4 }),
                 "well" }
  r.number, r.num_rows, r.num_tokens, r.num_drafts, r.text_bytes = 5, 3, 3, 1, 4
  r.emitted, r.tokens, r.next_drafts, r.drafts, r.text = unpack(held)
  for name, value in pairs(fields or {}) do
    if type(value) == "table" then held[#held + 1] = int32s(3, value) end
    r[name] = type(value) == "table" and held[#held] or value
  end
  return r, held
end

local function pack_result(r, size)
  local memory = records.memory(size or 8192)
  return tonumber(lib.gdn_result_pack(r, memory, size or 8192, why, 512)), memory
end

-- Packed and then as the library reads it.
local function pack_fields(fields, size)
  local r, held = result(fields)
  local bytes, memory = pack_result(r, size)
  assert(held)
  return bytes, memory
end

-- The whole record with one word of its head another, then unpacked.
local function try_lies(lies, make, unpack_it)
  for _, lie in ipairs(lies) do
    local memory, bytes = make()
    sealed.lie(memory, lie[1], lie[2])
    local given = lie[1] == "bytes" and lie.length or bytes
    note_status(lie[1], lie[2], unpack_it(memory, given))
  end
end

describe("Records", function()
  before_each(notes.clear)
  local builder
  setup(function() builder = records.builder() end)
  teardown(function() builder:close() end)

  it("are sealed by the specs as the library does", function()
    local _, memory = pack_fields()
    local sum = memory[15]
    memory[15] = 0
    sealed.seal(memory)
    assert.are.equal(sum, memory[15])
  end)

  it("of results are not packed with what cannot be", function()
    local NULL, TORN = ffi.cast("void *", nil), "we\0l"
    local most = 65536 * 65
    for _, case in ipairs {
      { "number", -1 }, { "number", 0 }, { "number", 2 ^ 53 }, { "number", 2 ^ 53 + 2 }, { "status", -1 },
      { "status", 1 }, { "status", 2 }, { "num_rows", -1 }, { "num_rows", 2 }, { "num_rows", 65537 },
      { "num_tokens", -1 }, { "num_tokens", 2 }, { "num_tokens", most + 1 }, { "num_drafts", -1 },
      { "num_drafts", 0 }, { "num_drafts", most + 1 }, { "text_bytes", -1 }, { "text_bytes", 0 },
      { "text_bytes", 4096 },
      { "has_drafts", 2 }, { "has_drafts", -1 }, { "emitted", NULL }, { "tokens", NULL }, { "drafts", NULL },
      { "text", NULL }, { "next_drafts", NULL }, { "text", TORN }, { "emitted", { 2, 1, -1 } },
      { "emitted", { 3, 0, 0 } }, { "emitted", { 66, 0, 0 } }, { "emitted", { 2, 1, 1 } },
      { "tokens", { 0, 2 ^ 31 - 1, 5 } }, { "tokens", { 7, -1, 5 } }, { "next_drafts", { 1, 1, 0 } },
      { "next_drafts", { 0, 0, 1 } }, { "next_drafts", { 2, -1, 0 } }, { "drafts", { -1, 0, 0 } },
    } do
      local value = type(case[2]) == "cdata" and "NULL" or case[2] == TORN and "torn" or case[2]
      note_status(case[1], value, (pack_fields { [case[1]] = case[2] }))
    end
    for _, fields in ipairs { { num_rows = 0, num_tokens = 0, num_drafts = 0, status = 1 },
                              { num_rows = 0, num_tokens = 0, num_drafts = 0, next_drafts = NULL },
                              { num_drafts = 0, next_drafts = NULL, drafts = NULL } } do
      local bytes, memory = pack_fields(fields)
      local out = ffi.new "gdn_result_record"
      assert.are.equal(0, tonumber(lib.gdn_result_unpack(memory, bytes, out, why, 512)))
      note("packed", bytes, out.num_rows, out.num_tokens, out.num_drafts, out.has_drafts,
        out.next_drafts == nil, out.status, ffi.string(out.text))
    end
    local longest = ("x"):rep(4095)
    note("longest text", (pack_fields { text = longest, text_bytes = 4095 }))
    for _, size in ipairs { 175, 176 } do note_status("size", size, (pack_fields(nil, size))) end
    check "results"
  end)

  it("of results are not unpacked with what cannot be, though the checksum is right", function()
    local out = ffi.new "gdn_result_record"
    local LIES = {
      { "magic", 0 }, { "version", 0 }, { "version", 99 }, { "abi", 0 }, { "bytes", 160 },
      { "bytes", 184, length = 184 }, { "number", -1 }, { "number", 2 ^ 53 + 2 }, { "kind", -1 },
      { "kind", 1 }, { "kind", 2 },
      { 0, -1 }, { 0, 2 }, { 0, 4 }, { 0, 65537 }, { 1, 2 }, { 1, 4 }, { 1, -1 }, { 2, 0 }, { 2, 2 },
      { 2, -1 },
      { 3, 3 }, { 3, 5 }, { 3, 4096 }, { 4, 0 }, { 4, 2 }, { 5, 1 }, { 21, -1 },
    }
    try_lies(LIES, function()
      local bytes, memory = pack_fields()
      return memory, bytes
    end, function(memory, bytes) return lib.gdn_result_unpack(memory, bytes, out, why, 512) end)
    check "result-lies"
  end)

  it("of hellos are not packed with what cannot be", function()
    for _, case in ipairs {
      { "kv_blocks", -1 }, { "kv_blocks", 0 }, { "kv_block_size", 0 }, { "kv_block_size", -1 },
      { "kv_columns", 0 }, { "kv_columns", -1 }, { "max_model_len", 0 }, { "max_model_len", 1 },
      { "max_model_len", 2 ^ 30 },
      { "max_model_len", 2 ^ 30 + 1 }, { "vocab_size", -1 }, { "vocab_size", 0 }, { "max_kv_copies", -1 },
      { "max_kv_copies", 0 }, { "asynchronous", -1 }, { "asynchronous", 0 }, { "asynchronous", 2 },
      { "reserved", 1 }, { "reserved", -1 }, { "kv_columns", 14000000 }, { "kv_columns", 15000000 },
      { "max_kv_copies", 268000000 },
      { "max_kv_copies", 269000000 },
    } do
      local h = records.full_hello(builder, { [case[1]] = case[2] })
      local memory = records.memory(2048)
      note_status(case[1], case[2], lib.gdn_hello_pack(h, memory, 2048, why, 512))
      note("bytes of a step, a result", lib.gdn_step_bytes(h), lib.gdn_result_bytes(h))
    end
    for _, case in ipairs { { "max_rows", 0 }, { "max_requests", 0 }, { "max_blocks_per_row", 0 },
                            { "num_slots", nil }, { "num_groups", 0 } } do
      local h = records.full_hello(builder)
      h.config[case[1]] = case[2]
      note_status("config." .. case[1], case[2], lib.gdn_hello_pack(h, records.memory(2048), 2048, why, 512))
    end
    local h = records.full_hello(builder)
    local bytes = tonumber(lib.gdn_hello_pack(h, records.memory(2048), 2048, why, 512))
    note("bytes", bytes)
    for _, size in ipairs { 0, bytes - 1, bytes } do
      note_status("size", size, lib.gdn_hello_pack(h, records.memory(2048), size, why, 512))
    end
    note_status("hello", "NULL", lib.gdn_hello_pack(nil, records.memory(2048), 2048, why, 512))
    note_status("out", "NULL", lib.gdn_hello_pack(h, nil, 2048, why, 512))
    for by = 1, 8 do
      local off = ffi.cast("char *", records.memory(2048)) + by
      note_status("out", "off by " .. by, lib.gdn_hello_pack(h, off, 2000, why, 512))
    end
    check "hellos"
  end)

  it("of hellos are not unpacked with what cannot be, though the checksum is right", function()
    local out = ffi.new "gdn_hello"
    local lies = { { "kind", 1 }, { "number", 1 }, { "bytes", 128 }, { 7, 8 }, { 8, 1 }, { 21, 1 } }
    for field = 0, 6 do
      for _, value in ipairs { -1, 0, 1, 2 ^ 30, 2 ^ 30 + 1 } do lies[#lies + 1] = { field, value } end
    end
    for word = 1, 40 do lies[#lies + 1] = { 22 + 1 + word, -7 } end -- the seed and the configuration
    try_lies(lies, function()
      local memory = records.memory(2048)
      return memory, lib.gdn_hello_pack(records.full_hello(builder), memory, 2048, why, 512)
    end, function(memory, bytes) return lib.gdn_hello_unpack(memory, bytes, out, why, 512) end)
    check "hello-lies"
  end)

  it("have room for the largest step of each kind of builder", function()
    for _, o in ipairs { {}, { num_groups = 1 }, { num_speculative_tokens = 0 }, { max_num_seqs = 9 },
                         { max_rows = 40 }, { max_num_batched_tokens = 100 },
                         { mamba_cache_mode = "align", mamba_block_size = 16, max_blocks_per_row = 8 } } do
      local b = records.builder(o)
      for _, fields in ipairs { {}, { kv_columns = 9 }, { max_kv_copies = 0 },
                                { kv_blocks = 0, kv_columns = 0 } } do
        local h = records.full_hello(b, fields)
        note("bytes", o, fields, lib.gdn_step_bytes(h), lib.gdn_result_bytes(h))
      end
      b:close()
    end
    check "sizes"
  end)

  it("copy what they have into arrays of the caller, all or some", function()
    local r, held = result()
    local e, t, n, d = int32s(4, { 9, 9, 9, 9 }), int32s(4, { 9, 9, 9, 9 }), int32s(4, { 9, 9, 9, 9 }),
      int32s(2, { 9, 9 })
    lib.gdn_result_copy(r, e, t, n, d)
    local function all(a, k)
      local list = {}
      for i = 1, k do list[i] = a[i - 1] end
      return list
    end
    assert.are.same({ { 2, 1, 0, 9 }, { 7, 8, 9, 9 }, { 1, 0, 0, 9 }, { 4, 9 } },
      { all(e, 4), all(t, 4), all(n, 4), all(d, 2) })
    lib.gdn_result_copy(r, nil, nil, nil, nil)
    r.next_drafts = nil
    n, d = int32s(4, { 9, 9, 9, 9 }), int32s(2, { 9, 9 })
    lib.gdn_result_copy(r, e, t, n, d)
    assert.are.same({ { 9, 9, 9, 9 }, { 9, 9 } }, { all(n, 4), all(d, 2) })
    assert(held)
  end)
end)
