-- int32 memory of other libraries where a list would do: arrays, and { pointer, elements }.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local python = require "spec.support.python"
local raises = require "spec.support.raises"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local INT32 = "an integer in -2147483648 .. 2147483647"

ffi.cdef "struct gdn_spec_holder { int32_t before; int32_t list[3]; };"

local function make(options)
  options.device, options.max_num_seqs = "cpu", options.max_num_seqs or 4
  return assert(gdn.builder(options))
end

-- The same integers as a list, and in all the ways that memory may come.
local function ways(list)
  local n = #list
  local array = int32s(math.max(n, 1), list)
  local fixed = ffi.new(("const int32_t[%d]"):format(math.max(n, 1)), list)
  local out = { list = list, pointer = { ffi.cast("int32_t *", array), n },
                constant = { ffi.cast("const int32_t *", fixed), n }, cut = { array, n },
                keep = { array, fixed } } -- not a way: what the pointers lead to
  if n > 0 then out.array = array end
  if n == 3 then
    local holder = ffi.new "struct gdn_spec_holder"
    for i = 1, 3 do holder.list[i - 1] = list[i] end
    out.member, out.keep[3] = holder.list, holder
  end
  return out
end

local function each_way(list, use)
  local all = ways(list)
  for name, value in pairs(all) do
    if name ~= "keep" then use(value, name) end
  end
end

describe("int32 memory", function()
  it("is an argument of build_raw, whatever kind it comes in", function()
    local builder = make { rules = "vllm-2026-08", num_speculative_tokens = 1 }
    local lists = { query_start_loc = { 0, 2, 3 }, seq_lens = { 9, 8 }, num_accepted_tokens = { 2, 1 },
                    num_decode_draft_tokens = { 1, 0 }, prompt_done = { 1, 1 }, read_column = { 1, 0 } }
    for input, list in pairs(lists) do
      each_way(list, function(value, way)
        local inputs = { query_start_loc = { 0, 2, 3 }, seq_lens = { 9, 8 }, num_accepted_tokens = { 2, 1 },
                         num_decode_draft_tokens = { 1, 0 }, block_table = { { 5, 6 }, { 7, 8 } } }
        inputs[input] = value
        local meta = assert(builder:build_raw(inputs))
        local where = input .. " by " .. way
        assert.are.same({ 0, 2, 3 }, meta.spec_query_start_loc:totable(), where)
        assert.are.same({ 2, 1 }, meta.num_accepted_tokens:totable(), where)
        assert.are.same({ { 5, 6 }, { 7, 8 } }, meta.spec_state_indices_tensor:totable(), where)
      end)
    end
    builder:close()
  end)

  local function slots(builder, table_, more)
    local inputs = { query_start_loc = { 0, 1, 2 }, seq_lens = { 9, 8 }, block_table = table_ }
    for name, value in pairs(more or {}) do inputs[name] = value end
    local meta, out = assert(builder:build_raw(inputs)), {}
    for g = 1, builder.num_groups do out[g] = meta:group(g - 1).non_spec_state_indices_tensor:totable() end
    return out
  end

  it("is a table of build_raw, for one group and for several, with rows apart", function()
    local one, two = make { rules = "vllm-2026-08" }, make { rules = "vllm-2026-08", num_groups = 2 }
    local flat = { block_table_cols = 3 }
    each_way({ 5, 0, 0, 6, 0, 0 }, function(value, way)
      if way == "list" then return end
      assert.are.same({ { 5, 6 } }, slots(one, value, flat), way)
      assert.are.same({ { 5, 6 } }, slots(one, { value }, flat), way)
      local both = { value, { { 1, 0, 0 }, { 2, 0, 0 } } }
      assert.are.same({ { 5, 6 }, { 1, 2 } }, slots(two, both, flat), way)
      assert.are.same({ { 5, 6 } }, slots(one, value, { block_table_cols = 2, block_table_stride = 3 }), way)
    end)
    each_way({ 5, 9 }, function(value, way)
      assert.are.same({ { 5, 1 } }, slots(one, { value, { 1, 2 } }), way)
    end)
    local wide = ffi.new("int32_t[7]", 5, 1, 2, 3, 6, 7, 8) -- ends with the second row's columns
    local eight = ffi.new("int32_t[8]", 5, 1, 2, 3, 6)
    for n = 5, 8, 3 do
      local memory = { ffi.cast("int32_t *", eight), n }
      assert.are.same({ { 5, 6 } }, slots(one, memory, { block_table_cols = 1, block_table_stride = 4 }), n)
    end
    assert.are.same({ { 5, 6 } }, slots(one, wide, { block_table_cols = 3, block_table_stride = 4 }))
    for _, case in ipairs {
      { "block_table has 6 elements, want rows of block_table_cols = 2, block_table_stride = 5 apart",
        6, 2, 5 },
      { "block_table_stride = 2, want an integer in 3 .. 2147483647", 6, 3, 2 },
      { "block_table has 7 elements, want a multiple of block_table_cols = 2", 7, 2 },
      { 'block_table_stride = "4", want ' .. INT32, 6, 2, "4" },
    } do
      local memory, more = { wide, case[2] }, { block_table_cols = case[3], block_table_stride = case[4] }
      more.query_start_loc, more.seq_lens, more.block_table = { 0, 1, 2 }, { 9, 8 }, memory
      raises("gdnmeta.Builder:build_raw: " .. case[1], function() one:build_raw(more) end)
    end
    local mixed = { query_start_loc = { 0, 1, 2 }, seq_lens = { 9, 8 }, block_table_cols = 1,
                    block_table_stride = 4, block_table = { { wide, 5 }, { { 1 }, { 2 } } } }
    raises("gdnmeta.Builder:build_raw: block_table[2] has rows 1 elements apart, want 4 like the first",
           function() two:build_raw(mixed) end)
    one:close()
    two:close()
  end)

  it("holds blocks of rows, of tables and of pools, and lists of reorder", function()
    local builder = make { num_speculative_tokens = 2, num_slots = 100 }
    local batch = builder:batch()
    each_way({ 4, 5, 6 }, function(value, way)
      builder:set_blocks(0, 1, { 7, 8, 9 })
      builder:set_blocks(0, 1, value)
      local cells = builder:table(0)
      assert.are.same({ 4, 5, 6 }, { cells[3], cells[4], cells[5] }, way)
      for _, blocks in ipairs { value, { value } } do
        batch:clear()
        batch:add { query_len = 3, seq_len = 9, drafts = 2, prompt_done = true, blocks = blocks }
        local meta = assert(builder:build(batch))
        assert.are.same({ { 4, 5, 6 } }, meta.spec_state_indices_tensor:totable(), way)
      end
    end)
    each_way({ 3 }, function(value, way)
      builder:set_blocks(0, 1, { 7, 8, 9 })
      builder:set_blocks(0, 1, value)
      local cells = builder:table(0)
      assert.are.same({ 3, 0, 0 }, { cells[3], cells[4], cells[5] }, way)
    end)
    each_way({ 40, 50 }, function(value, way)
      local two = make { num_groups = 2, num_slots = value }
      assert.are.same({ 40, 50 }, two.num_slots, way)
      two:close()
    end)
    each_way({ 5, 1, 1 }, function(value, way)
      local got = gdn.reorder { decode_threshold = 1, num_scheduled = value, num_computed = { 9, 9, 9 },
                                num_prompt = { 3, 3, 3 } }
      assert.are.same({ true, { 2, 1, 0 } }, { got.modified, got.order }, way)
    end)
    each_way({ 1, 2, 3 }, function(value, way)
      if way == "list" then return end
      assert(builder:borrow_table(0, value, 3, 1))
      assert.is_nil((pcall(builder.table, builder, 0)) or nil)
      raises("gdnmeta.Builder:borrow_table: cells has 3 elements, want 6 for 2 rows",
             function() builder:borrow_table(0, value, 3, 2) end)
    end)
    builder:close()
  end)

  it("is refused by name where it cannot be int32 memory", function()
    local builder = make { rules = "vllm-2026-08", num_speculative_tokens = 2 }
    local array = ffi.new "int32_t[3]"
    local odd = ffi.cast("int32_t *", ffi.cast("char *", array) + 2)
    local at = ("%.0f"):format(tonumber(ffi.cast("uintptr_t", odd)))
    for _, case in ipairs {
      { " = cdata int *, want { pointer, elements }, for a pointer has no length",
        ffi.cast("int32_t *", array) },
      { "[2] = nil, want an integer in 0 .. 2147483647", { ffi.cast("int32_t *", array) } },
      { "[2] = -1, want an integer in 0 .. 2147483647", { ffi.cast("int32_t *", array), -1 } },
      { "[2] = 1.5, want an integer in 0 .. 2147483647", { array, 1.5 } },
      { " has 4 elements, want at most the array's 3", { array, 4 } },
      { " has 3 elements, want { pointer, elements }", { array, 2, 3 } },
      { "[1] = cdata int64_t *, want an int32_t pointer", { ffi.cast("int64_t *", array), 1 } },
      { "[1] = cdata unsigned int *, want an int32_t pointer", { ffi.cast("uint32_t *", array), 1 } },
      { "[1] = cdata void *, want an int32_t pointer", { ffi.cast("void *", array), 1 } },
      { "[1] leads to address 0, want memory", { ffi.cast("int32_t *", 0), 1 } },
      { "[1] leads to address 8, want memory", { ffi.cast("int32_t *", 8), 1 } },
      { ("[1] leads to address %s, want a multiple of 4"):format(at), { odd, 1 } },
    } do
      local value = case[2]
      local raw = { query_start_loc = { 0 }, seq_lens = value }
      local row = { query_len = 1, seq_len = 1, blocks = value }
      local rows = { decode_threshold = 1, num_scheduled = {}, num_computed = value, num_prompt = {} }
      local batch, pools = builder:batch(), { device = "cpu", num_slots = value }
      raises("gdnmeta.Builder:build_raw: seq_lens" .. case[1], function() builder:build_raw(raw) end)
      raises("gdnmeta.Builder:set_blocks: blocks" .. case[1], function() builder:set_blocks(0, 0, value) end)
      raises("gdnmeta.Batch:add: blocks" .. case[1], function() batch:add(row) end)
      raises("gdnmeta.reorder: num_computed" .. case[1], function() gdn.reorder(rows) end)
      raises("gdnmeta.builder: num_slots" .. case[1], function() gdn.builder(pools) end)
    end
    local four, pools = ffi.new "int32_t[4]", { num_groups = 2, num_slots = ffi.new("int32_t[2]", 3, 0) }
    raises("gdnmeta.Builder:set_blocks: blocks has 4 elements, want at most 3",
           function() builder:set_blocks(0, 0, four) end)
    raises("gdnmeta.builder: num_slots[2] = 0, want an integer in 1 .. 2147483647",
           function() gdn.builder(pools) end)
    builder:close()
  end)

  it("is copied whole and filled up with zeros, as a list is", function()
    local memory = require "gdnmeta.native.int32_memory"
    local list, target = {}, ffi.new "int32_t[10]"
    for n = 0, 9 do
      each_way(list, function(value, way)
        for k = 0, 9 do target[k] = -1 end
        assert.is_nil(memory.copy("it", value, target, 0, 9))
        for k = 0, 8 do assert.are.equal(list[k + 1] or 0, target[k], way) end
        assert.are.equal(-1, target[9], way)
      end)
      list[n + 1] = -2 ^ 31 + 77 * n
    end
  end)

  it("of no elements may lead nowhere", function()
    local builder = make { rules = "vllm-2026-08" }
    local meta = assert(builder:build_raw { query_start_loc = { 0 }, block_table_cols = 1,
      seq_lens = { ffi.cast("int32_t *", nil), 0 }, block_table = { ffi.cast("int32_t *", nil), 0 } })
    assert.are.equal(0, meta.num_rows)
    builder:close()
  end)

  it("of numpy comes by lupa #lua", function()
    if not python.has "lupa.luajit21" then return pending "skipped: no Python with numpy and lupa" end
    local text, code = python.run "spec/python/from_lua.py"
    assert.are.equal(0, code, text)
    assert.are.equal("5 6\n", text)
  end)
end)
