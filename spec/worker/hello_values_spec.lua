-- Every number of a hello in turn, at the ends of what it may be and past them, and every size of a channel:
-- which are taken, and what is said of the others, against spec/goldens/texts. A step record as a batch.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"
local records = require "spec.support.step_records"

pcall(ffi.cdef, "int fcntl(int fd, int command, ...);")

local int32s = gdn.array_of "int32_t"
local notes = noted.new "records-"
local note, check = notes.note, notes.check
local why = records.why
local MOST, LEAST = 2 ^ 31 - 1, -2 ^ 31
local VALUES = { LEAST, -2, -1, 0, 1, 2, 3, 4, 8, 12, 13, 64, 65, 1000, 65536, 65537, 2 ^ 24, 2 ^ 24 + 1,
                 2 ^ 30, MOST }
local HELLO = { "kv_blocks", "kv_block_size", "kv_columns", "max_model_len", "vocab_size", "max_kv_copies",
                "asynchronous", "reserved" }
local CONFIG = { "rules", "device", "max_num_seqs", "max_num_batched_tokens", "max_rows", "max_requests",
                 "max_blocks_per_row", "num_groups", "num_speculative_tokens", "num_speculative_blocks",
                 "mamba_cache_mode", "mamba_block_size", "full_cuda_graph", "pad_slot_id",
                 "query_start_loc_dtype", "check", "check_unique", "poison" }

-- Which descriptors are open, of the first.
local function descriptors()
  local list = {}
  for fd = 0, 40 do
    if ffi.C.fcntl(fd, 1) >= 0 then list[#list + 1] = fd end
  end
  return table.concat(list, " ")
end

describe("The numbers", function()
  before_each(notes.clear)

  it("of a hello are taken and refused", function()
    local builder, memory, back = records.builder(), records.memory(4096), ffi.new "gdn_hello"
    for _, base in ipairs { { kv_blocks = 0, kv_block_size = 0, kv_columns = 0 }, {},
                            { kv_blocks = 1, kv_block_size = 1, kv_columns = 1, max_kv_copies = 0 } } do
      local function try(name, of)
        local lists, order = {}, {}
        for _, value in ipairs(VALUES) do
          local hello = records.full_hello(builder, base)
          local place = of == "config" and hello.config or hello
          place[name] = value
          -- More slots than there are would be read.
          if name ~= "num_groups" or value <= 2 then
            local bytes = tonumber(lib.gdn_hello_pack(hello, memory, 4096, why, 512))
            local said = records.verdict(bytes):gsub(" = " .. ("%d"):format(value):gsub("%p", "%%%0") .. ",",
              " = THIS,", 1)
            local steps, results = lib.gdn_step_bytes(hello), lib.gdn_result_bytes(hello)
            if bytes > 0 then
              assert(lib.gdn_hello_unpack(memory, bytes, back, why, 512) == 0, records.said())
              assert.are.equal(value, of == "config" and back.config[name] or back[name])
              said = ("taken: %d, %d"):format(steps, results)
            else
              assert.are.same({ -1, -1 }, { tonumber(steps), tonumber(results) })
            end
            if not lists[said] then order[#order + 1] = said end
            lists[said] = (lists[said] or "|") .. (" %d"):format(value)
          end
        end
        for _, said in ipairs(order) do note(base.kv_blocks or 32, name, said, lists[said]) end
      end
      for _, name in ipairs(HELLO) do try(name, "hello") end
      for _, name in ipairs(CONFIG) do try(name, "config") end
    end
    builder:close()
    check "hello-values"
  end)

  it("of groups come back, 1 to 64", function()
    for groups = 1, 64 do
      local slots = {}
      for g = 1, groups do slots[g] = 100 + g end
      local builder = records.builder { num_groups = groups, num_slots = groups > 1 and slots or slots[1] }
      local hello, memory = records.hello(builder, { max_model_len = 9 }), records.memory(4096)
      local back = ffi.new "gdn_hello"
      local bytes = tonumber(lib.gdn_hello_pack(hello, memory, 4096, why, 512))
      assert(bytes > 0, records.said())
      assert(lib.gdn_hello_unpack(memory, bytes, back, why, 512) == 0, records.said())
      for g = 0, groups - 1 do assert.are.equal(101 + g, back.config.num_slots[g]) end
      builder:close()
    end
  end)

  it("of a channel's records are taken and refused, and no descriptor is left or closed", function()
    local before, most = descriptors(), 2 ^ 31 - 8
    for _, sizes in ipairs { { 8, 8 }, { 16, 8 }, { 8, 16 } } do
      for place = 1, 2 do
        for _, value in ipairs { -8, 0, 1, 7, 8, 9, 12, 16, 4096, most - 8, most, most + 8, 2 ^ 40 } do
          local given, out = { sizes[1], sizes[2] }, ffi.new "gdn_channel *[1]"
          given[place] = value
          ffi.fill(why, 512)
          local status = tonumber(lib.gdn_channel_new(given[1], given[2], out, why, 512))
          note("channel", ("%.0f, %.0f"):format(given[1], given[2]), status, status == 0
            and ("%d, %d"):format(tonumber(lib.gdn_channel_largest(out[0], 0)),
                                  tonumber(lib.gdn_channel_largest(out[0], 1))) or records.said())
          if status == 0 then lib.gdn_channel_free(out[0]) end
          assert.are.equal(before, descriptors())
        end
      end
    end
    for _, descriptor in ipairs { -1, 0, 1, 2, 33 } do
      local out = ffi.new "gdn_channel *[1]"
      assert.are.equal(-1, tonumber(lib.gdn_channel_open(descriptor, out, why, 512)))
      assert.are.equal(before, descriptors())
    end
    check "channel-sizes"
  end)
end)

describe("A step record", function()
  it("becomes a batch, each number at its place in each group", function()
    notes.clear()
    local ROWS, GROUPS, COLUMNS = 3, 2, 3
    local builder = records.builder { checkpoint_any = true }
    local batch, step = assert(builder:batch()), ffi.new "gdn_step_record"
    local held, next_value = {}, 0
    local function distinct(n, values)
      local array = int32s(n)
      for k = 0, n - 1 do
        next_value = next_value + 1
        array[k] = values and values[k + 1] or 100 + next_value
      end
      held[#held + 1] = array
      return array
    end
    step.number, step.kind, step.graph, step.branches = 9, lib.GDN_STEP_ROWS, 2, 7
    step.num_rows, step.num_tokens, step.padded_rows, step.padded_tokens = ROWS, 24, 4, 30
    step.num_groups, step.columns = GROUPS, COLUMNS
    step.query_len, step.seq_len = distinct(3, { 3, 1, 20 }), distinct(3, { 13, 9, 20 })
    step.drafts, step.accepted_tokens = distinct(3, { 2, -1, -1 }), distinct(3, { 2, 1, 1 })
    step.prompt_done, step.read_column = distinct(3, { 1, 1, 0 }), distinct(3, { 2, -2, -1 })
    for _, name in ipairs { "table_row", "checkpoint_len", "samples" } do step[name] = distinct(ROWS) end
    step.slots, step.read_slots = distinct(GROUPS * ROWS * COLUMNS), distinct(GROUPS * ROWS)
    step.checkpoint_slot, step.tokens = distinct(GROUPS * ROWS), distinct(24)
    assert(lib.gdn_step_batch(step, builder.handle, batch.rows, why, 512) == 0, records.said())
    local c = batch.rows
    note("counts", c.num_rows, c.padded_rows, c.padded_tokens, c.indexed)
    for _, name in ipairs { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens", "prompt_done",
                            "table_row", "read_column", "checkpoint_len" } do
      note(name, c[name][0], c[name][1], c[name][2])
    end
    for group = 0, GROUPS - 1 do
      for row = 0, ROWS - 1 do
        local list, width = {}, c.max_blocks_per_row
        for k = 0, width - 1 do list[k + 1] = c.blocks[(group * c.max_rows + row) * width + k] end
        note(("group %d, row %d"):format(group, row), table.concat(list, " "),
          c.checkpoint_slot[group * c.max_rows + row])
      end
    end
    builder:close()
    check "step-batch"
  end)
end)
