-- full_cuda_graph = "mixed": shapes and addresses follow from the bucket, whatever the batch.
local gdn = require "gdnmeta"
local schema = require "gdnmeta.native.schema"
local raises = require "spec.support.raises"

local ECAP, EINVAL = gdn.ECAP, gdn.EINVAL

local function open(options)
  local all = { device = "cpu", full_cuda_graph = "mixed", num_speculative_tokens = 2, max_num_seqs = 8,
                max_rows = 8, max_num_batched_tokens = 256 }
  for name, value in pairs(options or {}) do all[name] = value end
  return assert(gdn.builder(all))
end

local function shape_of(tensor)
  return tensor and { shape = tensor.shape, dtype = tensor.dtype } or nil
end

describe("A bucket", function()
  it("is read while its memory lives, however busy the collector is", function()
    local pause, steps = collectgarbage("setpause", 1), collectgarbage("setstepmul", 10000)
    local filler, missing = {}, 0
    for n = 1, 150 do
      local b = assert(gdn.bucket(4, 65))
      if not b.live_counts or b.live_counts.shape[1] ~= 8 or b.num_tiles ~= 13 then missing = missing + 1 end
      filler[n % 50] = ("x"):rep(n * 20)
    end
    collectgarbage("setpause", pause)
    collectgarbage("setstepmul", steps)
    assert.are.equal(0, missing)
    assert.are.equal(101 * 20, #filler[1]) -- what took the place of memory that was freed
  end)

  it("says every shape before there is a builder", function()
    local b = assert(gdn.bucket(4, 65, { num_speculative_tokens = 2, query_start_loc_dtype = "int64" }))
    local function are(dtype, lengths)
      for name, n in pairs(lengths) do
        assert.are.same({ shape = { n }, dtype = dtype }, shape_of(b[name]), name)
      end
    end
    are("int64", { decode_query_start_loc = 5, spec_query_start_loc = 5, non_spec_query_start_loc = 6,
                   prefill_query_start_loc = 6, chunk_offsets = 6, spec_token_indx = 65,
                   non_spec_token_indx = 65 })
    are("int32", { non_spec_state_indices_tensor = 5, non_spec_read_state_indices = 5,
                   non_spec_conv_shift = 5,
                   prefill_state_indices = 5, prefill_read_state_indices = 5, decode_state_indices = 4,
                   decode_read_state_indices = 4, spec_read_state_indices = 4, spec_conv_shift = 4,
                   num_accepted_tokens = 4, batch_ptr = 2048, token_chunk_offset_ptr = 2048,
                   live_counts = 8 })
    assert.are.same({ shape = { 4, 3 }, dtype = "int32", per_group = true }, b.spec_state_indices_tensor)
    assert.are.same({ shape = { 2 + 4, 2 }, dtype = "int32", per_group = false }, b.chunk_indices)
    assert.are.same({ shape = { 5 }, dtype = "bool", per_group = false }, b.has_initial_state)
    assert.are.same({ shape = { 65 }, dtype = "uint8", per_group = false }, b.token_class)
    assert.are.same({ 4, 65, 9 + 4 }, { b.num_rows, b.num_actual_tokens, b.num_tiles })
    assert.is_nil(b.spec_sequence_masks)
    local base = { num_speculative_tokens = 2, query_start_loc_dtype = "int64" }
    assert.are.same(gdn.bucket(4, 65, base), gdn.bucket(4, 65, setmetatable({}, { __index = base })))
    local large = assert(gdn.bucket(1000, 8192, { num_speculative_tokens = 0, max_num_seqs = 1000 }))
    assert.are.same({ 2 * (1024 + 1000) }, large.batch_ptr.shape)
    for _, name in ipairs(schema.fields.tensors) do
      if name:find "^spec_" or name == "num_accepted_tokens" or name == "non_spec_token_indx" then
        assert.is_nil(large[name], name)
      end
    end
  end)

  it("is refused by name where a builder would not take it", function()
    assert.are.same({ 'full_cuda_graph = false, want "mixed": other steps have no bucket', EINVAL },
                    { select(2, gdn.bucket(4, 8, { full_cuda_graph = false })) })
    assert.are.same({ "rows = 300, want 0 .. 256 (max_rows)", ECAP }, { select(2, gdn.bucket(300, 8)) })
    assert.are.same({ "tokens = 8193, want 0 .. 8192 (max_num_batched_tokens)", ECAP },
                    { select(2, gdn.bucket(4, 8193)) })
    raises("gdnmeta.bucket: rows = -1, want an integer in 0 .. 2147483647", function() gdn.bucket(-1, 8) end)
    for _, rules in ipairs { "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
      local options = { device = "cpu", rules = rules, full_cuda_graph = "mixed" }
      assert.are.same({ 'full_cuda_graph = "mixed", want false or true but under strict', EINVAL },
                      { select(2, gdn.builder(options)) })
    end
  end)

  it("has all three classes side by side", function()
    local builder = open()
    local batch = builder:batch()
    batch:add { query_len = 1, seq_len = 10, prompt_done = true, blocks = { { 1, 2, 3 } } }
    batch:add { query_len = 3, seq_len = 12, prompt_done = true, drafts = 2, accepted = 2,
                blocks = { { 4, 5, 6 } } }
    batch:add { query_len = 70, seq_len = 90, blocks = { { 7, 8, 9 } } }
    assert(batch:pad(5, 128))
    local meta = assert(builder:build(batch))
    local function begins(name, want, pad, from)
      local list = meta[name]:totable()
      for i, value in ipairs(want) do assert.are.same(value, list[i], name .. " " .. i) end
      for i = #want + 1, from or #list do assert.are.same(pad, list[i], name .. " " .. i) end
    end
    begins("spec_query_start_loc", { 0, 3 }, 3)
    begins("non_spec_query_start_loc", { 0, 1, 71 }, 71)
    begins("decode_query_start_loc", { 0, 1 }, 1)
    begins("prefill_query_start_loc", { 1, 71 }, 71)
    begins("spec_state_indices_tensor", { { 4, 5, 6 } }, { 0, 0, 0 })
    begins("non_spec_state_indices_tensor", { 1, 7 }, 0)
    begins("decode_state_indices", { 1 }, 0)
    begins("prefill_state_indices", { 7 }, 0)
    begins("prefill_has_initial_state", { true }, false)
    begins("num_accepted_tokens", { 2 }, 1)
    begins("spec_conv_shift", { 1 }, 0)
    begins("spec_token_indx", { 1, 2, 3 }, 128)
    begins("chunk_indices", { { 0, 0 }, { 0, 1 } }, { 5, 0 })
    begins("chunk_offsets", { 0, 2 }, 2)
    begins("batch_ptr", { 0, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, -1)
    begins("live_counts", { 1, 70, 1, 1, 1, 3, 128, 3 })
    local classes = meta.token_class:totable()
    assert.are.equal("2111" .. ("3"):rep(70) .. ("0"):rep(54), table.concat(classes))
    local shapes = assert(gdn.bucket(5, 128, { num_speculative_tokens = 2, max_num_seqs = 8 }))
    for _, name in ipairs(schema.fields.tensors) do
      if shapes[name] then shapes[name].per_group = nil end
      assert.are.same(shapes[name], shape_of(meta[name]), name)
    end
    assert.are.equal(16 + 5, meta.num_tiles)
    builder:close()
  end)

  it("is captured without rows, and takes no raw step", function()
    local builder = open()
    local meta = assert(builder:capture { rows = 5, tokens = 128 })
    assert.are.same({ 0, 0, 5, 128 }, { meta.num_decodes, meta.num_prefills, meta.num_rows,
                                        meta.num_actual_tokens })
    assert.are.same({ "rows = 9, want 0 .. 8 (max_rows)", ECAP },
                    { select(2, builder:capture { rows = 9, tokens = 128 }) })
    raises("gdnmeta.Builder:capture: unknown input query_start_loc, want rows and tokens of a bucket",
           function() builder:capture { query_start_loc = { 0 } } end)
    local message = 'full_cuda_graph = "mixed" has no raw steps, want a batch, or a capture of '
      .. "rows and tokens"
    assert.are.same({ message, EINVAL }, { select(2, builder:build_raw {
      query_start_loc = { 0, 1 }, seq_lens = { 1 }, block_table = { { 1, 2, 3 } } }) })
    assert.are.equal(1, meta.step)
    builder:close()
  end)

  it("is refused by name where a builder has none", function()
    for _, options in ipairs { { full_cuda_graph = true }, { full_cuda_graph = false },
                               { full_cuda_graph = true, rules = "vllm-2026-11" } } do
      local builder = open(options)
      for name, sizes in pairs { rows = { rows = 5, tokens = 128 }, tokens = { tokens = 128 } } do
        local message = 'gdnmeta.Builder:capture: inputs have %s, want full_cuda_graph = "mixed" for a bucket'
        raises(message:format(name), function() builder:capture(sizes) end)
      end
      builder:close()
    end
  end)
end)
