-- What a step's tensors hold does not depend on the steps before it: steps of more and of fewer rows and
-- padding in turn, in memory that held other things, are what a builder that is new makes of each.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"

local random = math.random
local ROWS, CASES = 10, 25

local function add(batch, S, mixed)
  local rows = random(0, ROWS)
  local kind = random(mixed and 3 or 2)
  for i = 1, rows do
    local blocks = {}
    for k = 1, S + 1 do blocks[k] = i * (S + 1) + k end
    if kind == 2 and S > 0 then
      assert(batch:add { query_len = S + 1, seq_len = 30, drafts = S, accepted = random(S + 1),
                         prompt_done = true, blocks = blocks })
    else
      local is_chunk = kind == 3 and i > rows / 2
      assert(batch:add { query_len = is_chunk and 5 + S or 1, seq_len = 90, prompt_done = not is_chunk,
                         blocks = blocks })
    end
  end
  local q = kind == 2 and S + 1 or 1
  return random(rows, ROWS), kind == 3 and ROWS * (5 + S) or ROWS * q
end

describe("A step's padding", function()
  for _, options in ipairs { {}, { pad_slot_id = -1 }, { num_speculative_tokens = 2 },
                             { num_speculative_tokens = 2, full_cuda_graph = "mixed", pad_slot_id = -1 },
                             { full_cuda_graph = "mixed" }, { rules = "vllm-2026-08", pad_slot_id = -1 } } do
    local names = {}
    for name, value in pairs(options) do names[#names + 1] = name .. " " .. tostring(value) end
    table.sort(names)
    it("is its own: " .. table.concat(names, ", "), function()
      math.randomseed(11)
      local o = { device = "cpu", max_num_seqs = ROWS, max_rows = ROWS, num_slots = 99,
                  full_cuda_graph = true, max_num_batched_tokens = 200, max_cudagraph_capture_size = 100 }
      for name, value in pairs(options) do o[name] = value end
      local old = assert(gdn.builder(o))
      lib.gdn_builder_poison(old.handle)
      for case = 1, CASES do
        local new = assert(gdn.builder(o))
        lib.gdn_builder_poison(new.handle)
        local seed, views = random(2 ^ 30), {}
        for k, builder in ipairs { old, new } do
          math.randomseed(seed)
          local batch = assert(builder:batch())
          local rows, tokens = add(batch, o.num_speculative_tokens or 0, o.full_cuda_graph == "mixed")
          batch:pad(rows, tokens)
          local meta = assert(builder:build(batch))
          views[k] = {}
          for _, list in ipairs { compare.TENSORS, compare.STATE } do
            for _, name in ipairs(list) do views[k][name] = meta[name] and meta[name]:totable() end
          end
          batch:close()
        end
        assert.are.same(views[2], views[1], "case " .. case)
        new:close()
      end
      old:close()
    end)
  end

  -- What others write into a tensor is nobody's right: here it tells where a build wrote.
  it("that stands is not written again", function()
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = ROWS, num_slots = 99,
                                         pad_slot_id = -1, full_cuda_graph = true,
                                         max_cudagraph_capture_size = ROWS })
    local batch = assert(builder:batch())
    local slots
    local function build(rows, padded)
      batch:clear()
      for i = 1, rows do
        assert(batch:add { query_len = 1, seq_len = 9, prompt_done = true, blocks = { i } })
      end
      assert(batch:pad(padded, padded))
      slots = assert(builder:build(batch)).non_spec_state_indices_tensor
    end
    build(3, 6)
    build(3, 6)
    ffi.cast("int32_t *", lib.gdn_builder_metadata(builder.handle).non_spec_state_indices_tensor.data)[4] = 77
    build(3, 6)
    assert.are.same({ 1, 2, 3, -1, 77, -1 }, slots:totable())
    build(4, 6)
    assert.are.same({ 1, 2, 3, 4, 77, -1 }, slots:totable())
    build(5, 6)
    assert.are.same({ 1, 2, 3, 4, 5, -1 }, slots:totable())
    build(2, 6)
    assert.are.same({ 1, 2, -1, -1, -1, -1 }, slots:totable())
    batch:close()
    builder:close()
  end)

  it("of a row without tokens leaves the null blocks of the rows beside it", function()
    for _, rules in ipairs { "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
      local builder = assert(gdn.builder { device = "cpu", max_num_seqs = ROWS, rules = rules, num_slots = 99,
                                           pad_slot_id = -1 })
      local batch = assert(builder:batch())
      for _, q in ipairs { 1, 0, 1, 1, 0, 0, 1 } do
        assert(batch:add { query_len = q, seq_len = 9 * q, prompt_done = q > 0, blocks = { 0 } })
      end
      local meta = assert(builder:build(batch))
      assert.are.same({ 0, -1, 0, 0, -1, -1, 0 }, meta.non_spec_state_indices_tensor:totable())
      batch:close()
      builder:close()
    end
  end)

  -- Runs may go a few elements too far: what is written by runs is left out.
  local RUNS = { spec_token_indx = true, non_spec_token_indx = true }
  local SIZES = { [0] = 4, 8, 1, 1 }

  local function check_ends(builder, batch)
    lib.gdn_builder_poison(builder.handle)
    assert(builder:build(batch))
    local meta, seen = lib.gdn_builder_metadata(builder.handle), 0
    for _, name in ipairs(compare.TENSORS) do
      local tensor = meta[name]
      if tensor.data ~= nil and not RUNS[name] then
        local at = tensor.shape[0] * tensor.shape[1] * SIZES[tensor.dtype]
        assert.are.same({ name, 0xa5 }, { name, ffi.cast("uint8_t *", tensor.data)[at] })
        seen = seen + 1
      end
    end
    return seen
  end

  it("ends where the tensors end", function()
    local seen = 0
    for _, o in ipairs { { full_cuda_graph = false }, { full_cuda_graph = true },
                         { full_cuda_graph = "mixed" },
                         { full_cuda_graph = "mixed", num_speculative_tokens = 2 },
                         { full_cuda_graph = "mixed", query_start_loc_dtype = "int64" },
                         { rules = "vllm-2026-08", full_cuda_graph = true } } do
      o.device, o.max_num_seqs, o.max_rows, o.num_slots, o.pad_slot_id = "cpu", ROWS + 6, ROWS + 6, 99, -1
      o.max_num_batched_tokens, o.max_cudagraph_capture_size = 200, 100
      local builder = assert(gdn.builder(o))
      local batch = assert(builder:batch())
      math.randomseed(5)
      for _ = 1, CASES do
        batch:clear()
        local rows, tokens = add(batch, o.num_speculative_tokens or 0, o.full_cuda_graph ~= true)
        if o.full_cuda_graph then batch:pad(rows, tokens) end
        seen = seen + check_ends(builder, batch)
      end
      batch:close()
      builder:close()
    end
    assert.is_true(seen > 500, seen)
  end)

  it("ends where the tensors of checkpoints end", function()
    local builder = assert(gdn.builder { device = "cpu", rules = "vllm-2026-11", max_num_seqs = ROWS,
      num_slots = 99, mamba_cache_mode = "align", mamba_block_size = 64, max_blocks_per_row = 6,
      gdn_prefill_backend = "flashinfer", num_prefill_checkpoint_blocks = 1, hash_block_size = 64,
      prefill_checkpoint_alignment = 64, cache_hit_alignment_tokens = 64 })
    for decodes = 0, ROWS - 1 do
      local batch = assert(builder:batch())
      for row = 0, decodes do
        local q, seq_len = row < decodes and 1 or 200, row < decodes and 100 or 200
        assert(batch:add { query_len = q, seq_len = seq_len, prompt_done = q == 1,
                           blocks = { 1, 2, 3, 4, 5, 6 } })
      end
      assert.is_true(check_ends(builder, batch) > 5)
      assert.are.equal(1, lib.gdn_builder_metadata(builder.handle).num_checkpoints)
      batch:close()
    end
    builder:close()
  end)
end)
