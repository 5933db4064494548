-- Records at the largest of what their numbers may be: sums of bytes that 32 bits do not hold are refused,
-- and the last that fits is taken.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local records = require "spec.support.step_records"

local int32s = gdn.array_of "int32_t"
local why, said = records.why, records.said
local MOST, LARGEST = 2 ^ 31 - 1, 2 ^ 31 - 8 -- a number; bytes of a record
pcall(ffi.cdef, [[
void *largest_records_mmap(void *, size_t, int, int, int, long) __asm__("mmap");
int largest_records_munmap(void *, size_t) __asm__("munmap");
int largest_records_advise(void *, size_t, int) __asm__("madvise");
]])

describe("A hello's step", function()
  local builder, slots
  setup(function()
    builder, slots = records.builder(), int32s(64)
    for group = 0, 63 do slots[group] = 40 end
  end)
  teardown(function() builder:close() end)

  -- hello and its config: what replaces those of the engine.
  local function hello_of(fields, config)
    local hello = records.full_hello(builder, fields)
    for name, value in pairs(config) do hello.config[name] = value end
    hello.config.num_slots = slots
    return hello
  end

  -- Bytes of its step; false: refused as too long.
  local function bytes_of(hello)
    local memory = records.memory(4096)
    local bytes, packed = lib.gdn_step_bytes(hello), lib.gdn_hello_pack(hello, memory, 4096, why, 512)
    if bytes > 0 then
      assert.is_true(packed > 0, said())
      return tonumber(bytes)
    end
    local c = hello.config
    assert.are.same({ gdn.EINVAL, gdn.EINVAL, gdn.EINVAL },
      { tonumber(bytes), tonumber(packed), tonumber(lib.gdn_result_bytes(hello)) })
    assert.are.equal(("hello: a step of %d rows, %d tokens and %d columns of the kv table takes more than "
      .. "2 GiB"):format(c.max_rows, c.max_num_batched_tokens, hello.kv_columns), said())
    return false
  end

  local WIDE = { mamba_cache_mode = lib.GDN_CACHE_ALIGN, num_speculative_blocks = MOST - 1,
                 max_blocks_per_row = MOST }
  local MANY = { max_num_seqs = 65536, max_rows = 65536, max_requests = 65536, num_groups = 64 }

  it("is refused where all its numbers are the largest, or some of them", function()
    for bits = 1, 63 do
      local function has(k) return bit.band(bits, 2 ^ k) ~= 0 end
      local fields, config = {}, {}
      if has(0) then fields.kv_columns = MOST end
      if has(1) then fields.max_kv_copies = MOST end
      if has(2) then config.max_num_batched_tokens = MOST end
      for name, value in pairs(has(3) and MANY or {}) do config[name] = value end
      for name, value in pairs(has(4) and WIDE or {}) do config[name] = value end
      if has(5) then fields.kv_blocks, fields.kv_block_size, fields.vocab_size = MOST, MOST, MOST end
      -- Neither many rows nor large blocks alone are too much.
      local is_large = bits % 8 ~= 0 or has(4)
      assert.message(("numbers %d"):format(bits)).are.equal(is_large, not bytes_of(hello_of(fields, config)))
    end
  end)

  it("is taken up to 2 GiB less 8 bytes", function()
    local function place(name)
      return function(value)
        local one = { [name] = value }
        return name == "max_num_batched_tokens" and hello_of({}, one) or hello_of(one, {})
      end
    end
    -- Bytes that one more takes.
    for name, each in pairs { max_kv_copies = 8, max_num_batched_tokens = 4, kv_columns = 12 * 8 } do
      local make = place(name)
      local base = bytes_of(make(64))
      local rows = make(64).config.max_rows
      if name == "kv_columns" then each = 12 * rows end
      local more = math.floor((LARGEST - base) / each)
      local last = bytes_of(make(64 + more))
      assert.is_true(last <= LARGEST and last > LARGEST - each, name)
      assert.are.equal(math.ceil((base + more * each) / 8) * 8, last)
      assert.is_false(bytes_of(make(64 + more + (each == 4 and 2 or 1))))
    end
  end)
end)

describe("A step record", function()
  -- Tokens of 0, of which none takes memory of its own; one row has them all.
  local function packed(tokens, size)
    local bytes = 4 * tokens
    local memory = ffi.C.largest_records_mmap(nil, bytes, 1, 0x4022, -1, 0) -- to be read; private, of no file
    assert(ffi.cast("intptr_t", memory) ~= -1)
    ffi.C.largest_records_advise(memory, bytes, 14) -- in large pages, where there are such
    local rest = { num_rows = 1, num_tokens = 1, number = 1, graph = "eager", samples = int32s(1, { 1 }) }
    local step, held = records.rest(rest)
    step.num_tokens, step.padded_tokens, step.padded_rows, step.num_rows = tokens, tokens, 1, 1
    step.tokens, step.num_groups, step.columns = ffi.cast("int32_t *", memory), 1, 1
    local one, none = int32s(1, { 1 }), int32s(1)
    local long, drafts = int32s(1, { tokens }), int32s(1, { -1 })
    step.query_len, step.seq_len, step.drafts, step.accepted_tokens = long, long, drafts, one
    step.prompt_done, step.table_row, step.read_column, step.checkpoint_len = one, none, none, none
    step.slots, step.read_slots, step.checkpoint_slot = one, none, none
    local out = records.memory(64)
    ffi.fill(out, 64, 0x5a)
    local status = tonumber(lib.gdn_step_pack(step, nil, out, size, why, 512))
    ffi.C.largest_records_munmap(memory, bytes)
    assert.are.equal(("Z"):rep(64), ffi.string(out, 64))
    assert(held)
    return status, said()
  end

  it("is never of 2 GiB, whatever memory there is said to be", function()
    local head = 128 + 2 * 8 + 14 * 4 -- of one row
    local most = (LARGEST - head) / 4
    assert.are.same({ gdn.ECAP, "the record takes 2147483640 bytes, there is room for 64" },
      { packed(most, 64) })
    assert.are.same({ gdn.ECAP, "the record takes 2147483648 bytes, want less than 2 GiB" },
      { packed(most + 1, 2 ^ 40) })
  end)
end)
