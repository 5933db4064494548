-- Whole steps, their fields worked out by hand from the rules, as a Lua host reads them.
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local raises = require "spec.support.raises"

local FIELDS = { "num_prefills", "num_prefill_tokens", "num_decodes", "num_decode_tokens",
  "num_spec_decodes", "num_spec_decode_tokens", "num_actual_tokens", "num_rows", "spec_query_start_loc",
  "non_spec_query_start_loc", "spec_state_indices_tensor", "non_spec_state_indices_tensor",
  "spec_sequence_masks", "spec_token_indx", "non_spec_token_indx", "num_accepted_tokens",
  "has_initial_state", "chunk_indices", "chunk_offsets", "prefill_query_start_loc", "prefill_state_indices",
  "prefill_has_initial_state", "spec_read_state_indices", "non_spec_read_state_indices",
  "prefill_read_state_indices", "spec_conv_shift", "non_spec_conv_shift" }

-- Every field but the two conv tables, tensors as tables; absent ones are absent.
local function contents(meta)
  local out = {}
  for _, name in ipairs(FIELDS) do
    local value = meta[name]
    out[name] = type(value) == "cdata" and value:totable() or value
  end
  return out
end

-- The first entries of a conv table, which ends in -1s.
local function head(view)
  local all, out = view:totable(), {}
  for i, value in ipairs(all) do
    if value ~= -1 then
      assert(#out == i - 1, "an entry after the padding")
      out[i] = value
    end
  end
  return out
end

local function make(options)
  options.device, options.num_slots = "cpu", options.num_slots or 300
  return assert(gdn.builder(options))
end

local function build(builder, rows, padded_rows, padded_tokens)
  local batch = builder:batch()
  for _, row in ipairs(rows) do batch:add(row) end
  if padded_rows then batch:pad(padded_rows, padded_tokens) end
  return assert(builder:build(batch))
end

describe("metadata", function()
  it("of decodes and prefills", function()
    local builder = make {}
    local meta = build(builder, {
      { query_len = 1, seq_len = 11, blocks = { 5 }, prompt_done = true },
      { query_len = 70, seq_len = 170, blocks = { 6 } },
      { query_len = 3, seq_len = 3, blocks = { 7 } },
    })
    assert.are.same({
      num_prefills = 2, num_prefill_tokens = 73, num_decodes = 1, num_decode_tokens = 1,
      num_spec_decodes = 0, num_spec_decode_tokens = 0, num_actual_tokens = 74, num_rows = 3,
      non_spec_query_start_loc = { 0, 1, 71, 74 },
      non_spec_state_indices_tensor = { 5, 6, 7 },
      has_initial_state = { true, true, false },
      chunk_indices = { { 0, 0 }, { 0, 1 }, { 1, 0 } },
      chunk_offsets = { 0, 2, 3 },
      prefill_query_start_loc = { 0, 70, 73 },
      prefill_state_indices = { 6, 7 },
      prefill_has_initial_state = { true, false },
      non_spec_read_state_indices = { 5, 6, 0 },
      prefill_read_state_indices = { 6, 0 },
      non_spec_conv_shift = { 0, 0, 0 },
    }, contents(meta))
    assert.are.same({ 2048 }, meta.batch_ptr.shape)
    local c = lib.gdn_builder_metadata(builder.handle) -- C has nums_dict's tot as num_tiles
    assert.are.same({ 11, 11, 11 }, { c.num_tiles, meta.num_tiles, meta.nums_dict[8].tot })
    assert.are.same({ 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2 }, head(meta.batch_ptr))
    assert.are.same({ 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0 }, head(meta.token_chunk_offset_ptr))
    builder:close()
  end)

  it("of a speculative step with others in it", function()
    local builder = make { num_speculative_tokens = 3 }
    local meta = build(builder, {
      { query_len = 1, seq_len = 2001, blocks = { 7, 8 }, accepted = 2, prompt_done = true },
      { query_len = 4, seq_len = 830, blocks = { 9, 10, 11, 12 }, drafts = 3, accepted = 3,
        prompt_done = true },
      { query_len = 5, seq_len = 5, blocks = { 13 } },
    }, 4, 12)
    assert.are.same({
      num_prefills = 2, num_prefill_tokens = 6, num_decodes = 0, num_decode_tokens = 0,
      num_spec_decodes = 1, num_spec_decode_tokens = 4, num_actual_tokens = 12, num_rows = 4,
      spec_query_start_loc = { 0, 4 },
      non_spec_query_start_loc = { 0, 1, 6 },
      spec_state_indices_tensor = { { 9, 10, 11, 12 } },
      non_spec_state_indices_tensor = { 7, 13 },
      spec_sequence_masks = { false, true, false },
      spec_token_indx = { 1, 2, 3, 4 },
      non_spec_token_indx = { 0, 5, 6, 7, 8, 9 },
      num_accepted_tokens = { 3 },
      has_initial_state = { true, false },
      chunk_indices = { { 0, 0 }, { 1, 0 } },
      chunk_offsets = { 0, 1, 2 },
      prefill_query_start_loc = { 0, 1, 6 },
      prefill_state_indices = { 7, 13 },
      prefill_has_initial_state = { true, false },
      spec_read_state_indices = { 11 },
      non_spec_read_state_indices = { 8, 0 },
      prefill_read_state_indices = { 8, 0 },
      spec_conv_shift = { 2 },
      non_spec_conv_shift = { 1, 0 },
    }, contents(meta))
    assert.are.same({ "int64", "int64" }, { meta.spec_token_indx.dtype, meta.non_spec_token_indx.dtype })
    builder:close()
  end)

  it("of a speculative step staged for a graph", function()
    local builder = make { num_speculative_tokens = 1, full_cuda_graph = true, max_num_seqs = 4 }
    local meta = build(builder, {
      { query_len = 2, seq_len = 20, blocks = { 3, 4 }, drafts = 1, accepted = 2, prompt_done = true },
      { query_len = 2, seq_len = 30, blocks = { 5, 6 }, drafts = 1, accepted = 1, prompt_done = true },
    }, 3, 6)
    assert.are.same({
      num_prefills = 0, num_prefill_tokens = 0, num_decodes = 0, num_decode_tokens = 0,
      num_spec_decodes = 2, num_spec_decode_tokens = 4, num_actual_tokens = 6, num_rows = 3,
      spec_query_start_loc = { 0, 2, 4, 4 },
      spec_state_indices_tensor = { { 3, 4 }, { 5, 6 }, { 0, 0 } },
      spec_sequence_masks = { true, true, false },
      spec_token_indx = { 0, 1, 2, 3 },
      non_spec_token_indx = {},
      num_accepted_tokens = { 2, 1, 1 },
      spec_read_state_indices = { 4, 5, 0 },
      spec_conv_shift = { 1, 0, 0 },
    }, contents(meta))
    assert.are.equal("int32", meta.spec_token_indx.dtype)
    assert.is_nil(meta.batch_ptr)
    assert.is_nil(meta.nums_dict)
    builder:close()
  end)

  it("of a step without rows", function()
    local builder = make {}
    assert.are.same({
      num_prefills = 0, num_prefill_tokens = 0, num_decodes = 0, num_decode_tokens = 0, num_spec_decodes = 0,
      num_spec_decode_tokens = 0, num_actual_tokens = 0, num_rows = 0, non_spec_query_start_loc = { 0 },
      non_spec_state_indices_tensor = {}, non_spec_read_state_indices = {}, non_spec_conv_shift = {},
    }, contents(build(builder, {})))
    builder:close()
  end)

  it("has the conv1d record of kernels' authors", function()
    local builder = make {}
    local meta = build(builder, {
      { query_len = 1, seq_len = 11, blocks = { 5 }, prompt_done = true },
      { query_len = 17, seq_len = 17, blocks = { 6 } },
      { query_len = 8, seq_len = 8, blocks = { 7 } },
    })
    local record = meta.nums_dict
    assert.is_true(rawequal(record, meta.nums_dict))
    assert.is_nil(next(record, 8), "8 is its only key")
    local entry = record[8]
    assert.are.same({ 5, 5 }, { entry.tot, entry.mlist_len })
    assert.are.same({ 1, 3, 1 }, entry.nums:totable())
    assert.are.same({ 0, 1, 1, 1, 2 }, entry.mlist:totable())
    assert.are.same({ 0, 0, 1, 2, 0 }, entry.offsetlist:totable())
    assert.are.same({ "int32", "int64", "int32" },
                    { entry.nums.dtype, entry.mlist.dtype, entry.offsetlist.dtype })
    assert.is_true(entry.batch_ptr.data == meta.batch_ptr.data)
    assert.is_true(entry.token_chunk_offset_ptr.data == meta.token_chunk_offset_ptr.data)
    build(builder, {})
    assert.is_nil(meta.nums_dict)
    raises("gdnmeta.Tensor: stale, made at step 1, the builder is at step 2",
           function() return { entry.mlist[0] } end)
    builder:close()
  end)

  describe("of a cache group", function()
    local builder, meta
    local rows = {
      { query_len = 1, seq_len = 11, blocks = { { 5, 6 }, { 105, 106 }, { 205, 206 } }, prompt_done = true },
      { query_len = 2, seq_len = 12, blocks = { { 7, 8 }, { 107, 108 }, { 207, 208 } }, drafts = 1,
        accepted = 2, prompt_done = true },
    }
    before_each(function()
      builder = make { num_groups = 3, num_speculative_tokens = 1 }
      meta = build(builder, rows)
    end)
    after_each(function() builder:close() end)

    it("has that group's states, and the rest of the step", function()
      for g = 0, 2 do
        local group = meta:group(g)
        assert.are.same({ { 100 * g + 7, 100 * g + 8 } }, group.spec_state_indices_tensor:totable())
        assert.are.same({ 100 * g + 5 }, group.non_spec_state_indices_tensor:totable())
        assert.are.same({ 100 * g + 5 }, group.prefill_state_indices:totable())
        assert.are.same({ 100 * g + 8 }, group.spec_read_state_indices:totable())
        assert.are.same({ 100 * g + 5 }, group.non_spec_read_state_indices:totable())
        assert.are.same({ 100 * g + 5 }, group.prefill_read_state_indices:totable())
        assert.are.same({ 1, 2 }, { group.num_prefills, group.num_rows })
        assert.is_true(group.spec_token_indx.data == meta.spec_token_indx.data)
      end
      assert.are.same({ { 7, 8 } }, meta.spec_state_indices_tensor:totable())
    end)

    it("is one object, which follows the builder", function()
      local group = meta:group(2)
      assert.is_true(rawequal(group, meta:group(2)))
      assert.is_true(rawequal(group, meta:group(0):group(2)))
      assert.are.equal(205, group.non_spec_state_indices_tensor[0])
      local before = group.non_spec_state_indices_tensor
      build(builder, { { query_len = 1, seq_len = 1, blocks = { { 1 }, { 2 }, { 3 } } } })
      assert.are.equal(3, group.non_spec_state_indices_tensor[0])
      assert.is_nil(group.spec_state_indices_tensor)
      raises("gdnmeta.Tensor: stale, made at step 1, the builder is at step 2",
             function() before:totable() end)
    end)

    it("exists for the builder's groups only", function()
      local wanted = ", want an integer in 0 .. 2"
      raises("gdnmeta.Metadata:group: group = 3" .. wanted, function() meta:group(3) end)
      raises("gdnmeta.Metadata:group: group = -1" .. wanted, function() meta:group(-1) end)
      raises("gdnmeta.Metadata:group: group = nil" .. wanted, function() meta:group() end)
      raises("gdnmeta.Metadata:group: call it with a colon", function() meta.group(1) end)
    end)
  end)

  it("has no other fields, and cannot be written", function()
    local builder = make {}
    local meta = build(builder, {})
    raises('gdnmeta.Metadata: no field "num_prefils"', function() return { meta.num_prefils } end)
    raises("gdnmeta.Metadata: no field 1", function() return { meta[1] } end)
    raises('gdnmeta.Metadata: read-only, cannot set "num_rows"', function() meta.num_rows = 3 end)
    builder:close()
  end)

  it("of a closed builder raises", function()
    local builder = make { num_groups = 2 }
    local meta = build(builder, {})
    local group = meta:group(1)
    builder:close()
    local closed = "gdnmeta.Metadata: builder closed"
    raises(closed, function() return { meta.num_rows } end)
    raises(closed, function() return { meta.spec_token_indx } end)
    raises(closed, function() return { meta.nums_dict } end)
    raises(closed, function() return { group.num_rows } end)
    raises(closed, function() return { meta:group(1).num_rows } end)
  end)
end)
