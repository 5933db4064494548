-- Faults of other builders in which token belongs to whom.
local strict = require "spec.support.strict_rows"

local decode, spec, fresh = strict.decode, strict.spec, strict.fresh
local spread = { decode(10), spec(20), decode(30), spec(40, { query_len = 2, drafts = 1 }),
                 decode(50, { query_len = 3, prompt_done = false }),
                 fresh(60, { query_len = 70, seq_len = 70 }), fresh(70) }

after_each(strict.close)

describe("Tokens:", function()
  it("B9 (vllm #51812): those of both classes together are all tokens of the batch, each once", function()
    for n = 2, #spread do
      local meta = assert(strict.build(strict.builder_of(), { unpack(spread, 1, n) }))
      local all, tokens = {}, 0
      for _, name in ipairs { "spec_token_indx", "non_spec_token_indx" } do
        for _, token in ipairs(meta[name]:totable()) do all[#all + 1] = token end
      end
      table.sort(all)
      for i, token in ipairs(all) do assert.are.equal(i - 1, token) end
      for i = 1, n do tokens = tokens + spread[i].query_len end
      assert.are.equal(tokens, #all)
      assert.are.equal(tokens, meta.num_actual_tokens)
      assert.are.equal(meta.num_spec_decode_tokens, #meta.spec_token_indx)
      assert.are.equal(meta.num_prefill_tokens, #meta.non_spec_token_indx)
    end
  end)

  it("B10 (vllm, late 2025): those of a class keep their order", function()
    local meta = assert(strict.build(strict.builder_of(), spread))
    for _, name in ipairs { "spec_token_indx", "non_spec_token_indx" } do
      local list = meta[name]:totable()
      for i = 2, #list do assert.is_true(list[i] > list[i - 1], name) end
    end
    assert.are.same({ 1, 2, 3, 5, 6 }, meta.spec_token_indx:totable())
    assert.are.same({ 0, 4, 7, 8, 9, 10 }, { unpack(meta.non_spec_token_indx:totable(), 1, 6) })
    meta = assert(strict.build(strict.builder_of(), { spec(10), spec(20), spec(30) }))
    assert.are.same({ 0, 1, 2, 3, 4, 5, 6, 7, 8 }, meta.spec_token_indx:totable())
  end)

  -- A chunk's number in the flat grid and its number within the row are two things.
  it("B20 (sglang #31833, #37836): a chunk's place in the grid and its tokens agree", function()
    local rows = { decode(10) }
    for k, n in ipairs { 63, 64, 65, 128, 200 } do
      rows[#rows + 1] = fresh(10 * k + 10, { query_len = n, seq_len = n })
    end
    local meta = assert(strict.build(strict.builder_of(), rows))
    local starts, offsets = meta.prefill_query_start_loc:totable(), meta.chunk_offsets:totable()
    local covered = 0
    for k, pair in ipairs(meta.chunk_indices:totable()) do
      local row, chunk = pair[1] + 1, pair[2]
      assert.are.equal(k - 1, offsets[row] + chunk)
      local first = starts[row] + 64 * chunk
      assert.are.equal(covered, first)
      covered = math.min(first + 64, starts[row + 1])
    end
    assert.are.equal(starts[#starts], covered)

    local bounds, at = meta.non_spec_query_start_loc:totable(), 0
    local row_of, tile_of = meta.batch_ptr:totable(), meta.token_chunk_offset_ptr:totable()
    for k = 1, #row_of do
      if row_of[k] == -1 then
        assert.are.same({ -1, bounds[#bounds] }, { tile_of[k], at })
      else
        assert.are.equal(at, bounds[row_of[k] + 1] + 8 * tile_of[k])
        at = math.min(at + 8, bounds[row_of[k] + 2])
      end
    end
    assert.are.equal(2048, #row_of)
  end)
end)
