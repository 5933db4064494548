-- Inputs on the device that cannot be right: the host refuses what it sees, the device what only it sees.
--   GDN_CUDA_SPECS=cuda   on a real device
local ffi = require "ffi"
local device_inputs = require "spec.support.device_inputs"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local raises = require "spec.support.raises"

local int32s, pointers = gdn.array_of "int32_t", gdn.array_of "const int32_t *"
local EINVAL = -1

describe("Inputs on the device:", function()
  local rig = device_inputs { setup = setup, teardown = teardown, after_each = after_each }
  local open, array, build = rig.open, rig.array, rig.build

  describe("what only the device sees becomes the null slot, and stays known:", function()
    local by_old_name -- is it forgotten every other time
    local function fault(expected, ...)
      local meta = assert(build(...))
      local states = (meta.spec_state_indices_tensor or meta.non_spec_state_indices_tensor):totable()
      local reads = (meta.spec_read_state_indices or meta.non_spec_read_state_indices):totable()
      local _, message, code = rig.builder:peek_device_error()
      assert.are.same({ expected, EINVAL }, { message, code })
      gdn.on_deprecated = function() end
      assert.are.same({ expected, EINVAL }, { rig.builder:device_error() })
      by_old_name = not by_old_name
      if by_old_name then
        assert.are.same({ expected, EINVAL }, { rig.builder:device_error(true) })
      else
        assert.are.equal(expected, (select(2, rig.builder:take_device_error())))
      end
      gdn.on_deprecated = nil
      assert.is_true(rig.builder:peek_device_error())
      assert.are.same({}, { rig.builder:device_error(true) })
      return states, reads, meta
    end

    it("a slot outside of the pool", function()
      open()
      assert(rig.builder:borrow_device_table(0, array { 1, 100, 3, 4, 5, 6, 7, 0, -1 }, 3, 3))
      local why = " of a finished build names a block in a device table that is not one of the pool"
      local states = fault("rows[0]" .. why, { 3, 9, 2, 1, true, 0 }, { 3, 9, 2, 1, true, 1 })
      assert.are.same({ { 1, 0, 3 }, { 4, 5, 6 } }, states)
      -- 0 is no slot to write, but may stand where nothing is written; -1 never
      states = fault("rows[1]" .. why, { 3, 9, 2, 1, true, 1 }, { 1, 9, 0, 1, true, 2 })
      assert.are.same({ { 4, 5, 6 }, { 7, 0, 0 } }, states)
      local _, reads = fault("rows[0]" .. why, { 3, 9, 2, 2, true, 0 })
      assert.are.same({ 0 }, reads)
    end)

    it("an accepted count", function()
      open()
      for row = 0, 1 do rig.builder:set_blocks(0, row, { row * 3 + 1, row * 3 + 2, row * 3 + 3 }) end
      assert(rig.builder:borrow_device_accepted(array { 2, 4 }))
      local why = " of a finished build has a num_accepted_tokens on the device outside " ..
        "1 .. num_speculative_tokens + 1"
      local _, reads, meta = fault("rows[1]" .. why, { 3, 9, 2, 1, true, 0 }, { 3, 9, 2, 1, true, 1 })
      assert.are.same({ 2, 0 }, reads)
      assert.are.same({ 2, 1 }, meta.num_accepted_tokens:totable())
      assert.are.same({ 1, 0 }, meta.spec_conv_shift:totable())
    end)

    it("a length that the host's classes contradict", function()
      open { num_speculative_tokens = 0 }
      rig.builder:set_blocks(0, 0, { 7 })
      local memory = array { 5 }
      assert(rig.builder:borrow_device_seq_lens(memory, 1))
      local why = "rows[0] of a finished build has a seq_len on the device that contradicts its " ..
        "query_len or read_column"
      local _, reads, meta = fault(why, { 5, 0, nil, nil, false, 0 })
      assert.are.same({ { 7 }, { true } }, { reads, meta.has_initial_state:totable() })
      rig.driver:write(memory, { 9 })
      meta = select(3, fault(why, { 5, 0, nil, nil, false, 0, -1 }))
      assert.are.same({ false }, meta.has_initial_state:totable())
      rig.driver:write(memory, { 4 })
      fault(why, { 5, 0, nil, nil, false, 0 })
    end)

    it("a window or a column past the table", function()
      open { num_speculative_tokens = 1, mamba_cache_mode = "align", mamba_block_size = 10,
             max_blocks_per_row = 4 }
      assert(rig.builder:borrow_device_table(0, array { 1, 2, 3, 4 }, 4, 1))
      local memory = array { 31 }
      assert(rig.builder:borrow_device_seq_lens(memory, 1))
      local why = "rows[0] of a finished build reaches past the columns of a device table"
      assert.are.same({ { 0, 0 } }, (fault(why, { 2, 0, 1, 1, true, 0, 2 })))
      rig.driver:write(memory, { 30 })
      assert.are.same({ { 3, 4 } },
                      assert(build { 2, 0, 1, 1, true, 0, 2 }).spec_state_indices_tensor:totable())
      rig.driver:write(memory, { 2^31 - 1 })
      fault(why, { 2, 0, 1, 1, true, 0, 2 })
    end)

    it("but nothing of it under the vLLM rules, which pass on what they find", function()
      open { rules = "vllm-2026-08" }
      assert(rig.builder:borrow_device_table(0, array { -7, 2^31 - 1, 100000 }, 3, 1))
      assert(rig.builder:borrow_device_accepted(array { 99 }))
      local meta = assert(build { 3, 9, 2, 1, true, 0 })
      assert.are.same({ { -7, 2^31 - 1, 100000 } }, meta.spec_state_indices_tensor:totable())
      assert.are.same({ 99 }, meta.num_accepted_tokens:totable())
      assert.is_true(rig.builder:peek_device_error())
    end)
  end)

  describe("refused before anything is launched:", function()
    local function refused(message, ...)
      assert.are.same({ nil, message, EINVAL }, { build(...) })
      assert.are.equal(0, rig.builder:counters().launches)
    end

    it("an element that an array does not have", function()
      open()
      assert(rig.builder:borrow_device_seq_lens(array { 9, 9 }))
      local row = { 1, 0, nil, nil, true, 0 }
      refused("rows[2].seq_index = -1, its own number, want it below 2 (elements)", row, row, row)
      refused("rows[0].seq_index = 2, want -1 .. 1", { 1, 0, nil, nil, true, 0, at = { 2 } })
      assert(rig.builder:borrow_device_seq_lens())
      assert(rig.builder:borrow_device_accepted(array { 1 }))
      local rows = rig.batch.rows
      rig.batch:clear()
      rig.batch:push(1, 0, nil, nil, true, 0)
      rig.batch:index(0, -1, 0)
      rows.accepted_index[0] = -3
      assert.are.same({ nil, "rows[0].accepted_index = -3, want -2 .. 0", EINVAL },
                      { rig.builder:build(rig.batch) })
      rows.accepted_index[0], rows.num_accepted_tokens[0] = -2, 0
      assert.are.same({ nil, "rows[0].num_accepted_tokens = 0, want 1 or more: its accepted_index is -2",
                        EINVAL }, { rig.builder:build(rig.batch) })
      refused("rows[0].accepted_index = 1, want -2 .. 0", { 1, 5, nil, nil, true, 0, at = { -1, 1 } })
    end)

    it("rows of the batch's own, and rows that a table does not have", function()
      open { num_groups = 2 }
      rig.batch:push(2, 1, 5, true)
      assert(rig.builder:borrow_device_table(1, array { 1, 2, 3, 4, 5, 6 }, 3, 2))
      local gone = "rows[0].table_row = 2, want 0 .. 1"
      assert.are.same({ nil, gone, EINVAL }, { rig.builder:build(rig.batch) })
      rig.batch.rows.query_len[0], rig.batch.rows.seq_len[0] = 900000, 900000 -- first, as on the CPU
      local many = "the rows have 900000 tokens, want 0 .. 512 (max_num_batched_tokens)"
      assert.are.same({ nil, many, gdn.ECAP }, { rig.builder:build(rig.batch) })
      rig.batch:clear()
      rig.batch:add { query_len = 1, seq_len = 5, blocks = { { 1 }, { 1 } }, prompt_done = true }
      local why = "rows[0] has blocks of its own, want a table_row: the table of group %d is on the device"
      assert.are.same({ nil, why:format(1), EINVAL }, { rig.builder:build(rig.batch) })
      assert(rig.builder:borrow_device_table(0, array { 1, 2, 3, 4, 5, 6 }, 3, 2))
      assert(rig.builder:borrow_device_table(1))
      assert.are.same({ nil, why:format(0), EINVAL }, { rig.builder:build(rig.batch) })
    end)

    it("no row of the batch's own any more, once all tables are the host's again", function()
      open { num_groups = 2 }
      local memory = array { 1, 2, 3, 4, 5, 6 }
      local function own_blocks()
        rig.batch:clear()
        rig.batch:add { query_len = 1, seq_len = 5, blocks = { { 1 }, { 1 } }, prompt_done = true }
        return (select(2, rig.builder:build(rig.batch)))
      end
      local why = "rows[0] has blocks of its own, want a table_row: the table of group %d is on the device"
      for _, group in ipairs { 0, 1, 0, 1, 1 } do -- also one that is there already
        assert(rig.builder:borrow_device_table(group, memory, 3, 2))
        assert.are.equal(why:format(0), own_blocks())
      end
      assert(rig.builder:borrow_device_table(0))
      assert.are.equal(why:format(1), own_blocks())
      assert(rig.builder:borrow_device_table(0))
      assert.are.equal(why:format(1), own_blocks())
      assert(rig.builder:borrow_device_table(1))
      assert.is_nil(own_blocks())
    end)

    it("what a capture under vLLM's rules finds there, as a build does", function()
      open { rules = "vllm-2026-08", num_groups = 2 }
      for group = 0, 1 do assert(rig.builder:borrow_device_table(group, array { 1, 2, 3, 4, 5, 6 }, 3, 2)) end
      assert(rig.builder:borrow_device_seq_lens(array { 9 }))
      local why = "rows[1].seq_index = -1, its own number, want it below 1 (elements)"
      local inputs = { query_start_loc = { 0, 3, 6 }, num_decode_draft_tokens = { 2, 2 } }
      assert(rig.builder:borrow_device_accepted(array { 1, 1 }))
      assert.are.same({ nil, why, EINVAL }, { rig.builder:build_raw(inputs) })
      inputs.num_decode_draft_tokens = nil
      assert.are.same({ nil, why, EINVAL }, { rig.builder:capture(inputs) })
    end)

    it("lengths on the device with an `align` table on the host", function()
      open { mamba_cache_mode = "align", num_groups = 2 }
      assert(rig.builder:borrow_device_table(0, array { 1, 2, 3 }, 3, 1))
      assert(rig.builder:borrow_device_seq_lens(array { 9 }))
      refused("the table of group 1 is on the host, want it on the device: `align` windows follow from " ..
        "seq_lens, which are there", { 1, 0, nil, nil, true, 0 })
    end)

    it("memory of the host", function()
      open()
      local memory = require "ffi".new "int32_t[8]"
      for _, call in ipairs { function() return rig.builder:borrow_device_table(0, memory, 3, 2) end,
                              function() return rig.builder:borrow_device_seq_lens(memory, 8) end,
                              function() return rig.builder:borrow_device_accepted(memory, 8) end } do
        local ok, message, code = call()
        assert.are.same({ nil, EINVAL }, { ok, code })
        assert.matches("^[%l_]+ = 0x%x+ is no memory that CUDA knows, want memory of cuda:0$", message)
      end
      local pinned = require "ffi".new "void *[1]"
      rig.driver:call("cuMemHostAlloc", pinned, 64, 0)
      local _, message = rig.builder:borrow_device_accepted(pinned[0], 8)
      rig.driver:call("cuMemFreeHost", pinned[0])
      assert.matches("^num_accepted_tokens = 0x%x+ is host memory, want memory of cuda:0$", message)
    end)

    it("arguments that cannot be meant", function()
      open()
      raises("gdnmeta.Builder:borrow_device_table: group = 1, want an integer in 0 .. 0",
             function() rig.builder:borrow_device_table(1) end)
      raises('gdnmeta.Builder:borrow_device_seq_lens: memory = "x", want a device pointer or nil',
             function() rig.builder:borrow_device_seq_lens("x", 1) end)
      raises("gdnmeta.Builder:borrow_device_accepted: n = 0, want an integer in 1 .. 2147483647",
             function() rig.builder:borrow_device_accepted(rig.driver:int32(1), 0) end)
      raises("gdnmeta.Builder:borrow_device_table: row_stride = 2, want an integer in 3 .. 2147483647",
             function() rig.builder:borrow_device_table(0, rig.driver:int32(9), 2, 3) end)
      rig.batch:push(0, 1, 2, true)
      raises("gdnmeta.Batch:index: row = 1, want an integer in 0 .. 0", function() rig.batch:index(1, 0) end)
      raises("gdnmeta.Batch:index: seq_index = nil, want an integer in -1 .. 2147483647",
             function() rig.batch:index(0) end)
      raises("gdnmeta.Batch:index: accepted_index = -3, want an integer in -2 .. 2147483647",
             function() rig.batch:index(0, 0, -3) end)
    end)

    it("a count of vLLM's arguments, which are not looked at", function()
      open { rules = "vllm-2026-08" }
      assert(rig.builder:borrow_device_accepted(array { 1 }))
      local starts, one = int32s(2, { 0, 1 }), int32s(1, { 1 })
      local given, tables = int32s(1, { -2 }), int32s(3, { 1, 2, 3 })
      local groups = pointers(1, { tables })
      local raw = ffi.new("gdn_raw", { ffi.sizeof "gdn_raw", 1, 1, 1, starts, one, groups })
      raw.accepted_index, raw.num_accepted_tokens, raw.num_num_accepted_tokens = given, one, 1
      raw.block_table_stride, raw.block_table_rows, raw.block_table_cols = 3, 1, 3
      raw.num_query_start_loc, raw.num_seq_lens = 2, 1
      assert.are.equal(EINVAL, tonumber(lib.gdn_build_raw(rig.builder.handle, raw, nil)))
      assert.are.equal("rows[0].accepted_index = -2, want -1 .. 0",
                       ffi.string(lib.gdn_last_error(rig.builder.handle)))
      given[0] = -1
      assert.are.equal(0, tonumber(lib.gdn_build_raw(rig.builder.handle, raw, nil)))
    end)
  end)
end)
