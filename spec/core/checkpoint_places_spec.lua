-- Where the prefills of vllm-2026-11 keep a state, of every row up to some length, in blocks and on grids of
-- every small size: what the oracle says.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local oracle = require "spec.support.oracle_checkpoints"

local BLOCK, LONGEST, MOST, WIDTH = 8, 40, 44, 6
local LISTS = {
  { "prefill_checkpoint_alignment", { 0, 1, 3, 4, 6 } }, { "hash_block_size", { 1, 2, 4, 8 } },
  { "cache_hit_alignment_tokens", { 2, 4, 8 } }, { "num_hash_lookahead_tokens", { 0, 1, 2, 3 } },
  { "drop_eagle_block", { false, true } },
}

-- body(config) for every choice of one value of each list.
local function each_config(body, config, n)
  n = n or 1
  if not LISTS[n] then return body(config) end
  for _, value in ipairs(LISTS[n][2]) do
    config[LISTS[n][1]] = value
    each_config(body, config, n + 1)
  end
end

local function builder_of(config)
  local options = {}
  for name, value in pairs(config) do options[name] = value end
  if config.prefill_checkpoint_alignment == 0 then options.prefill_checkpoint_alignment = nil end
  options.device, options.rules, options.max_num_seqs, options.max_num_batched_tokens = "cpu", "vllm-2026-11",
    MOST, 4096
  options.max_blocks_per_row, options.num_slots = WIDTH, MOST * WIDTH + 1
  return gdn.builder(options)
end

-- A row of each length after which `seq_len` tokens are there, also of more than those: the rules take it.
local function check(builder, batch, config, seq_len)
  local c, kept = batch.rows, 0
  for i = 0, MOST - 1 do
    c.query_len[i], c.seq_len[i], c.table_row[i], c.prompt_done[i] = MOST - i + 1, seq_len, i, 0
    c.num_draft_tokens[i], c.num_accepted_tokens[i] = -1, 1
  end
  c.num_rows = MOST
  assert.are.equal(0, tonumber(lib.gdn_build(builder.handle, c, nil)))
  local meta = lib.gdn_builder_metadata(builder.handle)
  local is_kept = meta.checkpoint_offsets.data ~= nil
  local offsets = ffi.cast("int32_t *", meta.checkpoint_offsets.data)
  local slots = ffi.cast("int32_t *", meta.checkpoint_state_indices.data)
  for i = 0, MOST - 1 do
    local offset, column = oracle.place(config, seq_len, c.query_len[i])
    local got, slot = is_kept and offsets[i] or 0, is_kept and slots[i] or 0
    local want = offset and 1 + i * WIDTH + column or 0
    if got ~= (offset or 0) or slot ~= want then
      assert.are.same({ config, seq_len, c.query_len[i], offset or 0, want },
                      { config, seq_len, c.query_len[i], got, slot })
    end
    if offset then kept = kept + 1 end
  end
  return kept
end

describe("A prefill keeps a state", function()
  it("where the oracle says", function()
    local builders, kept = 0, 0
    each_config(function(config)
      local builder = assert(builder_of(config))
      builders = builders + 1
      local batch, cells = assert(builder:batch()), builder:table(0)
      for i = 0, MOST * WIDTH - 1 do cells[i] = 1 + i end
      local asked = {}
      for name, value in pairs(config) do asked[name] = value end
      if asked.prefill_checkpoint_alignment == 0 then asked.prefill_checkpoint_alignment = nil end
      for seq_len = 0, LONGEST do kept = kept + check(builder, batch, asked, seq_len) end
      batch:close()
      builder:close()
    end, { mamba_cache_mode = "align", mamba_block_size = BLOCK, num_prefill_checkpoint_blocks = 1,
           num_speculative_tokens = 1, num_speculative_blocks = 0 })
    assert.are.same({ 480, true }, { builders, kept > 50000 })
  end)
end)
