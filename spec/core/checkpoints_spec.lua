-- States that prefills keep before their end, under vllm-2026-11: worked by hand, then who keeps none, then
-- what a check sees of them. The oracle (oracle_spec.lua) and the vectors say the rest.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"
local one_builder = require "spec.support.one_builder"

local OPTIONS = { rules = "vllm-2026-11", max_num_seqs = 4, max_num_batched_tokens = 600, check = true,
  num_groups = 2, mamba_cache_mode = "align", mamba_block_size = 64, max_blocks_per_row = 6,
  gdn_prefill_backend = "flashinfer", num_prefill_checkpoint_blocks = 1, prefill_checkpoint_alignment = 64,
  hash_block_size = 64, cache_hit_alignment_tokens = 64 }
local NONE = {}

local function changed(changes)
  local options = {}
  for name, value in pairs(OPTIONS) do options[name] = value end
  for name, value in pairs(changes or {}) do options[name] = value ~= NONE and value or nil end
  return options
end

describe("Checkpoints of prefills", function()
  local driver, builder, batch
  setup(function() driver = drivers.open "fake" end)
  teardown(function() driver:close() end)
  local open = one_builder(after_each)

  -- rows: { query_len, seq_len }; blocks 1 .. 6 of a row in group 0, 11 .. 16 in group 1, and so on.
  local function build(changes, rows)
    builder, batch = open(changed(changes))
    for i, row in ipairs(rows) do
      local blocks = { {}, {} }
      for k = 1, 6 do blocks[1][k], blocks[2][k] = 20 * (i - 1) + k, 20 * (i - 1) + 10 + k end
      assert(batch:add { query_len = row[1], seq_len = row[2], prompt_done = row[2] > row[1],
                         blocks = blocks })
    end
    return assert(builder:build(batch))
  end

  -- A decode; a prompt of 200 tokens whose last whole block ends at 192, so the state there goes to its
  -- third block; 60 tokens, less than a block; and a prompt of 256, of which the state at 192 is kept, not at
  -- its end, for the last token has to be computed again.
  local ROWS = { { 1, 100 }, { 200, 200 }, { 60, 60 }, { 256, 256 } }

  for _, device in ipairs { "cpu", "cuda" } do
    it("are where the rules say, on " .. device, function()
      local meta = build({ device = device }, ROWS)
      assert.are.same({ 0, 192, 0, 192 }, meta.checkpoint_offsets:totable())
      assert.are.same({ 0, 23, 0, 63 }, meta.checkpoint_state_indices:totable())
      assert.are.same({ 0, 33, 0, 73 }, meta:group(1).checkpoint_state_indices:totable())
      assert.are.same({ 192, 2 }, { meta.checkpoint_every_n_tokens, meta.num_checkpoints })
      assert.are.same({ 0, 1, 1, 2 }, meta.checkpoint_cu_starts:totable())
      assert.are.same({ 0, 0, 0, 1 }, meta.checkpoint_rows:totable())
      assert.is_nil(meta.chunk_indices)
      driver:call("cuStreamSynchronize", nil)
      assert.is_true(builder:peek_check_result())
    end)
  end

  it("are no row's behind the last one", function()
    build({ max_num_seqs = 6 }, ROWS)
    local c = batch.rows
    c.query_len[4], c.seq_len[4], c.prompt_done[4] = 100, 100, 0 -- which would keep a state at 64
    assert.are.equal(192, assert(builder:build(batch)).checkpoint_every_n_tokens)
  end)

  it("stand in the tables of the host or of the device", function()
    local cells = {}
    for i = 1, 4 * 6 do cells[i] = 100 + i end
    local table_ = driver:int32(#cells)
    driver:write(table_, cells)
    builder, batch = open(changed { device = "cuda", num_groups = 1 })
    assert(builder:borrow_device_table(0, table_, 6, 4))
    for i, row in ipairs(ROWS) do
      assert(batch:push(i - 1, row[1], row[2], row[2] > row[1]))
    end
    local meta = assert(builder:build(batch))
    assert.are.same({ 0, 109, 0, 121 }, meta.checkpoint_state_indices:totable())
    local lengths = driver:int32(4)
    assert(builder:borrow_device_seq_lens(lengths, 4))
    assert.are.same({ nil, "seq_lens are on the device, want them on the host: where prefills keep a state "
      .. "follows from them", gdn.EINVAL }, { builder:build(batch) })
    driver:free_all()
  end)

  it("have no plan without flashinfer, or off the grid of its chunks", function()
    for _, changes in ipairs { { gdn_prefill_backend = "triton" },
                               { prefill_checkpoint_alignment = 32, mamba_block_size = 64 } } do
      local meta = build(changes, ROWS)
      assert.are.same({ 0, 192, 0, 192 }, meta.checkpoint_offsets:totable())
      assert.are.same({}, { meta.checkpoint_every_n_tokens, meta.num_checkpoints, meta.checkpoint_rows })
    end
  end)

  it("lie further in front for lookahead, and for a block that drafting drops", function()
    assert.are.equal(128, build({ num_hash_lookahead_tokens = 65 }, { { 256, 256 } }).checkpoint_offsets[0])
    local drops = { drop_eagle_block = true, num_speculative_tokens = 1, num_speculative_blocks = 1 }
    assert.are.equal(192, build(drops, { { 256, 256 } }).checkpoint_offsets[0])
    assert.are.equal(128, build(drops, { { 200, 200 } }).checkpoint_offsets[0])
  end)

  it("are kept by none but whole new blocks on the grid", function()
    local NEVER = {
      { { prefill_checkpoint_alignment = NONE }, { 200, 200 } },
      { { hash_block_size = NONE }, { 200, 200 } },
      { { cache_hit_alignment_tokens = NONE }, { 200, 200 } },
      { { num_prefill_checkpoint_blocks = 0 }, { 200, 200 } },
      { { mamba_cache_mode = "none" }, { 200, 200 } },
      { {}, { 64, 64 } },                                        -- ends with its only block
      { {}, { 60, 124 } },                                       -- no block ends in it
      { {}, { 150, 230 } },                                      -- starts between two blocks of hashes
      { { prefill_checkpoint_alignment = 128 }, { 256, 256 } },  -- 192 is no multiple
    }
    for n, case in ipairs(NEVER) do
      local meta = build(case[1], { case[2] })
      local kept = meta.checkpoint_offsets and meta.checkpoint_offsets[0] or nil
      assert.is_nil(kept, ("case %d keeps a state at %s"):format(n, tostring(kept)))
      assert.is_nil(meta.checkpoint_state_indices)
    end
  end)

  it("are options of these rules alone", function()
    for _, name in ipairs { "num_prefill_checkpoint_blocks", "prefill_checkpoint_alignment",
                            "hash_block_size", "cache_hit_alignment_tokens", "num_hash_lookahead_tokens" } do
      local _, message, code = gdn.builder { device = "cpu", [name] = 1 }
      assert.are.same({ name .. " = 1, want 0 but under vllm-2026-11", gdn.EINVAL }, { message, code })
    end
    assert.is_nil((gdn.builder { device = "cpu", drop_eagle_block = true }))
    local _, message = gdn.builder { device = "cpu", rules = "vllm-2026-08",
                                     gdn_prefill_backend = "flashinfer" }
    assert.are.equal('gdn_prefill_backend = "flashinfer", want "triton" but under strict and vllm-2026-11',
                     message)
    for _, rules in ipairs { "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
      _, message = gdn.builder { device = "cpu", rules = rules, checkpoint_any = true }
      assert.are.equal("checkpoint_any = true, want false but under strict", message)
    end
  end)

  it("are seen by a check, whatever changes", function()
    local CHANGES = { checkpoint_offsets = { [0] = { 1, -1 }, { 64, 0, 200 }, { 70 }, { 256, 64 } },
      checkpoint_state_indices = { [0] = { 9 }, {}, { 9 }, {} },
      checkpoint_cu_starts = { [0] = { 1 }, { 0, 2 }, { 0, 2 }, { 1, 3 } },
      checkpoint_rows = { [0] = { 1 }, { 1 }, { 1 }, { 0, 2 } } }
    build({ device = "cpu" }, ROWS)
    local violation = ffi.new "gdn_violation"
    for name, elements in pairs(CHANGES) do
      local data = builder.metadata[name].data
      for i = 0, 3 do
        local was = data[i]
        for _, value in ipairs(elements[i]) do
          data[i] = value
          assert(builder:check())
          local at = ("%s[%d] = %d"):format(name, i, value)
          assert.is_true(lib.gdn_check_result(builder.handle, 1, violation) ~= 0, at)
          assert.are.equal(tonumber(lib.GDN_CHECK_CHECKPOINT), violation.code, at)
          data[i] = was
        end
      end
    end
    assert(builder:check())
    assert.is_true(builder:peek_check_result())
  end)
end)
