-- Rules strict by hand: small steps whose metadata can be checked on paper.

local rows = require "spec.support.strict_rows"

local builder_of, build = rows.builder_of, rows.build
local decode, spec, fresh = rows.decode, rows.spec, rows.fresh

local function fields(meta, names)
  local out = {}
  for _, name in ipairs(names) do
    local value = meta[name]
    out[name] = type(value) == "number" and value or value and value:totable()
  end
  return out
end

local function shows(want, meta)
  local names = {}
  for name in pairs(want) do names[#names + 1] = name end
  assert.are.same(want, fields(meta, names))
end

after_each(rows.close)

describe("Under strict", function()
  it("a fresh one-token prompt is a prefill that reads no state", function()
    local meta = assert(build(builder_of(), { decode(10), fresh(20, { query_len = 1, seq_len = 1 }) }))
    shows({ num_decodes = 1, num_decode_tokens = 1, num_prefills = 1, num_prefill_tokens = 1,
      has_initial_state = { true, false }, prefill_has_initial_state = { false },
      non_spec_state_indices_tensor = { 10, 20 }, non_spec_read_state_indices = { 10, 0 },
      prefill_query_start_loc = { 0, 1 }, prefill_state_indices = { 20 }, prefill_read_state_indices = { 0 },
      chunk_indices = { { 0, 0 } }, chunk_offsets = { 0, 1 } }, meta)
  end)

  it("a resumed one-token chunk stays a decode", function()
    local row = decode(10, { prompt_done = false })
    shows({ num_decodes = 1, num_prefills = 0 }, assert(build(builder_of(), { row })))
    assert.is_nil(build(builder_of(), { row }).has_initial_state)
  end)

  it("a plain step after a speculative one reads where the last accepted token left its state", function()
    local builder = builder_of()
    local meta = assert(build(builder, { decode(10, { accepted = 3 }), decode(20, { accepted = 1 }) }))
    shows({ non_spec_read_state_indices = { 12, 20 }, non_spec_state_indices_tensor = { 10, 20 },
      non_spec_conv_shift = { 2, 0 } }, meta)
    assert.is_nil(meta.spec_read_state_indices)
    assert.is_nil(meta.num_accepted_tokens)
    meta = assert(build(builder, { decode(10, { accepted = 2 }), fresh(20, { accepted = 2 }) }))
    shows({ non_spec_read_state_indices = { 11, 0 }, non_spec_conv_shift = { 1, 0 },
      prefill_read_state_indices = { 0 } }, meta)
  end)

  it("a speculative step reads after the accepted token and writes one state per token", function()
    local meta = assert(build(builder_of(), { spec(10, { accepted = 2 }), spec(20, { accepted = 3 }) }))
    shows({ num_spec_decodes = 2, num_spec_decode_tokens = 6, spec_query_start_loc = { 0, 3, 6 },
      spec_state_indices_tensor = { { 10, 11, 12 }, { 20, 21, 22 } }, spec_read_state_indices = { 11, 22 },
      spec_conv_shift = { 1, 2 }, num_accepted_tokens = { 2, 3 }, spec_sequence_masks = { true, true },
      spec_token_indx = { 0, 1, 2, 3, 4, 5 }, non_spec_token_indx = {} }, meta)
    assert.is_nil(meta.non_spec_read_state_indices)
  end)

  it("a mixed step separates the tokens and keeps both kinds of indices", function()
    local meta = assert(build(builder_of(), { decode(10, { accepted = 2 }), spec(20), fresh(30) }))
    shows({ num_prefills = 2, num_prefill_tokens = 8, num_decodes = 0, num_spec_decodes = 1,
      spec_token_indx = { 1, 2, 3 }, non_spec_token_indx = { 0, 4, 5, 6, 7, 8, 9, 10 },
      spec_sequence_masks = { false, true, false }, non_spec_query_start_loc = { 0, 1, 8 },
      non_spec_state_indices_tensor = { 10, 30 }, non_spec_read_state_indices = { 11, 0 },
      non_spec_conv_shift = { 1, 0 }, has_initial_state = { true, false },
      prefill_read_state_indices = { 11, 0 }, spec_read_state_indices = { 20 } }, meta)
  end)

  it("rows that name 0 drafts are speculative, also where no row has any", function()
    local row = decode(10, { drafts = 0, accepted = 2 })
    shows({ num_decodes = 0, num_spec_decodes = 1, spec_read_state_indices = { 11 }, spec_conv_shift = { 1 },
      num_accepted_tokens = { 2 }, spec_query_start_loc = { 0, 1 }, uniform_spec_sequence_length = 1,
      spec_state_indices_tensor = { { 10, 11, 12 } } }, assert(build(builder_of(), { row })))
    shows({ num_decodes = 1, num_spec_decodes = 0 },
      assert(build(builder_of { num_speculative_tokens = 0 }, { decode(10, { drafts = 0 }) })))
    shows({ num_spec_decodes = 1, num_prefills = 2, non_spec_read_state_indices = { 20, 0 } },
      assert(build(builder_of(), { row, decode(20), fresh(30) })))
    shows({ num_spec_decodes = 2, num_prefills = 0, spec_query_start_loc = { 0, 1, 4 },
      spec_state_indices_tensor = { { 10, 11, 12 }, { 20, 21, 22 } } },
      assert(build(builder_of(), { row, spec(20) })))
  end)

  it("a window that moved is read where it was and written where it is", function()
    local builder = builder_of { mamba_cache_mode = "align", mamba_block_size = 16,
      num_speculative_tokens = 0, num_speculative_blocks = 0 }
    -- 32 tokens are computed, in columns 0 and 1; token 33 opens column 2.
    local row = decode(1, { seq_len = 33, blocks = { 7, 8, 9 } })
    shows({ non_spec_read_state_indices = { 8 }, non_spec_state_indices_tensor = { 9 } },
      assert(build(builder, { row })))
    row.seq_len = 34
    shows({ non_spec_read_state_indices = { 9 }, non_spec_state_indices_tensor = { 9 } },
      assert(build(builder, { row })))
  end)

  it("a speculative window reads the column that the host names", function()
    local builder = builder_of { mamba_cache_mode = "align", mamba_block_size = 16,
      num_speculative_blocks = 2 }
    local row = spec(1, { seq_len = 33, blocks = { 4, 5, 6, 7, 8 }, read_column = 1, accepted = 2 })
    shows({ spec_read_state_indices = { 5 }, spec_state_indices_tensor = { { 6, 7, 8 } },
      spec_conv_shift = { 1 } }, assert(build(builder, { row })))
  end)

  it("a fork reads its parent's block and writes its own", function()
    local child = fresh(20, { query_len = 4, seq_len = 36, blocks = { 20, 0, 0, 12 }, read_column = 3 })
    local meta = assert(build(builder_of(), { decode(10, { accepted = 3 }), child }))
    shows({ non_spec_read_state_indices = { 12, 12 }, non_spec_state_indices_tensor = { 10, 20 },
      has_initial_state = { true, true } }, meta)
  end)

  it("each group has its own states and one step", function()
    local builder = builder_of { num_groups = 2, num_slots = { 100, 300 } }
    local row = decode(10, { accepted = 2, blocks = { { 10, 11, 12 }, { 210, 211, 212 } } })
    local meta = assert(build(builder, { row }))
    shows({ non_spec_state_indices_tensor = { 10 }, non_spec_read_state_indices = { 11 } }, meta:group(0))
    shows({ non_spec_state_indices_tensor = { 210 }, non_spec_read_state_indices = { 211 },
      non_spec_conv_shift = { 1 } }, meta:group(1))
  end)

  it("padding exists only where a step is for a graph", function()
    local for_graph = builder_of { full_cuda_graph = true, max_cudagraph_capture_size = 4 }
    local meta = assert(build(for_graph, { decode(10, { accepted = 2 }) }, 3, 3))
    shows({ num_decodes = 1, num_decode_tokens = 1, num_actual_tokens = 3, num_rows = 3,
      non_spec_state_indices_tensor = { 10, 0, 0 }, non_spec_query_start_loc = { 0, 1, 1, 1 },
      non_spec_read_state_indices = { 11, 0, 0 }, non_spec_conv_shift = { 1, 0, 0 } }, meta)
    meta = assert(build(for_graph, { spec(10, { accepted = 3 }) }, 4, 12))
    shows({ num_spec_decodes = 1, num_spec_decode_tokens = 3, num_actual_tokens = 12,
      spec_state_indices_tensor = { { 10, 11, 12 }, { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 } },
      spec_read_state_indices = { 12, 0, 0, 0 }, spec_conv_shift = { 2, 0, 0, 0 },
      spec_query_start_loc = { 0, 3, 3, 3, 3 }, num_accepted_tokens = { 3, 1, 1, 1 },
      spec_sequence_masks = { true, false, false, false }, spec_token_indx = { 0, 1, 2 } }, meta)
    shows({ num_decodes = 1, non_spec_state_indices_tensor = { 10 }, non_spec_query_start_loc = { 0, 1 } },
      assert(build(builder_of(), { decode(10) }, 3, 3)))
    shows({ num_decodes = 1, non_spec_state_indices_tensor = { 10 }, non_spec_conv_shift = { 0 } },
      assert(build(for_graph, { decode(10) }, 5, 5)))
    shows({ num_prefills = 1, non_spec_state_indices_tensor = { 10 }, has_initial_state = { false },
      num_actual_tokens = 16 }, assert(build(for_graph, { fresh(10) }, 3, 16)))
  end)

  it("an empty step is a step", function()
    shows({ num_decodes = 0, num_prefills = 0, num_actual_tokens = 0, non_spec_state_indices_tensor = {},
      non_spec_query_start_loc = { 0 }, non_spec_conv_shift = {} }, assert(build(builder_of(), {})))
    local for_graph = builder_of { full_cuda_graph = true }
    shows({ num_decodes = 0, num_actual_tokens = 2, non_spec_state_indices_tensor = { 0, 0 },
      non_spec_query_start_loc = { 0, 0, 0 } }, assert(build(for_graph, {}, 2, 2)))
  end)

  it("a capture touches no state", function()
    local builder = builder_of { full_cuda_graph = true }
    local meta = assert(builder:capture { query_start_loc = { 0, 3, 6, 6 } })
    shows({ num_spec_decodes = 2, spec_query_start_loc = { 0, 3, 6, 6 }, num_accepted_tokens = { 3, 3, 1 },
      spec_state_indices_tensor = { { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 } }, spec_conv_shift = { 2, 2, 0 },
      spec_read_state_indices = { 0, 0, 0 } }, meta)
    meta = assert(builder:capture { query_start_loc = { 0, 1, 2 } })
    shows({ num_decodes = 2, num_prefills = 0, non_spec_state_indices_tensor = { 0, 0 },
      non_spec_read_state_indices = { 0, 0 }, non_spec_conv_shift = { 0, 0 } }, meta)
    assert.is_nil(meta.has_initial_state)
    meta = assert(builder:capture { query_start_loc = { 0, 1, 2, 2 },
      num_decode_draft_tokens = { 0, 0, -1 } })
    shows({ num_decodes = 0, num_spec_decodes = 2, spec_query_start_loc = { 0, 1, 2, 2 },
      spec_state_indices_tensor = { { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 } },
      num_accepted_tokens = { 1, 1, 1 }, uniform_spec_sequence_length = 1 }, meta)
    local _, message = builder:capture { query_start_loc = { 0, 1, 2 }, num_decode_draft_tokens = { 0, -1 } }
    assert.matches("^rows%[1%].num_decode_draft_tokens = %-1, want all rows alike, %-1 or 0", message)
    assert.is_nil(builder:capture { query_start_loc = { 0, 1, 4 } })
    assert.is_nil(builder:capture { query_start_loc = { 0, 2, 4 } })
  end)
end)
