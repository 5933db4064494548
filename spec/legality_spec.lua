-- Which batches rules strict takes: for each clause the last legal value, which builds, and the first
-- illegal one, which is refused with the row, the field, the value and the wanted range.
local rows = require "spec.support.strict_rows"

local builder_of, build = rows.builder_of, rows.build
local decode, spec, fresh, empty = rows.decode, rows.spec, rows.fresh, rows.empty

after_each(rows.close)

local function builds(step, options)
  local meta, reason = build(builder_of(options), step)
  assert.is_truthy(meta, reason)
end

-- `message` is how the reason begins.
local function refuses(message, step, options)
  local meta, reason, code = build(builder_of(options), step)
  assert.is_nil(meta, message)
  assert.are.equal(message, reason:sub(1, #message))
  return code
end

local ALIGN = { mamba_cache_mode = "align", mamba_block_size = 16, num_speculative_blocks = 2 }

describe("A strict build wants", function()
  it("query_len >= 1 in front of other rows", function()
    builds { decode(10), decode(20), decode(30) }
    refuses("rows[1].query_len = 0, want >= 1", { decode(10), decode(20, { query_len = 0 }), decode(30) })
    refuses("rows[0].query_len = 0, want >= 1", { empty(), decode(30) })
  end)

  it("seq_len >= query_len", function()
    builds { fresh(10, { query_len = 7, seq_len = 7 }) }
    refuses("rows[0].seq_len = 6, want >= query_len = 7", { fresh(10, { seq_len = 6 }) })
    refuses("rows[1].seq_len = -1, want >= query_len = 1", { decode(10), decode(20, { seq_len = -1 }) })
  end)

  it("drafts in -1 .. S", function()
    builds { spec(10, { query_len = 3, drafts = 2 }) }
    builds { decode(10, { drafts = 0 }) }
    builds { decode(10, { drafts = -1 }) }
    refuses("rows[1].num_draft_tokens = 3, want -1 .. 2",
      { spec(10), spec(20, { query_len = 4, drafts = 3 }) })
    refuses("rows[0].num_draft_tokens = 1, want -1 .. 0", { spec(10, { query_len = 2, drafts = 1 }) },
      { num_speculative_tokens = 0 })
  end)

  it("query_len = drafts + 1 in a speculative row", function()
    builds { spec(10, { query_len = 2, drafts = 1 }) }
    refuses("rows[0].query_len = 3, want num_draft_tokens + 1 = 2", { spec(10, { drafts = 1 }) })
    refuses("rows[1].query_len = 2, want num_draft_tokens + 1 = 1",
      { spec(10), spec(20, { query_len = 2, drafts = 0 }) })
  end)

  it("a finished prompt, and computed tokens, in a speculative row", function()
    builds { spec(10, { seq_len = 4 }) }
    refuses("rows[0].prompt_done = 0, want 1", { spec(10, { prompt_done = false }) })
    refuses("rows[0].prompt_done = 0, want 1", { decode(10, { drafts = 0, prompt_done = false }) })
    refuses("rows[0].seq_len = 3, want > query_len = 3", { spec(10, { seq_len = 3 }) })
  end)

  it("accepted in 1 .. S + 1", function()
    builds { decode(10, { accepted = 1 }), decode(20, { accepted = 3 }) }
    refuses("rows[1].num_accepted_tokens = 4, want 1 .. 3", { decode(10), decode(20, { accepted = 4 }) })
    refuses("rows[0].num_accepted_tokens = 0, want 1 .. 3", { decode(10, { accepted = 0 }) })
    refuses("rows[0].num_accepted_tokens = 4, want 1 .. 3", { fresh(10, { accepted = 4 }) })
  end)

  it("decodes, short extends, long extends, first chunks, in this order", function()
    local short = decode(20, { query_len = 3, prompt_done = false })
    local long = decode(30, { query_len = 4, prompt_done = false })
    builds { decode(10), short, long, fresh(40) }
    builds { spec(10), decode(60), short, long, fresh(40), fresh(50) }
    refuses("rows[1] is a decode (query_len = 1, seq_len = 51) behind a short extend", { short, decode(10) })
    refuses("rows[2] is a short extend (query_len = 3, seq_len = 51) behind a long extend",
      { decode(10), long, short })
    refuses("rows[1] is a long extend (query_len = 4, seq_len = 51) behind a first chunk",
      { fresh(40), long })
    refuses("rows[1] is a decode (query_len = 1, seq_len = 51) behind a first chunk",
      { fresh(40), decode(10) })
  end)

  it("written blocks in 1 .. num_slots - 1", function()
    builds { decode(99, { blocks = { 99 }, read_column = 0 }) }
    builds { spec(1, { blocks = { 99, 1, 98 } }) }
    refuses("rows[0] group 0 block 0 = 0, want 1 .. 99 (num_slots - 1)", { fresh(10, { blocks = { 0 } }) })
    refuses("rows[0] group 0 block 0 = 100, want 1 .. 99 (num_slots - 1)",
      { fresh(10, { blocks = { 100 } }) })
    refuses("rows[1] group 0 block 2 = 0, want 1 .. 99 (num_slots - 1)",
      { spec(10), spec(20, { blocks = { 20, 21, 0 } }) })
    refuses("rows[1] group 0 block 2 = 100, want 1 .. 99 (num_slots - 1)",
      { spec(10), spec(20, { blocks = { 20, 21, 100 } }) })
    refuses("rows[0] group 1 block 0 = 50, want 1 .. 49 (num_slots - 1)",
      { fresh(10, { blocks = { { 50 }, { 50 } } }) }, { num_groups = 2, num_slots = { 100, 50 } })
  end)

  it("blocks in 0 .. num_slots - 1 where a speculative row has no draft to write", function()
    local short = { query_len = 2, drafts = 1 }
    builds { spec(10, { query_len = 2, drafts = 1, blocks = { 10, 11, 0 } }) }
    short.blocks = { 10, 11, 100 }
    refuses("rows[0] group 0 block 2 = 100, want 0 .. 99 (num_slots - 1)", { spec(10, short) })
    short.blocks = { 10, 11, -1 }
    refuses("rows[0] group 0 block 2 = -1, want 0 .. 99 (num_slots - 1)", { spec(10, short) })
  end)

  it("blocks that no other row writes", function()
    local shared = decode(20, { blocks = { 20, 11, 12 } })
    builds { spec(10), decode(40) }
    builds { decode(10), shared }
    refuses("rows[1] group 0 writes block 10, want one that rows[0] does not write",
      { decode(10), decode(10) })
    refuses("rows[1] group 0 writes block 12, want one that rows[0] does not write",
      { spec(10), spec(20, { blocks = { 20, 12, 22 } }) })
    refuses("rows[1] group 0 writes block 11, want one that rows[0] does not write",
      { spec(10), decode(11) })
    refuses("rows[0] group 0 names block 10 twice, want a block a column",
      { spec(10, { blocks = { 10, 10, 12 } }) })
    builds({ decode(10), decode(10) }, { check_unique = false })
  end)

  it("blocks to read that no other row writes", function()
    local own, foreign = { 20, 30, 31 }, { 20, 10, 31 }
    builds { decode(10), decode(20, { blocks = own, accepted = 2 }),
             decode(40, { blocks = { 40, 30, 41 }, accepted = 2 }) }
    builds { decode(10, { accepted = 1 }) }
    refuses("rows[1] group 0 reads block 10, want one that rows[0] does not write",
      { decode(10), decode(20, { blocks = foreign, accepted = 2 }) })
    refuses("rows[0] group 0 reads block 20, want one that rows[1] does not write",
      { decode(10, { blocks = { 10, 20, 12 }, accepted = 2 }), decode(20) })
    builds({ decode(10), decode(20, { blocks = foreign, accepted = 2 }) }, { check_unique = false })
  end)

  it("a read_column within the table row, and -1 exactly where nothing is computed", function()
    local full = { 10, 11, 12, 13, 14 }
    builds { decode(10, { blocks = full, read_column = 4 }) }
    builds { fresh(10, { read_column = -1 }) }
    refuses("rows[0].read_column = 5, want 0 .. 4", { decode(10, { blocks = full, read_column = 5 }) })
    refuses("rows[0].read_column = -1, want 0 .. 4", { decode(10, { read_column = -1 }) })
    refuses("rows[1].read_column = 0, want -1", { decode(10), fresh(20, { read_column = 0 }) })
  end)

  it("a read_column from the host in align with drafts", function()
    builds({ decode(10, { seq_len = 9, read_column = 0 }) }, ALIGN)
    builds({ fresh(10) }, ALIGN)
    refuses("rows[0].read_column is not given", { decode(10, { seq_len = 9 }) }, ALIGN)
  end)

  it("a read block in 1 .. num_slots - 1", function()
    builds { decode(10, { blocks = { 10, 99 }, accepted = 2 }) }
    refuses("rows[0] group 0 block at read_column 1 = 0, want 1 .. 99 (num_slots - 1)",
      { decode(10, { blocks = { 10, 0 }, accepted = 2 }) })
    refuses("rows[0] group 0 block at read_column 3 = 100, want 1 .. 99 (num_slots - 1)",
      { decode(10, { blocks = { 10, 11, 12, 100 }, read_column = 3 }) })
  end)

  it("the window of align within the table row", function()
    local row = decode(10, { blocks = { 1, 2, 3, 4, 5 }, read_column = 0 })
    row.seq_len = 48
    builds({ row }, ALIGN)
    row.seq_len = 49
    local meta, reason = build(builder_of(ALIGN), { decode(20, { seq_len = 9, read_column = 0 }), row })
    assert.is_nil(meta)
    assert.matches("rows[1]", reason, 1, true)
    assert.matches("seq_len = 49", reason, 1, true)
  end)

  it("null rows as padding", function()
    builds { decode(10), empty(), empty() }
    refuses("rows[1].seq_len = 1, want 0", { decode(10), empty { seq_len = 1 } })
    refuses("rows[2].num_draft_tokens = 0, want -1", { decode(10), empty(), empty { drafts = 0 } })
    refuses("rows[1] group 0 block 2 = 7, want 0", { decode(10), empty { blocks = { 0, 0, 7 } } })
  end)

  it("a table of S + 1 columns, and arrays of one length", function()
    local builder = builder_of()
    local inputs = { query_start_loc = { 0, 1 }, seq_lens = { 9 }, block_table = { { 4, 5, 6 } } }
    assert(builder:build_raw(inputs))
    inputs.block_table = { { 4, 5 } }
    local meta, reason = builder:build_raw(inputs)
    assert.is_nil(meta)
    assert.matches("block_table has 2 columns, want >= 3", reason, 1, true)
    inputs.block_table = { { 4, 5, 6 } }
    for name, list in pairs { seq_lens = { 9, 9 }, num_accepted_tokens = {},
      num_decode_draft_tokens = { -1, -1 }, block_table = { { 4, 5, 6 }, { 7, 8, 9 } } } do
      local kept = inputs[name]
      inputs[name] = list
      meta, reason = builder:build_raw(inputs)
      assert.is_nil(meta, name)
      assert.matches(name, reason, 1, true)
      inputs[name] = kept
    end
  end)

  it("num_reqs as many as there are rows, and no fewer tokens than they have", function()
    local builder = builder_of()
    local inputs = { query_start_loc = { 0, 5 }, seq_lens = { 9 }, block_table = { { 4, 5, 6 } },
      num_reqs = 1, num_actual_tokens = 5, prompt_done = { false } }
    assert(builder:build_raw(inputs))
    inputs.num_reqs = 2
    local meta, reason = builder:build_raw(inputs)
    assert.is_nil(meta)
    assert.matches("num_reqs = 2", reason, 1, true)
    inputs.num_reqs, inputs.num_actual_tokens = 1, 4
    meta, reason = builder:build_raw(inputs)
    assert.is_nil(meta)
    assert.matches("num_actual_tokens = 4, want >= 5", reason, 1, true)
  end)
end)
