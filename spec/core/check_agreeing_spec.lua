-- Changes of one element contradict its neighbours (check_spec.lua). These agree, and contradict the step
-- alone.
local gdn = require "gdnmeta"

describe("A check of several elements that agree with each other", function()
  local builder, batch
  after_each(function()
    batch:close()
    builder:close()
  end)

  -- rows: { query_len, seq_len, drafts }; changes: { tensor, element, value }, of group 0
  local function finds(options, rows, changes, words)
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 8, max_num_batched_tokens = 600,
      check = true, num_speculative_tokens = 3, full_cuda_graph = true, rules = options.rules,
      pad_slot_id = options.pad_slot_id })
    batch = assert(builder:batch())
    for i = 0, 8 * 4 - 1 do builder:table(0)[i] = 1 + i end
    for i, row in ipairs(rows) do
      assert(batch:push(i - 1, row[1], row[2], row[1] <= 4 and row[2] > row[1], row[3], 1))
    end
    if options.pad then assert(batch:pad(options.pad, options.pad * rows[1][1])) end
    local meta = assert(builder:build(batch))
    assert.are.same({ true }, { builder:peek_check_result() })
    assert.are.same({ true }, { builder:take_check_result() })
    assert.are.same({ true, true }, { builder:peek_device_error(), builder:take_device_error() })
    for _, change in ipairs(changes) do meta[change[1]].data[change[2]] = change[3] end
    assert(builder:check())
    assert.are.equal("step 1: " .. words, (select(2, builder:peek_check_result())))
  end

  local Q, PREFILLS, ROWS, TILES = "non_spec_query_start_loc", "prefill_query_start_loc", "batch_ptr",
    "token_chunk_offset_ptr"
  local BOUNDARY = " is no boundary that the rows around it, their class and its tokens allow"
  local DECODES_AND_PREFILL = { { 1, 9, -1 }, { 1, 9, -1 }, { 5, 5, -1 } }

  it("knows decodes by their length", function()
    finds({ rules = "vllm-2026-08" }, DECODES_AND_PREFILL, { { Q, 1, 2 }, { ROWS, 1, 2 }, { ROWS, 2, -1 },
      { TILES, 2, -1 } }, Q .. "[1]" .. BOUNDARY)
  end)

  it("knows where decodes end", function()
    finds({ rules = "vllm-2026-08" }, DECODES_AND_PREFILL, { { Q, 2, 1 }, { PREFILLS, 0, -1 }, { ROWS, 1, 2 },
      { ROWS, 2, -1 }, { TILES, 2, -1 } }, Q .. "[2]" .. BOUNDARY)
  end)

  it("knows the first prefill by its length", function()
    local prefills = { { 5, 5, -1 }, { 5, 5, -1 } }
    finds({ rules = "vllm-2026-08" }, prefills, { { Q, 1, 1 }, { ROWS, 2, 1 }, { TILES, 2, 1 } },
      Q .. "[1]" .. BOUNDARY)
  end)

  it("knows how many tokens a row may have accepted", function()
    local rows = { { 4, 40, 3 }, { 4, 40, 3 } }
    local WORDS = "num_accepted_tokens[1] is outside 1 .. num_speculative_tokens + 1"
    for _, accepted in ipairs { 0, 5 } do
      local changes = { { "num_accepted_tokens", 1, accepted }, { "spec_conv_shift", 1, accepted - 1 } }
      finds({}, rows, changes, WORDS)
      if accepted == 0 then
        batch:close()
        builder:close()
      end
    end
  end)

  it("knows padding", function()
    local rows = { { 4, 40, 3 } }
    finds({ pad = 3 }, rows, { { "num_accepted_tokens", 2, 2 }, { "spec_conv_shift", 2, 1 } },
      "num_accepted_tokens[2] is not what padding holds")
    batch:close()
    builder:close()
    local STATES = "non_spec_state_indices_tensor"
    finds({ pad = 2, rules = "vllm-2026-08", pad_slot_id = -1 }, { { 1, 9, -1 } }, { { STATES, 1, 0 } },
      STATES .. "[1] is not what padding holds")
  end)

  it("knows how many tokens there are", function()
    finds({}, { { 1, 9, -1 }, { 5, 5, -1 } }, { { Q, 2, 7 }, { PREFILLS, 1, 6 } }, Q .. "[2]" .. BOUNDARY)
  end)
end)
