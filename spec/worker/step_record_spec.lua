-- Records of gdnmeta_worker.h: what is packed comes out again, what is damaged is refused, and a refusal
-- writes nothing.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local libc = require "gdnmeta.native.libc"
local records = require "spec.support.step_records"
local lib = require "gdnmeta.native"
local array_of = require "gdnmeta.array_of"

local int32s, int64s, bytes_t = array_of "int32_t", array_of "int64_t", array_of "uint8_t"
local WHY, said = records.why, records.said

local function pack_batch(s, out, size)
  return tonumber(lib.gdn_step_pack_batch(s.builder.handle, s.batch.rows, s.rest, s.hello, out, size, WHY,
                                          512))
end

-- A step with drafts, a decode, a chunk and a state that is kept, of two groups, as a record of memory's own.
local function sample()
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 256,
                                       num_groups = 2, num_speculative_tokens = 2, num_slots = 40 })
  local hello = records.hello(builder, { kv_blocks = 32, kv_block_size = 4, kv_columns = 8, vocab_size = 1000,
                                         max_model_len = 256, asynchronous = 1 })
  local batch = assert(builder:batch())
  batch:add { query_len = 3, seq_len = 13, drafts = 2, accepted = 2, prompt_done = true,
              blocks = { { 1, 2, 3 }, { 4, 5, 6 } } }
  batch:add { query_len = 1, seq_len = 9, prompt_done = true, blocks = { { 7, 8, 9 }, { 7, 8, 9 } } }
  batch:add { query_len = 130, seq_len = 130, blocks = { { 10, 11, 12 }, { 10, 11, 12 } },
              checkpoint_len = 64, checkpoint_slot = { 20, 21 } }
  for row = 0, 2 do -- a record has rows of tables
    for group = 0, 1 do
      local own = batch.rows.blocks + (group * batch.rows.max_rows + row) * 3
      builder:set_blocks(group, row, { own[0], own[1], own[2] })
    end
    batch.rows.table_row[row] = row
  end
  batch:pad(4, 140)
  local step = { num_rows = 3, num_tokens = 134, number = 77, graph = "full",
                 samples = int32s(3, { 1, 1, 0 }) }
  local changes, copies = int32s(6, { 0, 2, 9, 1, 7, 31 }), int32s(2, { 4, 5 })
  local rest, held = records.rest(step, { table_changes = changes, num_table_changes = 2, kv_copies = copies,
                                          num_kv_copies = 1, branches = 7 })
  held.tokens[3] = -1
  held.temperature[1], held.top_p[2] = 0.5, 0.25
  held.all = { changes, copies, step.samples }
  local size = tonumber(lib.gdn_step_bytes(hello))
  local self = { builder = builder, batch = batch, hello = hello, rest = rest, held = held, size = size,
                 memory = records.memory(size) }
  self.bytes = pack_batch(self, self.memory, size)
  assert(self.bytes > 0, said())
  return self
end

-- A second copy, aligned.
local function copy_of(memory, bytes)
  local copy = int64s(math.ceil(bytes / 8))
  ffi.copy(copy, memory, bytes)
  return copy
end

local KINDS = {
  step = function()
    local s = sample()
    return s.memory, s.bytes, function(memory, bytes)
      local out = ffi.new "gdn_step_record"
      out.number = -5
      local status = lib.gdn_step_unpack(memory, bytes, s.hello, out, WHY, 512)
      return status, out, s
    end
  end,
  hello = function()
    local s = sample()
    local memory = int64s(200)
    local bytes = tonumber(lib.gdn_hello_pack(s.hello, memory, 1600, WHY, 512))
    assert(bytes > 0, said())
    return memory, bytes, function(given, n)
      local out = ffi.new "gdn_hello"
      out.seed = -5
      return lib.gdn_hello_unpack(given, n, out, WHY, 512), out, s
    end
  end,
  result = function()
    local result, memory = ffi.new "gdn_result_record", int64s(100)
    local held = { int32s(3, { 2, 1, 0 }), int32s(3, { 7, 8, 9 }), int32s(3, { 1, 0, 0 }), int32s(1, { 4 }),
                   "well" }
    result.number, result.num_rows, result.num_tokens, result.num_drafts, result.text_bytes = 5, 3, 3, 1, 4
    result.emitted, result.tokens, result.next_drafts, result.drafts, result.text = unpack(held)
    local bytes = tonumber(lib.gdn_result_pack(result, memory, 800, WHY, 512))
    assert(bytes > 0, said())
    return memory, bytes, function(given, n)
      local out = ffi.new "gdn_result_record"
      out.number = -5
      return lib.gdn_result_unpack(given, n, out, WHY, 512), out, held
    end
  end,
}

describe("Records", function()
  for kind, make in pairs(KINDS) do
    local function untouched(out) return tonumber(kind == "hello" and out.seed or out.number) == -5 end

    it("say whatever byte of a " .. kind .. " is another, and write nothing then", function()
      local memory, bytes, unpack_it = make()
      assert.are.equal(0, unpack_it(memory, bytes))
      local copy = copy_of(memory, bytes)
      local raw, tried = ffi.cast("uint8_t *", copy), 0
      for at = 0, bytes - 1 do
        for _, mask in ipairs { 1, 0x80, 0xff } do
          raw[at] = bit.bxor(raw[at], mask)
          local status, out = unpack_it(copy, bytes)
          assert.is_true(status < 0, ("byte %d"):format(at))
          assert.is_true(untouched(out))
          assert.is_true(#said() > 0)
          raw[at] = bit.bxor(raw[at], mask)
          tried = tried + 1
        end
      end
      assert.are.equal(0, unpack_it(copy, bytes))
      assert.are.equal(3 * bytes, tried)
    end)

    it("of kind " .. kind .. " are refused cut, long and off their alignment", function()
      local memory, bytes, unpack_it = make()
      for n = -1, bytes - 1 do
        -- At the end of a block of its own, where a sanitizer sees a read past it.
        local block = libc.libc_malloc(math.max(n, 1))
        ffi.copy(block, memory, math.max(n, 0))
        assert.is_true(unpack_it(ffi.cast("int64_t *", block), n) < 0, n)
        libc.libc_free(block)
      end
      local long = int64s(bytes / 8 + 2)
      ffi.copy(long, memory, bytes)
      assert.is_true(unpack_it(long, bytes + 8) < 0)
      local off = ffi.cast("uint8_t *", long) + 4
      ffi.copy(off, memory, bytes)
      assert.is_true(unpack_it(off, bytes) < 0)
      assert.matches("not aligned to 8 bytes", said())
    end)
  end

  it("come out as they went in: packing what was unpacked gives the same bytes", function()
    local s = sample()
    local step = assert(records.unpack(s.memory, s.bytes, s.hello))
    local again = records.memory(s.size)
    local bytes = tonumber(lib.gdn_step_pack(step, s.hello, again, s.size, WHY, 512))
    assert.are.equal(s.bytes, bytes)
    assert.are.equal(0, libc.libc_memcmp(s.memory, again, bytes))
    assert.are.same({ 77, 1, 2, 7, 3, 134, 4, 140, 2, 3, 2, 1 }, {
      tonumber(step.number), step.kind, step.graph, step.branches, step.num_rows, step.num_tokens,
      step.padded_rows, step.padded_tokens, step.num_groups, step.columns, step.num_table_changes,
      step.num_kv_copies })
    local slots = {}
    for k = 0, 17 do slots[k + 1] = step.slots[k] end
    assert.are.same({ 1, 2, 3, 7, 8, 9, 10, 11, 12, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, slots)
    assert.are.same({ 2, 7, 0, 5, 7, 0 }, { step.read_slots[0], step.read_slots[1], step.read_slots[2],
                                             step.read_slots[3], step.read_slots[4], step.read_slots[5] })
    assert.are.same({ 0, 0, 64, 21 }, { step.checkpoint_len[0], step.checkpoint_slot[0],
                                        step.checkpoint_len[2], step.checkpoint_slot[5] })
    assert.are.equal(1, step.num_bring) -- the row with drafts reads its second slot
    assert.are.equal(-1, step.tokens[3])
    assert.are.equal(0.5, step.temperature[1])
  end)

  -- Field of a step or of one of its arrays, a value, and what is said of it.
  local WRONG = {
    { "number", 0, "number = 0, want 1 .. 9007199254740992" },
    { "kind", 0, "kind = 0, want 1 .. 3" }, { "kind", 3, "kind = 3 with 3 rows and 134 tokens, want none" },
    { "graph", 3, "graph = 3, want 0 .. 2" }, { "branches", 8, "branches = 8, want 0 .. 7" },
    { "num_rows", -1, "num_rows = -1, want 0 .. 12" }, { "num_rows", 13, "num_rows = 13, want 0 .. 12" },
    { "padded_rows", 2, "padded_rows = 2, want 3 .. 12" },
    { "num_tokens", 133, "num_tokens = 133, want 134, the sum of query_len" },
    { "padded_tokens", 257, "padded_tokens = 257, want 134 .. 256" },
    { "num_groups", 1, "num_groups = 1, want 2 .. 2" }, { "columns", 4, "columns = 4, want 3 .. 3" },
    { "num_table_changes", 25, "num_table_changes = 25, want 0 .. 24" },
    { "num_kv_copies", 13, "num_kv_copies = 13, want 0 .. 12" },
    { "num_bring", 4, "num_bring = 4, want 0 .. 3" },
    { "query_len", 0, "query_len[1] = 0, want 1 .. 2147483647", 1 },
    { "seq_len", 0, "seq_len[1] = 0, want 1 .. 258", 1 },
    { "seq_len", 129, "seq_len[2] = 129, want >= 130, its query_len", 2 },
    { "drafts", 3, "drafts[0] = 3, want -1 .. 2", 0 },
    { "drafts", 1, "drafts[1] = 1, want < 1, its query_len", 1 },
    { "accepted_tokens", 4, "accepted_tokens[0] = 4, want 1 .. 3", 0 },
    { "prompt_done", 2, "prompt_done[0] = 2, want 0 .. 1", 0 },
    { "table_row", 12, "table_row[2] = 12, want 0 .. 11", 2 },
    { "table_row", -1, "table_row[2] = -1, want 0 .. 11", 2 },
    { "read_column", 3, "read_column[0] = 3, want -2 .. 2", 0 },
    { "checkpoint_len", -1, "checkpoint_len[2] = -1, want 0 .. 2147483647", 2 },
    { "samples", 2, "samples[0] = 2, want 0 .. 1", 0 },
    { "request", -1, "request[0] = -1, want >= 0", 0 },
    { "temperature", -1, "temperature[0] = -1, want 0 .. 1e6", 0 },
    { "temperature", 0 / 0, "temperature[0] = nan, want 0 .. 1e6", 0 },
    { "top_p", 0, "top_p[2] = 0, want more than 0, up to 1", 2 },
    { "tokens", -2, "tokens[5] = -2, want -1 .. 999", 5 },
    { "tokens", 1000, "tokens[5] = 1000, want -1 .. 999", 5 },
    { "slots", 40, "slots[3] = 40, want 0 .. 39", 3 },
    { "read_slots", -1, "read_slots[2] = -1, want 0 .. 39", 2 },
    { "table_changes", 8, "table_changes[0] = (0, 8, 9), want at most (11, 7, 31)", 1 },
    { "table_changes", -1, "table_changes[0] = (0, 2, -1), want at most (11, 7, 31)", 2 },
    { "kv_copies", 32, "kv_copies[1] = 32, want 0 .. 31", 1 },
  }
  it("name what a step says that cannot be, and are not written", function()
    for _, wrong in ipairs(WRONG) do
      local s = sample()
      local step = assert(records.unpack(s.memory, s.bytes, s.hello))
      local name, value, place = wrong[1], wrong[2], wrong[4]
      if place then
        local kind = ({ request = "int64_t", temperature = "float", top_p = "float" })[name] or "int32_t"
        ffi.cast(kind .. " *", step[name])[place] = value
      else
        step[name] = value
      end
      local out = records.memory(s.size)
      local status = tonumber(lib.gdn_step_pack(step, s.hello, out, s.size, WHY, 512))
      assert.are.equal(gdn.EINVAL, status, wrong[3])
      assert.are.equal(wrong[3], (said():gsub("%-nan", "nan")))
      for k = 0, 40 do assert.are.equal(0, tonumber(out[k])) end
    end
  end)

  it("take exactly the bytes that they need, and no fewer", function()
    local s = sample()
    for _, size in ipairs { 0, 8, s.bytes - 1 } do
      local out = bytes_t(s.size + 8, 7)
      local at = ffi.cast("uint8_t *", math.ceil(tonumber(ffi.cast("uintptr_t", out)) / 8) * 8)
      assert.are.equal(gdn.ECAP, pack_batch(s, at, size))
      assert.are.equal(("the record takes %d bytes, there is room for %d"):format(s.bytes, size), said())
      for k = 0, s.bytes - 1 do assert.are.equal(7, at[k]) end
    end
    local out = records.memory(s.bytes)
    assert.are.equal(s.bytes, pack_batch(s, out, s.bytes))
  end)

  it("fit the builder that they are for, or are refused", function()
    local s = sample()
    local step = assert(records.unpack(s.memory, s.bytes, s.hello))
    local function refused(options, message)
      local o = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 256, num_groups = 2,
                  num_speculative_tokens = 2 }
      for name, value in pairs(options) do o[name] = value end
      local builder = assert(gdn.builder(o))
      local batch = assert(builder:batch())
      assert.is_true(lib.gdn_step_batch(step, builder.handle, batch.rows, WHY, 512) < 0)
      assert.are.equal(message, said())
      assert.are.equal(0, batch.num_rows)
    end
    refused({ num_groups = 1 }, "a step of 2 groups and 3 columns, the builder has 1 and 3")
    refused({ num_speculative_tokens = 1 }, "a step of 2 groups and 3 columns, the builder has 2 and 2")
    refused({ max_rows = 3, max_num_seqs = 1 }, "3 rows padded to 4, the batch has room for 3")
    refused({ mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 3 },
            "rows[0].seq_len = 13 reaches column 3 of the state table, want 0 .. 2")
  end)

  it("for whose options a ring would be too large are refused by name", function()
    local s = sample()
    s.hello.kv_columns, s.hello.kv_blocks = 2 ^ 30, 2 ^ 30
    assert.are.equal(gdn.EINVAL, tonumber(lib.gdn_step_bytes(s.hello)))
    assert.are.equal(gdn.EINVAL, tonumber(lib.gdn_hello_pack(s.hello, records.memory(2000), 2000, WHY, 512)))
    assert.matches("^hello: a step of 12 rows, 256 tokens and 1073741824 columns .* takes more than 2 GiB$",
                   said())
  end)
end)

describe("gdn_kv_changes", function()
  local function changes(s, owners, used, capacity)
    local out = int32s(60)
    local n = lib.gdn_kv_changes(#owners, int32s(#owners, { 0, 1 }), int64s(#owners, owners),
                                 int32s(#owners, used), s.table, 2, 4, s.sent, out, capacity or 20)
    local list = {}
    for k = 1, math.max(n, 0) do
      list[k] = ("%d %d %d"):format(out[3 * k - 3], out[3 * k - 2], out[3 * k - 1])
    end
    return list, n
  end
  it("sends what is new of a row, and all of it to another owner", function()
    local s = { table = int32s(8, { 5, 6, 7, 8, 9, 10, 11, 12 }), sent = ffi.new "gdn_kv_sent[2]" }
    ffi.fill(s.sent, ffi.sizeof(s.sent), 0xff)
    assert.are.same({ "0 0 5", "0 1 6", "1 0 9" }, (changes(s, { 3, 4 }, { 2, 1 })))
    assert.are.same({ "0 2 7" }, (changes(s, { 3, 4 }, { 3, 1 })))
    assert.are.same({}, (changes(s, { 3, 4 }, { 3, 1 })))
    assert.are.same({ "1 0 9", "1 1 10" }, (changes(s, { 3, 5 }, { 3, 2 })))
    assert.are.same({ "0 0 5" }, (changes(s, { 3, 5 }, { 1, 2 }))) -- fewer than before
    local _, n = changes(s, { 8, 9 }, { 4, 4 }, 7)
    assert.are.equal(gdn.ECAP, n)
    assert.are.same({ "0 1 6" }, (changes(s, { 3, 5 }, { 2, 2 }))) -- a refusal has changed nothing
    for _, wrong in ipairs { { { -1, 5 }, { 1, 1 } }, { { 3, 5 }, { 5, 1 } }, { { 3, 5 }, { -1, 1 } } } do
      assert.are.equal(gdn.EINVAL, select(2, changes(s, wrong[1], wrong[2])))
    end
  end)
end)
