-- Options of a builder: defaults, derived fields, ranges.
local gdn = require "gdnmeta"
local options = require "gdnmeta.builder.options"
local raises = require "spec.support.raises"

local null = require("cjson").null

local function make(given)
  given.device = given.device or "cpu"
  return assert(gdn.builder(given))
end

describe("gdnmeta.builder", function()
  it("knows what follows from its options", function()
    local builder = make { max_num_seqs = 4, num_speculative_tokens = 2, max_num_batched_tokens = 100,
                           num_groups = 3 }
    assert.are.equal(12, builder.decode_cudagraph_max_bs)
    assert.are.equal(2, builder.num_spec)
    assert.are.equal(3, builder.reorder_batch_threshold)
    assert.are.equal(12, builder.max_rows)
    assert.are.equal(100, builder.max_num_batched_tokens)
    assert.are.equal(12, builder.max_requests)
    assert.are.equal(3, builder.max_blocks_per_row)
    assert.are.equal(3, builder.num_groups)
    assert.are.equal("cpu", builder.device)
    assert.are.equal("strict", builder.rules)
    assert.is_true(builder.bytes > 3 * 12 * 3 * 4, "the state tables alone take more")
    builder:close()
  end)

  it("has a default for every option", function()
    local builder = make {}
    assert.are.same({ 256, 256, 8192, 256, 1, 1, 0, 1, "strict" }, {
      builder.max_rows, builder.decode_cudagraph_max_bs, builder.max_num_batched_tokens, builder.max_requests,
      builder.max_blocks_per_row, builder.num_groups, builder.num_spec, builder.reorder_batch_threshold,
      builder.rules })
    builder:close()
    local automatic = assert(gdn.builder {})
    assert.is_truthy(automatic.device == "cpu" or automatic.device:match "^cuda:%d+$")
    automatic:close()
  end)

  it("takes every option of a configuration, null for none", function()
    local builder = make {
      rules = "vllm-2026-04", max_num_seqs = 4, max_num_batched_tokens = 64, max_rows = 9,
      num_speculative_tokens = 3, full_cuda_graph = true, max_cudagraph_capture_size = 10,
      mamba_cache_mode = "align", mamba_block_size = 16, num_speculative_blocks = 5, num_groups = 2,
      num_slots = { 40, 50 }, max_requests = 7, max_blocks_per_row = 8, parallel_drafting = true,
      decode_context_parallel_size = 1, check_unique = false, pad_slot_id = -1,
      query_start_loc_dtype = "int64",
    }
    assert.are.same({ 10, 3, 7, 9, 64, 7, 8, 2, "vllm-2026-04" }, {
      builder.decode_cudagraph_max_bs, builder.num_spec, builder.reorder_batch_threshold, builder.max_rows,
      builder.max_num_batched_tokens, builder.max_requests, builder.max_blocks_per_row, builder.num_groups,
      builder.rules })
    builder:close()
    local plain = make { max_cudagraph_capture_size = null, num_slots = null, rules = null, max_rows = null }
    assert.are.equal(256, plain.decode_cudagraph_max_bs)
    assert.are.equal("strict", plain.rules)
    plain:close()
  end)

  it("gives as many speculative blocks as speculative tokens by default", function()
    local builder = make { mamba_cache_mode = "align", num_speculative_tokens = 3 }
    assert.are.equal(4, builder.max_blocks_per_row)
    builder:close()
  end)

  it("passes the cache mode and the rules on", function()
    for mode, state in pairs { none = 5, align = 6, all = 5 } do
      local builder = make { mamba_cache_mode = mode, mamba_block_size = 4, max_blocks_per_row = 2,
                             rules = "vllm-2026-08" }
      local meta = assert(builder:build_raw { query_start_loc = { 0, 1 }, seq_lens = { 8 },
                                              block_table = { { 5, 6 } } })
      assert.are.same({ state }, meta.non_spec_state_indices_tensor:totable(), mode)
      builder:close()
    end
    for _, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
      local builder = make { rules = rules, full_cuda_graph = true }
      local meta = assert(builder:build_raw { query_start_loc = { 0, 1 }, seq_lens = { 8 },
                                              block_table = { { 5 } }, num_actual_tokens = 3 })
      -- Only vllm-2026-04 pads rows to the token count; only strict has read indices.
      assert.are.equal(rules == "vllm-2026-04" and 3 or 1, #meta.non_spec_state_indices_tensor)
      assert.are.equal(rules == "strict", meta.non_spec_read_state_indices ~= nil)
      builder:close()
    end
  end)

  it("refuses what it does not know, at the caller's line", function()
    raises("gdnmeta.builder: unknown option max_num_sequences",
           function() gdn.builder { max_num_sequences = 1 } end)
    raises("gdnmeta.builder: unknown option 1", function() gdn.builder { 5 } end)
    raises("gdnmeta.builder: want a table of options, got nil", function() gdn.builder() end)
    raises('gdnmeta.builder: want a table of options, got "cpu"', function() gdn.builder "cpu" end)
  end)

  it("refuses numbers outside of a domain, by name and at the caller's line", function()
    for _, case in ipairs {
      { "max_num_seqs", 2.5, "2.5", "1 .. 65536" },
      { "max_num_seqs", 0 / 0, "nan", "1 .. 65536" },
      { "max_num_seqs", "8", '"8"', "1 .. 65536" },
      { "max_num_seqs", 0, "0", "1 .. 65536" },
      { "max_num_seqs", 65537, "65537", "1 .. 65536" },
      { "max_num_seqs", {}, "a table", "1 .. 65536" },
      { "max_num_seqs", 8LL, "cdata int64_t", "1 .. 65536" },
      { "max_num_batched_tokens", 2^31, "2147483648", "1 .. 2147483647" },
      { "max_num_batched_tokens", 0, "0", "1 .. 2147483647" },
      { "max_rows", 65537, "65537", "1 .. 65536" },
      { "max_rows", 0, "0", "1 .. 65536" },
      { "num_speculative_tokens", 65, "65", "0 .. 64" },
      { "num_speculative_tokens", -1, "-1", "0 .. 64" },
      { "max_cudagraph_capture_size", 1 / 0, "inf", "1 .. 2147483647" },
      { "mamba_block_size", 0, "0", "1 .. 2147483647" },
      { "num_speculative_blocks", -1, "-1", "0 .. 2147483646" },
      { "num_speculative_blocks", 2^31 - 1, "2147483647", "0 .. 2147483646" },
      { "num_groups", 0, "0", "1 .. 64" },
      { "num_groups", 65, "65", "1 .. 64" },
      { "max_requests", true, "true", "1 .. 2147483647" },
      { "max_blocks_per_row", -2^31 - 1, "-2147483649", "1 .. 2147483647" },
      { "decode_context_parallel_size", 0, "0", "1 .. 2147483647" },
      { "num_slots", 0, "0", "1 .. 2147483647" },
    } do
      local name, value, shown, range = unpack(case)
      raises(("gdnmeta.builder: %s = %s, want an integer in %s"):format(name, shown, range),
             function() gdn.builder { [name] = value } end)
    end
  end)

  it("refuses names and flags of another kind", function()
    local devices = 'want "auto", "cpu", "cuda" or "cuda:N"'
    raises('gdnmeta.builder: device = "gpu", ' .. devices, function() gdn.builder { device = "gpu" } end)
    raises('gdnmeta.builder: device = "cuda:", ' .. devices, function() gdn.builder { device = "cuda:" } end)
    raises('gdnmeta.builder: device = "cuda:1000", ' .. devices,
           function() gdn.builder { device = "cuda:1000" } end)
    raises("gdnmeta.builder: device = 0, " .. devices, function() gdn.builder { device = 0 } end)
    raises('gdnmeta.builder: rules = "vllm", want "strict", "vllm-2026-04", "vllm-2026-08" or "vllm-2026-11"',
           function() gdn.builder { rules = "vllm" } end)
    raises('gdnmeta.builder: mamba_cache_mode = false, want "none", "align" or "all"',
           function() gdn.builder { mamba_cache_mode = false } end)
    raises('gdnmeta.builder: full_cuda_graph = 1, want true, false or "mixed"',
           function() gdn.builder { full_cuda_graph = 1 } end)
    raises('gdnmeta.builder: check_unique = "no", want true or false',
           function() gdn.builder { check_unique = "no" } end)
    raises("gdnmeta.builder: parallel_drafting = a function, want true or false",
           function() gdn.builder { parallel_drafting = print } end)
  end)

  it("numbers devices as CUDA does", function()
    local codes = { cpu = -1, auto = -2, cuda = 0, ["cuda:0"] = 0, ["cuda:1"] = 1, ["cuda:12"] = 12 }
    for name, code in pairs(codes) do
      assert.are.equal(code, tonumber(assert(options.parse { device = name }).device), name)
    end
  end)

  it("wants one pool size for all groups or one for each", function()
    raises('gdnmeta.builder: num_slots = "9", want an integer or a list with one per group',
           function() gdn.builder { num_slots = "9" } end)
    raises("gdnmeta.builder: num_slots has 1 elements, want 2",
           function() gdn.builder { num_groups = 2, num_slots = { 9 } } end)
    raises("gdnmeta.builder: num_slots[2] = 0.5, want an integer in 1 .. 2147483647",
           function() gdn.builder { num_groups = 2, num_slots = { 9, 0.5 } } end)
    raises("gdnmeta.builder: num_slots[2] = nil, want an integer in 1 .. 2147483647",
           function() gdn.builder { num_groups = 4, num_slots = { 100, nil, 50, 60 } } end)
    local builder = make { num_groups = 2, num_slots = { [0] = 2^31 - 1, 9, 10 } } -- lists count from 1
    local batch = builder:batch()
    batch:add { query_len = 1, seq_len = 1, blocks = { { 8 }, { 9 } } }
    assert(builder:build(batch))
    batch:clear()
    batch:add { query_len = 1, seq_len = 1, blocks = { { 8 }, { 10 } } }
    local meta, message, code = builder:build(batch)
    assert.is_nil(meta)
    assert.are.equal("rows[0] group 1 block 0 = 10, want 1 .. 9 (num_slots - 1)", message)
    assert.are.equal(-1, code)
  end)

  it("refuses a slot that two rows would write, unless told not to look", function()
    for _, check in ipairs { true, false, "default" } do
      local builder = check == "default" and make {} or make { check_unique = check }
      local batch = builder:batch()
      batch:add { query_len = 1, seq_len = 1, blocks = { 8 } }
      batch:add { query_len = 1, seq_len = 1, blocks = { 8 } }
      assert.are.equal(not check, builder:build(batch) ~= nil, tostring(check))
    end
  end)

  it("returns what the core refuses", function()
    local builder, message, code = gdn.builder { device = "cpu", max_num_seqs = 65536,
                                                 num_speculative_tokens = 1 }
    assert.is_nil(builder)
    assert.are.equal("max_rows = 131072 (from max_num_seqs = 65536), want 1 .. 65536", message)
    assert.are.equal(-1, code)
  end)

  it("keeps its options so that they can be given again: every value comes back", function()
    local schema = require "gdnmeta.native.schema"
    for _, option in ipairs(schema.options) do
      local values = ({ FLAG = { true, false }, GRAPH = { true, false, "mixed" },
                        CODE = options.NAMES[option.name] })[option.kind] or { option.high }
      for _, value in ipairs(option.kind == "DEVICE" and {} or values) do
        local fields = assert(options.parse { [option.name] = value })
        assert.are.equal(value, options.given(fields, option), option.name)
      end
    end
    for _, value in ipairs { true, false, "mixed" } do
      local builder = make { full_cuda_graph = value, max_num_seqs = 4, max_num_batched_tokens = 64 }
      assert.are.equal(value, builder.full_cuda_graph)
      builder:close()
    end
  end)

  it("prints as what it is", function()
    local builder = make { max_num_seqs = 4 }
    local text = "gdnmeta.Builder(device=cpu, rules=strict, max_rows=4, max_num_batched_tokens=8192"
    assert.are.equal(text .. ")", tostring(builder))
    builder:close()
    assert.are.equal(text .. ", closed)", tostring(builder))
  end)
end)
