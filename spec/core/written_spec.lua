-- A build writes the elements of its tensors and nothing else: the rest of a poisoned builder's buffers is as
-- poison left it. What nobody is shown is not worth the time.
local ffi = require "ffi"

require("spec.support.counted_library").use() -- before gdnmeta is loaded

local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"

ffi.cdef [[const char *gdn_counted_buffers(const gdn_builder *b, int64_t *bytes);
           int64_t gdn_counted_buffer(const gdn_builder *b, int32_t field, int32_t what);]]

local random = math.random
local ROWS, GROUPS, STEPS, POISON = 9, 2, 60, 0xa5
local SIZES = { [0] = 4, 8, 1, 1 }
-- Written by runs, of which the last one may go too far: up to four elements, of 8 bytes.
local RUNS, TOO_FAR = { spec_token_indx = true, non_spec_token_indx = true }, 32

local WORLDS = {
  { "strict", {} }, { "strict, two drafts", { num_speculative_tokens = 2 } },
  { "strict, wide boundaries", { num_speculative_tokens = 1, query_start_loc_dtype = "int64" } },
  { "strict, flashinfer", { num_speculative_tokens = 1, gdn_prefill_backend = "flashinfer" } },
  { "strict, unchecked", { check_unique = false } },
  { "strict, buckets", { full_cuda_graph = "mixed", num_speculative_tokens = 2 } },
  { "strict, buckets without drafts", { full_cuda_graph = "mixed" } },
  { "vllm-2026-04", { rules = "vllm-2026-04", num_speculative_tokens = 2 } },
  { "vllm-2026-08", { rules = "vllm-2026-08" } },
  { "vllm-2026-11", { rules = "vllm-2026-11", num_speculative_tokens = 2 } },
  { "vllm-2026-11, checkpoints", { rules = "vllm-2026-11", mamba_cache_mode = "align", mamba_block_size = 8,
                                   num_prefill_checkpoint_blocks = 1, hash_block_size = 8,
                                   cache_hit_alignment_tokens = 8, max_blocks_per_row = 14 } },
}

-- Speculative rows, decodes, extends and first chunks, in that order; seldom of all kinds.
local function add(batch, S, width, keeps)
  local slot = 0
  for kind = S > 0 and 1 or 2, 4 do
    for _ = 1, random() < 0.6 and random(0, 2) or 0 do
      local blocks, drafts = {}, kind == 1 and S or nil
      for g = 1, GROUPS do
        blocks[g] = {}
        for k = 1, width do blocks[g][k] = slot + k end
      end
      slot = slot + width + 1
      local q = kind == 1 and S + 1 or kind == 2 and 1 or S + 1 + random(70)
      local is_kept = keeps and kind > 2 and q > 64 and random() < 0.5
      assert(batch:add { query_len = q, seq_len = kind == 4 and q or q + 30, drafts = drafts, blocks = blocks,
                         prompt_done = kind < 3, checkpoint_len = is_kept and (kind == 4 and 64 or 94) or nil,
                         checkpoint_slot = is_kept and { slot, slot } or nil,
                         read_column = kind ~= 4 and 0 or nil })
    end
  end
end

describe("A build writes its tensors and nothing else:", function()
  for _, world in ipairs(WORLDS) do
    it(world[1], function()
      math.randomseed(9)
      local o = { device = "cpu", max_num_seqs = ROWS, num_groups = GROUPS, num_slots = 400,
                  max_num_batched_tokens = 700 }
      for name, value in pairs(world[2]) do o[name] = value end
      local builder, size = assert(gdn.builder(o)), ffi.new "int64_t[1]"
      local batch, base = assert(builder:batch()), lib.gdn_counted_buffers(builder.handle, size)
      local memory, bytes = ffi.cast("uint8_t *", base), tonumber(size[0])
      local view = ffi.new "gdn_metadata"
      local keeps = not o.rules and not o.gdn_prefill_backend
      local function show(is_shown, name, tensor)
        if tensor.data == nil then return end
        local from = tonumber(ffi.cast("const char *", tensor.data) - base)
        local n = tensor.shape[0] * tensor.shape[1] * SIZES[tensor.dtype] + (RUNS[name] and TOO_FAR or 0)
        for i = from, from + n - 1 do is_shown[i] = true end
      end
      for step = 1, STEPS do
        lib.gdn_builder_poison(builder.handle)
        batch:clear()
        add(batch, o.num_speculative_tokens or 0, builder.max_blocks_per_row, keeps)
        if batch.num_rows > 0 then assert(builder:build(batch)) end
        local is_shown = {}
        for g = 0, GROUPS - 1 do
          assert(lib.gdn_metadata_group(builder.handle, g, view) == 0)
          for _, name in ipairs(compare.TENSORS) do show(is_shown, name, view[name]) end
          for _, name in ipairs(compare.STATE) do show(is_shown, name, view[name]) end
        end
        for i = 0, bytes - 1 do
          if memory[i] ~= POISON and not is_shown[i] then
            local f = 0
            while lib.gdn_counted_buffer(builder.handle, f + 1, 0) >= 0
              and lib.gdn_counted_buffer(builder.handle, f + 1, 1) <= i do f = f + 1 end
            assert(false, ("step %d: byte %d of field %d is written, and in no tensor"):format(step,
              i - tonumber(lib.gdn_counted_buffer(builder.handle, f, 1)), f))
          end
        end
      end
      batch:close()
      builder:close()
    end)
  end
end)
