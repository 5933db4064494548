-- Limits of options against each other and the builder: the last value that an engine takes, and the first
-- that it refuses.
local gdn = require "gdnmeta"
local noted = require "spec.support.noted"
local serve = require "spec.support.run_engine"

local notes = noted.new "capture-"
local note, check = notes.note, notes.check

local ALIGN = { mamba_cache_mode = "align", mamba_block_size = 16, max_blocks_per_row = 8, num_slots = 40 }
local MIXED = { full_cuda_graph = "mixed", max_num_batched_tokens = 64 }

-- { option, taken, refused, why; engine, builder: options beside it; of_builder: the option is the builder's;
-- second: options of a second builder }
local CASES = {
  { "max_num_seqs", 4, 5, "max_num_seqs = 5, want at most 4 (the builder's rows and requests)",
    builder = { max_rows = 4, max_requests = 9 } },
  { "max_num_seqs", 4, 5, "max_num_seqs = 5, want at most 4 (the builder's rows and requests)",
    builder = { max_rows = 9, max_requests = 4 } },
  { "max_num_batched_tokens", 64, 65, "max_num_batched_tokens = 65, want at most 64 (the builder's)" },
  { "max_num_batched_tokens", 4, 3, "max_num_batched_tokens = 3, want at least 4 (max_num_seqs)" },
  { "default_drafts", 2, 3, "default_drafts = 3, want at most 2 (num_speculative_tokens)",
    builder = { num_speculative_tokens = 2, num_slots = 40 } },
  { "kv_tokens", 16, 15, "kv_tokens = 15, want at least 16 (kv_block_size)" },
  { "kv_tokens", 64, 63, "kv_tokens = 63, want at least 64 (kv_block_size)",
    engine = { kv_block_size = 64 } },
  { "decode_context_parallel_size", 1, 2, "decode_context_parallel_size > 1 with speculation: drafts would "
    .. "not stand among the decodes", of_builder = true,
    builder = { num_speculative_tokens = 2, num_slots = 40 } },
  { "decode_context_parallel_size", 1, 2, "decode_context_parallel_size > 1 with speculation: drafts would "
    .. "not stand among the decodes", of_builder = true,
    builder = { num_speculative_tokens = 1, num_slots = 40 } },
  { "hash_block_size", 1024, 1025, "hash_block_size = 1025, want at most 1024 times kv_block_size = 1",
    engine = { kv_blocks = 4000, kv_block_size = 1, max_model_len = 60 },
    builder = { max_blocks_per_row = 2 } },
  { "chunked_prefill", true, false, "hash_block_size wants chunked_prefill",
    engine = { hash_block_size = 4, max_model_len = 60 }, builder = { max_blocks_per_row = 2 } },
  { "chunked_prefill", true, false, "chunked_prefill = false, want true with mamba_cache_mode align",
    builder = ALIGN },
  { "kv_blocks", nil, 4, "kv_tokens and kv_blocks, want one of them", engine = { kv_tokens = 64 } },
  { "capture_sizes", { 1, 64 }, { 1, 65 },
    "capture_sizes go up to 65, want at most 64, the builder's max_num_batched_tokens" },
  { "num_slots", 5, 4, "num_slots of group 0 = 4, want at least 5", of_builder = true,
    builder = { num_speculative_tokens = 3 } },
  { "num_slots", 2, 1, "num_slots of group 0 = 1, want at least 2", of_builder = true },
  { "max_model_len", 129, 130, "max_model_len = 130, want at most 129 (max_blocks_per_row)",
    builder = ALIGN },
  { "max_num_batched_tokens", 16, 15, "max_num_batched_tokens = 15, want at least 16 (mamba_block_size)",
    builder = ALIGN },
  { "long_prefill_token_threshold", 16, 15,
    "long_prefill_token_threshold = 15, want at least 16 (mamba_block_size)", builder = ALIGN },
  { "long_prefill_token_threshold", 0, 1,
    "long_prefill_token_threshold = 1, want at least 16 (mamba_block_size)", builder = ALIGN },
  { "kv_tokens", 16, 15, "kv_tokens = 15, want at least 16 (kv_block_size)", builder = ALIGN },
  { "num_slots", 3, 2, "num_slots of group 0 = 2, want at least 3", of_builder = true, builder = ALIGN },
  { "num_slots", 5, 4, "num_slots of group 0 = 4, want at least 5", of_builder = true, builder = ALIGN,
    engine = { async = true }, second = true },
  { "mixed_capture_sizes", { { tokens = 64, rows = 4 } }, { { tokens = 65, rows = 4 } },
    "mixed_capture_sizes has 65 tokens, want at most 64, the builder's max_num_batched_tokens",
    builder = MIXED },
  { "mixed_capture_sizes", { { tokens = 64, rows = 4 } }, { { tokens = 64, rows = 5 } },
    "mixed_capture_sizes has 5 rows, want at most 4, the builder's max_rows", builder = MIXED },
}

local function copy_of(options)
  local copy = {}
  for name, value in pairs(options or {}) do copy[name] = value end
  return copy
end

-- The engine's options and the builder's with a value for the case's option.
local function options_of(case, value)
  local options, of_builder = copy_of(case.engine), copy_of(case.builder)
  if case.of_builder then of_builder[case[1]] = value else options[case[1]] = value end
  options.builder = serve.builder(of_builder)
  options.second_builder = case.second and serve.builder(of_builder) or nil
  return options
end

describe("An engine's option", function()
  for _, case in ipairs(CASES) do
    it(("%s has a last value and a first one past it: %s"):format(case[1], case[4]), function()
      local engine, message = gdn.engine(options_of(case, case[2]))
      assert.is_not_nil(engine, message)
      engine:close()
      local options = options_of(case, case[3])
      assert.has_error(function() gdn.engine(options) end, "gdnmeta.engine: " .. case[4])
    end)
  end

  it("capture_sizes is a list that follows from others, where it is not given", function()
    for _, graph in ipairs { false, true, "mixed" } do
      for _, drafts in ipairs { 0, 2 } do
        for _, seqs in ipairs { 1, 5, 40 } do
          for _, largest in ipairs { 0, 1, 24, 600 } do
            local builder = serve.builder { full_cuda_graph = graph, num_speculative_tokens = drafts,
                                            max_num_seqs = seqs, max_requests = 2 * seqs, max_rows = 2 * seqs,
                                            max_num_batched_tokens = 300, num_slots = 200,
                                            max_cudagraph_capture_size = largest > 0 and largest or nil }
            local engine = gdn.engine { builder = builder }
            local o, buckets = engine.private.options, {}
            for k, bucket in ipairs(o.mixed_capture_sizes or {}) do
              buckets[k] = ("%d/%d"):format(bucket.rows, bucket.tokens)
            end
            note(("%s, %d drafts, %d seqs, %d at most:"):format(tostring(graph), drafts, seqs, largest),
              table.concat(o.capture_sizes, " "), "|", table.concat(buckets, " "))
            engine:close()
            builder:close()
          end
        end
      end
    end
    check "sizes"
  end)
end)
