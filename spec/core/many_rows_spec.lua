-- Steps of many rows against the oracle. Rows are looked through in blocks: what comes first of a kind is
-- found wherever it stands, at the ends of blocks and past them.
local gdn = require "gdnmeta"
local compare = require "spec.support.compare"
local feed = require "spec.support.submit_paths"
local oracle = require "spec.support.oracle"

local ROWS = 200
-- Where rows of the second kind begin: around blocks of 4, 8, 16, 32 and 64 rows.
local PLACES = { 0, 1, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 71, 127, 128, 136, 191, 192, 199,
                 200 }

local function row_of(q, seq_len, drafts, S, slot)
  local blocks = {}
  for k = 1, S + 1 do blocks[k] = slot * (S + 1) + k end
  return { q = q, seq_len = seq_len, drafts = drafts, accepted = S > 0 and 1 + slot % (S + 1) or 1,
           prompt_done = true, blocks = { blocks } }
end

-- Kinds of rows by name, in an order that strict takes.
local KINDS = {
  decode = function(S, i) return row_of(1, 9 + i, -1, S, i) end,
  spec = function(S, i) return row_of(S + 1, 40 + i, S, S, i) end,
  short = function(S, i) return row_of(1 + i % S, 40, i % S, S, i) end, -- drafts of other lengths
  extend = function(S, i) return row_of(S + 2 + i % 3, 90, -1, S, i) end,
  first = function(S, i) return row_of(2 + S + i % 3, 2 + S + i % 3, -1, S, i) end,
  single = function(S, i) return row_of(1, 1, -1, S, i) end, -- a first chunk of one token
  empty = function(S) return { q = 0, seq_len = 0, drafts = -1, accepted = 1, prompt_done = false,
                               blocks = { row_of(0, 0, -1, S, 0).blocks[1] } } end,
}
local PAIRS = { { "decode", "extend" }, { "decode", "first" }, { "extend", "first" }, { "spec", "decode" },
                { "decode", "spec" }, { "spec", "extend" }, { "short", "first" }, { "spec", "short" },
                { "decode", "single" }, { "single", "first" }, { "spec", "single" } }

describe("A step of many rows is what the oracle says", function()
  for _, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
    it("under " .. rules, function()
      local built = 0
      for _, S in ipairs { 0, 3 } do
        local config = {
          num_speculative_tokens = S, max_num_seqs = ROWS, full_cuda_graph = false, mamba_cache_mode = "none",
          mamba_block_size = 16, num_speculative_blocks = S, num_groups = 1, max_rows = ROWS,
          max_num_batched_tokens = 2000, max_requests = ROWS, max_blocks_per_row = S + 1,
          num_slots = (ROWS + 1) * (S + 1) + 1, decode_context_parallel_size = 1,
        }
        local options = { device = "cpu", rules = rules, check = true, poison = true }
        for name, value in pairs(config) do options[name] = value end
        local builder = assert(gdn.builder(options))
        for _, pair in ipairs(PAIRS) do
          local is_drafted = pair[1] == "spec" or pair[2] == "spec" or pair[1] == "short"
          for _, place in ipairs(is_drafted == (S > 0) and PLACES or {}) do
            local rows, tokens = {}, 0
            for i = 1, ROWS do
              rows[i] = KINDS[i <= place and pair[1] or pair[2]](S, i - 1)
              tokens = tokens + rows[i].q
            end
            local inputs = feed.inputs(config, rows, KINDS.empty(S), ROWS, tokens)
            local record, groups = oracle.build(rules, config, inputs)
            local meta, why = feed.paths.raw(builder, nil, inputs)
            local where = ("%s after %d of %s: "):format(pair[2], place, pair[1])
            assert.are.equal(record == nil, meta == nil, where .. tostring(why))
            if record then
              local reason = compare.everything(record, groups, meta)
                or select(2, builder:peek_check_result())
              assert.is_nil(reason, where .. tostring(reason))
              built = built + 1
            end
          end
        end
        builder:close()
      end
      assert.is_true(built > 150, built)
    end)
  end
end)
