-- A few rows of every kind in every order, against the oracle: what stands at the back of a step is padding
-- only if it has neither tokens nor drafts that are named, no drafts included.
local gdn = require "gdnmeta"
local compare = require "spec.support.compare"
local feed = require "spec.support.submit_paths"
local oracle = require "spec.support.oracle"

local S, ROWS = 2, 4
-- Tokens, seq_len and drafts.
local KINDS = { { 3, 40, 2 }, { 2, 40, 1 }, { 1, 40, 0 }, { 1, 40, -1 }, { 0, 0, -1 }, { 0, 0, 0 } }
local NUM_KINDS = #KINDS

local function row_of(kind, i)
  local q, seq_len, drafts = unpack(KINDS[kind])
  return { q = q, seq_len = seq_len, drafts = drafts, accepted = 1 + i % (S + 1), prompt_done = q > 0,
           blocks = { { 3 * i + 1, 3 * i + 2, 3 * i + 3 } } }
end

describe("A few rows in any order are what the oracle says", function()
  for _, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
    it("under " .. rules, function()
      local config = {
        num_speculative_tokens = S, max_num_seqs = ROWS, full_cuda_graph = false, mamba_cache_mode = "none",
        mamba_block_size = 16, num_speculative_blocks = S, num_groups = 1, max_rows = ROWS,
        max_num_batched_tokens = 64, max_requests = ROWS, max_blocks_per_row = S + 1, num_slots = 99,
        decode_context_parallel_size = 1,
      }
      local options = { device = "cpu", rules = rules, check = true, poison = true }
      for name, value in pairs(config) do options[name] = value end
      local builder, built = assert(gdn.builder(options)), 0
      for number = 0, NUM_KINDS ^ ROWS - 1 do
        local rows, tokens, rest, names = {}, 0, number, {}
        for i = 1, ROWS do
          local kind = rest % NUM_KINDS + 1
          rest = math.floor(rest / NUM_KINDS)
          rows[i], names[i] = row_of(kind, i), kind
          tokens = tokens + rows[i].q
        end
        local inputs = feed.inputs(config, rows, row_of(5, 0), ROWS, tokens)
        local record, groups = oracle.build(rules, config, inputs)
        local meta, why = feed.paths.raw(builder, nil, inputs)
        local where = ("kinds %s: "):format(table.concat(names, " "))
        assert.are.equal(record == nil, meta == nil, where .. tostring(why))
        if record then
          local reason = compare.everything(record, groups, meta) or select(2, builder:peek_check_result())
          assert.is_nil(reason, where .. tostring(reason))
          built = built + 1
        end
      end
      builder:close()
      assert.is_true(built > 90, built)
    end)
  end
end)
