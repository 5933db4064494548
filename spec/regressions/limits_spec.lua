-- Faults of other engines at the edges: of tables, of streams, of one launch.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"
local strict = require "spec.support.strict_rows"

local decode, spec = strict.decode, strict.spec

after_each(strict.close)

describe("Limits:", function()
  it("B15 (vllm #37035, #37052, #42084): no window reaches past its table row, however many drafts",
     function()
    for _, S in ipairs { 4, 10, 64 } do
      local few = ("num_speculative_blocks = %d, want >= %d (num_speculative_tokens)"):format(S - 1, S)
      assert.are.same({ nil, few, -1 },
                      { gdn.builder { num_speculative_tokens = S, num_speculative_blocks = S - 1,
                                      mamba_cache_mode = "align" } })
      assert.are.same({ nil, ("max_blocks_per_row = %d, want >= %d"):format(S, S + 1), -1 },
                      { gdn.builder { num_speculative_tokens = S, max_blocks_per_row = S } })
      local builder = strict.builder_of { num_speculative_tokens = S, num_speculative_blocks = S,
        mamba_cache_mode = "align", mamba_block_size = 100, max_blocks_per_row = S + 2, num_slots = 1000 }
      local blocks = {}
      for column = 1, S + 2 do blocks[column] = column end
      local row = { query_len = S + 1, seq_len = 200, drafts = S, accepted = 1, prompt_done = true,
                    blocks = blocks, read_column = S + 1 }
      local meta = assert(strict.build(builder, { row }))
      assert.are.same({ 2, S + 2 }, { meta.spec_state_indices_tensor[0], meta.spec_state_indices_tensor[S] })
      assert.are.equal(S + 2, meta.spec_read_state_indices[0])
      row.seq_len = 201
      local past = ("%d of the state table, want 0 .. %d"):format(S + 2, S + 1)
      assert.are.same({ nil, "rows[0].seq_len = 201 reaches column " .. past, -1 },
                      { strict.build(builder, { row }) })
      row.seq_len, row.read_column = 200, S + 2
      assert.are.same({ nil, ("rows[0].read_column = %d, want 0 .. %d"):format(S + 2, S + 1), -1 },
                      { strict.build(builder, { row }) })
    end
  end)

  it("B31 (flashinfer): a slot stands once in a launch, whichever row writes it", function()
    local builder = strict.builder_of()
    for _, case in ipairs { { decode(10), decode(10) }, { decode(11), spec(10) }, { spec(10), spec(12) },
                            { spec(10, { blocks = { 10, 11, 10 } }) },
                            { decode(10), decode(20, { blocks = { 20, 10 }, accepted = 2 }) } } do
      local meta, reason = strict.build(builder, case)
      assert.is_nil(meta)
      assert.matches("^rows%[%d%] group 0 %l+ block 1%d", reason)
    end
    local meta, seen = assert(strict.build(builder, { decode(13), spec(10), spec(20) })), {}
    for _, name in ipairs { "spec_state_indices_tensor", "non_spec_state_indices_tensor" } do
      for i = 0, #meta[name] - 1 do
        assert.is_nil(seen[meta[name][i]])
        seen[meta[name][i]] = true
      end
    end
  end)

  describe("on a stream:", function()
    local driver, builder, batch, stream
    before_each(function()
      driver = drivers.open "fake"
      stream = driver:stream()
      builder = assert(gdn.builder { device = "cuda", max_num_seqs = 64, num_speculative_tokens = 2,
                                     full_cuda_graph = true, num_groups = 2 })
      batch = assert(builder:batch())
      for g = 0, 1 do
        for row = 0, 63 do
          builder:set_blocks(g, row, { row * 3 + 1, row * 3 + 2, row * 3 + 3 })
        end
      end
    end)
    after_each(function()
      driver.lib.fake_hold(0)
      batch:close()
      builder:close()
      driver:close()
    end)

    -- Drafts are the host's: what it enqueues before a build on the build's stream, the build reads.
    it("B21 (sglang #32219): a build reads what was enqueued on its stream before it", function()
      local memory, counts = driver:int32(3), ffi.new("int32_t[3]", 3, 1, 2)
      driver:write(memory, { 1, 1, 1 })
      assert(builder:borrow_device_accepted(memory, 3))
      for row = 0, 2 do batch:push(row, 3, 40, true, 2, 1) end
      driver.lib.fake_hold(1)
      driver:call("cuMemcpyHtoDAsync_v2", ffi.cast("uint64_t", memory), counts, 12, stream)
      local meta = assert(builder:build(batch, stream))
      assert.are.same({ 3, 1, 2 }, meta.num_accepted_tokens:totable())
      assert.are.same({ 3, 4, 8 }, meta.spec_read_state_indices:totable())
      assert.is_true(builder:peek_device_error())
    end)

    -- No program is compiled for a batch: the driver is asked the same few things, whatever it holds.
    it("B26 (TRT-LLM #12736): every mix of rows is one launch of what was loaded before", function()
      local first
      for _, case in ipairs { { 1, 0, 0 }, { 64, 0, 0 }, { 0, 1, 0 }, { 0, 40, 0 }, { 0, 0, 1 },
                              { 0, 0, 20 }, { 3, 5, 2 }, { 20, 20, 20 }, { 0, 0, 0 }, { 17, 0, 9 } } do
        batch:clear()
        for kind, n in ipairs(case) do
          for _ = 1, n do
            local row = batch.num_rows
            if kind == 1 then batch:push(row, 1, 40 + row, true) end
            if kind == 2 then batch:push(row, 3, 40 + row, true, 2, 1) end
            if kind == 3 then batch:push(row, 9 + row, 9 + row, false) end
          end
        end
        driver.lib.fake_reset()
        assert(builder:build(batch, stream))
        local asked = {}
        for _, what in ipairs { "calls", "launches", "copies", "waits", "allocations" } do
          asked[what] = driver:count(what)
        end
        first = first or asked
        assert.are.same(first, asked)
        assert.are.same({ 1, 0, 0, 0 }, { asked.launches, asked.copies, asked.waits, asked.allocations })
      end
    end)
  end)
end)
