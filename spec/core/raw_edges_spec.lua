-- C's gdn_raw with every array at the end of readable memory: as many elements are read as are asked for, and
-- the same comes of them as of arrays elsewhere; more rows than there are; a capture after a longer one.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local page_end = require "spec.support.page_end"

local int32s = gdn.array_of "int32_t"
local RULES = { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" }
local COLUMNS, STRIDE = 4, 5
local ARRAYS = { "seq_lens", "num_accepted_tokens", "num_decode_draft_tokens", "prompt_done", "read_column" }
local COUNTED = { seq_lens = true, num_accepted_tokens = true, num_decode_draft_tokens = true }

local function builder_of(rules)
  return assert(gdn.builder { device = "cpu", rules = rules, max_num_seqs = 4, num_groups = 2,
                              max_num_batched_tokens = 40, num_slots = 99, num_speculative_tokens = 3,
                              full_cuda_graph = true })
end

-- lengths, seq_lens, accepted, drafts of each row
local CASES = {
  { { 4, 9, 2, 3 }, { 4, 8, 1, 3 }, { 0, 0, 1, -1 } },
  { { 1, 9, 2, -1 }, { 7, 8, 1, -1 } },
  { { 1, 9, 1, 0 }, { 1, 8, 1, 0 }, { 1, 7, 1, 0 } },
  { { 4, 9, 2, 3 }, { 1, 8, 1, -1 }, { 9, 9, 1, -1 } },
  { { 4, 9, 2, 3 } }, { { 1, 1, 1, -1 } }, {},
  { { 0, 0, 1, -1 } }, { { 0, 0, 1, -1 }, { 0, 0, 1, -1 } }, { { 4, 8, 4, 3 }, { 4, 8, 4, 3 } },
}

-- array(type, n, values), and 1 more where an array without elements would be none
local function raw_of(rules, case, array)
  local raw, n, held = ffi.new "gdn_raw", #case, {}
  raw.size, raw.num_reqs, raw.block_table_rows = ffi.sizeof(raw), n, n
  raw.block_table_cols, raw.block_table_stride = COLUMNS, STRIDE
  local start, tokens, longest = { 0 }, 0, 0
  local lists = { {}, {}, {}, {}, {} }
  for row, of in ipairs(case) do
    tokens, longest = tokens + of[1], math.max(longest, of[1])
    start[row + 1] = tokens
    for k = 1, 3 do lists[k][row] = of[k + 1] end
    lists[4][row], lists[5][row] = 1, -2
  end
  raw.num_actual_tokens, raw.max_query_len = tokens, longest
  held[1] = array("int32_t", n + 1, start)
  raw.query_start_loc, raw.num_query_start_loc = held[1], n + 1
  for k, name in ipairs(ARRAYS) do
    if name ~= "read_column" or rules == "strict" then
      held[k + 1] = array("int32_t", n, lists[k])
      raw[name] = held[k + 1]
    end
    if COUNTED[name] then raw["num_" .. name] = n end
  end
  local blocks, cells = {}, math.max((n - 1) * STRIDE + COLUMNS, 0)
  for k = 1, cells do blocks[k] = k end
  held[#held + 1] = array("int32_t", cells, blocks)
  held.tables = ffi.new("const int32_t *[2]", held[#held], held[#held])
  raw.block_tables = held.tables
  return raw, held
end

local function elsewhere(_, n, values) return int32s(n + 8, values) end

local function outcome(builder, call, raw)
  local status = tonumber(lib["gdn_" .. call](builder.handle, raw, nil))
  if status ~= 0 then return { status, ffi.string(lib.gdn_last_error(builder.handle)) } end
  local m = lib.gdn_builder_metadata(builder.handle)
  return { m.num_decodes, m.num_prefills, m.num_spec_decodes, m.num_actual_tokens, m.num_decode_tokens,
           m.num_prefill_tokens, m.num_spec_decode_tokens }
end

describe("Raw inputs", function()
  for _, rules in ipairs(RULES) do
    it("are read to their last elements, under " .. rules, function()
      local builder, taken = builder_of(rules), 0
      for _, call in ipairs { "build_raw", "capture" } do
        for _, case in ipairs(CASES) do
          local raw, held = raw_of(rules, case, elsewhere)
          local want, ends = outcome(builder, call, raw), page_end.new()
          taken = taken + (#want == 7 and 1 or 0)
          local at_end, held_too = raw_of(rules, case, ends.array)
          assert.are.same(want, outcome(builder, call, at_end))
          assert(held and held_too)
        end
      end
      assert.is_true(taken > 8, taken)
      builder:close()
    end)

    it("have no more rows than the builder, under " .. rules, function()
      local builder = builder_of(rules)
      local most, case = builder.max_rows or 16, {}
      for row = 1, 40 do case[row] = { 0, 0, 1, -1 } end
      local raw, held = raw_of(rules, case, elsewhere)
      for _, n in ipairs { most + 1, most + 2, 40 } do
        raw.num_query_start_loc, raw.num_reqs = n + 1, math.min(n, most)
        for _, call in ipairs { "build_raw", "capture" } do
          local said = ("query_start_loc has %d rows, want 0 .. %d (max_rows)"):format(n, most)
          assert.are.same({ gdn.ECAP, said }, outcome(builder, call, raw))
        end
      end
      assert(held)
      builder:close()
    end)
  end

  it("of a capture are as many rows as it has, whatever the one before had", function()
    local builder = builder_of "strict"
    local function capture(...)
      local case = {}
      for row, length in ipairs { ... } do case[row] = { length, 9, 1, length == 1 and -1 or length - 1 } end
      local raw, held = raw_of("strict", case, elsewhere)
      local got = outcome(builder, "capture", raw)
      assert(held)
      return got
    end
    local two, one = capture(4, 4), capture(1, 1)
    assert.are.same({ 7, 7 }, { #two, #one })
    assert.are.same({ 7, 7 }, { #capture(1, 1, 1), #capture(1, 1, 0) })
    for _ = 1, 2 do
      assert.are.same(one, capture(1, 1))
      capture(4, 4, 4)
      assert.are.same(one, capture(1, 1))
      assert.are.same(two, capture(4, 4))
    end
    assert.are.same({ gdn.EINVAL, "rows[1].query_len = 0, want all rows alike, 1 or 4" }, capture(1, 0, 1))
    local none, held = raw_of("strict", {}, elsewhere) -- after rows of one token, which say their drafts
    none.num_num_decode_draft_tokens = 3
    capture(1, 1)
    assert.are.equal(7, #outcome(builder, "capture", none))
    assert(held)
    builder:close()
  end)
end)
