-- Inputs on the device: each on its own, in the device's order, and checked there.
--   GDN_CUDA_SPECS=cuda   on a real device
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"
local raises = require "spec.support.raises"

local KIND = os.getenv "GDN_CUDA_SPECS" or "fake"
local EINVAL = -1

describe("Inputs on the device:", function()
  local driver, builder, batch
  setup(function() driver = drivers.open(KIND) end)
  teardown(function() driver:close() end)
  after_each(function()
    if batch then batch:close() end
    builder:close()
    builder, batch = nil, nil
    driver:free_all()
  end)

  local function open(options)
    local all = { device = "cuda", max_num_seqs = 8, num_speculative_tokens = 2, num_slots = 100,
      max_num_batched_tokens = 512 }
    for name, value in pairs(options or {}) do all[name] = value end
    builder = assert(gdn.builder(all))
    batch = assert(builder:batch())
  end

  local function array(values)
    local memory = driver:int32(#values)
    driver:write(memory, values)
    return memory, #values
  end

  local function build(...)
    batch:clear()
    for _, row in ipairs { ... } do
      assert(batch:push(unpack(row, 1, 7)))
      if row.at then batch:index(batch.num_rows - 1, row.at[1], row.at[2]) end
    end
    return builder:build(batch)
  end

  it("state tables, row stride and all", function()
    open { num_groups = 2 }
    local cells = array { 11, 12, 13, 0, 0, 21, 22, 23, 0, 0, 31, 32, 33, 0, 0 }
    assert(builder:borrow_device_table(1, cells, 5, 3))
    for row = 0, 2 do builder:set_blocks(0, row, { row * 3 + 1, row * 3 + 2, row * 3 + 3 }) end
    local meta = assert(build({ 3, 9, 2, 3, true, 2 }, { 1, 7, nil, 2, true, 0 }))
    assert.are.same({ { 7, 8, 9 } }, meta.spec_state_indices_tensor:totable())
    assert.are.same({ { 31, 32, 33 } }, meta:group(1).spec_state_indices_tensor:totable())
    assert.are.same({ 33 }, meta:group(1).spec_read_state_indices:totable())
    assert.are.same({ 11 }, meta:group(1).non_spec_state_indices_tensor:totable())
    assert.are.same({ 12 }, meta:group(1).non_spec_read_state_indices:totable())
    assert.is_nil(builder:device_error())
    assert(builder:borrow_device_table(1))
    builder:set_blocks(1, 2, { 41, 42, 43 })
    builder:set_blocks(1, 0, { 51, 52 })
    assert.are.same({ { 41, 42, 43 } },
                    assert(builder:build(batch)):group(1).spec_state_indices_tensor:totable())
  end)

  it("accepted counts in another order, with the table on the host", function()
    open()
    for row = 0, 3 do builder:set_blocks(0, row, { row * 10 + 1, row * 10 + 2, row * 10 + 3 }) end
    assert(builder:borrow_device_accepted(array { 3, 1, 2, 9, 3 }))
    local meta = assert(build({ 3, 9, 2, 77, true, 0, at = { -1, 4 } },
                              { 1, 5, nil, 77, true, 1, at = { -1, 2 } },
                              { 2, 5, 1, 77, true, 3, at = { -1, 1 } }))
    assert.are.same({ 3, 1 }, meta.num_accepted_tokens:totable())
    assert.are.same({ 3, 31 }, meta.spec_read_state_indices:totable())
    assert.are.same({ 2, 0 }, meta.spec_conv_shift:totable())
    assert.are.same({ 12 }, meta.non_spec_read_state_indices:totable())
    assert.are.same({ 1 }, meta.non_spec_conv_shift:totable())
    assert.are.same({ { 1, 2, 3 }, { 31, 32, 33 } }, meta.spec_state_indices_tensor:totable())
    -- a row without an index takes its own number
    meta = assert(build({ 3, 9, 2, 77, true, 0 }, { 2, 5, 1, 77, true, 3 }))
    assert.are.same({ 3, 1 }, meta.num_accepted_tokens:totable())
    assert.is_nil(builder:device_error())
  end)

  it("lengths, with classes and freshness from the host", function()
    open { num_speculative_tokens = 0 }
    for row = 0, 3 do builder:set_blocks(0, row, { row + 1 }) end
    assert(builder:borrow_device_seq_lens(array { 40, 6, 30 }))
    local meta = assert(build({ 1, -5, nil, nil, true, 0, at = { 0 } },
                              { 5, -5, nil, nil, false, 1, at = { 2 } },
                              { 6, -5, nil, nil, false, 2, -1, at = { 1 } }))
    assert.are.same({ 1, 2 }, { meta.num_decodes, meta.num_prefills })
    assert.are.same({ true, true, false }, meta.has_initial_state:totable())
    assert.are.same({ 1, 2, 0 }, meta.non_spec_read_state_indices:totable())
    assert.is_nil(builder:device_error())
  end)

  it("windows of `align` follow from lengths on the device", function()
    open { num_speculative_tokens = 0, mamba_cache_mode = "align", mamba_block_size = 10,
           max_blocks_per_row = 4 }
    assert(builder:borrow_device_table(0, array { 1, 2, 3, 4, 5, 6, 7, 8 }, 4, 2))
    assert(builder:borrow_device_seq_lens(array { 31, 20 }))
    local meta = assert(build({ 1, 0, nil, nil, true, 0 }, { 1, 0, nil, nil, true, 1 }))
    assert.are.same({ 4, 6 }, meta.non_spec_state_indices_tensor:totable())
    assert.are.same({ 3, 6 }, meta.non_spec_read_state_indices:totable())
    assert.is_nil(builder:device_error())
  end)

  it("padding needs no element", function()
    open { full_cuda_graph = true }
    assert(builder:borrow_device_table(0, array { 1, 2, 3, 4, 5, 6 }, 3, 2))
    assert(builder:borrow_device_accepted(array { 2 }))
    assert(builder:borrow_device_seq_lens(array { 30 }))
    batch:clear()
    assert(batch:push(3, 0, 2, 77, true, 1))
    assert(batch:pad(4, 12))
    local meta = assert(builder:build(batch))
    assert.are.same({ { 4, 5, 6 }, { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 } },
                    meta.spec_state_indices_tensor:totable())
    assert.are.same({ 2, 1, 1, 1 }, meta.num_accepted_tokens:totable())
    assert.are.same({ 5, 0, 0, 0 }, meta.spec_read_state_indices:totable())
    assert.is_nil(builder:device_error())
  end)

  it("the reference's arguments need not name them", function()
    open { rules = "vllm-2026-08", num_groups = 2 }
    assert(builder:borrow_device_table(0, array { 1, 2, 3, 4, 5, 6 }, 3, 2))
    assert(builder:borrow_device_table(1, array { 7, 8, 9, 10, 11, 12 }, 3, 2))
    assert(builder:borrow_device_accepted(array { 2, 1 }))
    assert(builder:borrow_device_seq_lens(array { 30, 5 }))
    local meta = assert(builder:build_raw { query_start_loc = { 0, 3, 8 },
                                            num_decode_draft_tokens = { 2, -1 } })
    assert.are.same({ { 7, 8, 9 } }, meta:group(1).spec_state_indices_tensor:totable())
    assert.are.same({ 4 }, meta.non_spec_state_indices_tensor:totable())
    assert.are.same({ 2 }, meta.num_accepted_tokens:totable())
    assert.are.same({ false }, meta.has_initial_state:totable())
    meta = assert(builder:capture { query_start_loc = { 0, 3, 6 } })
    assert.are.same({ { 7, 8, 9 }, { 10, 11, 12 } }, meta:group(1).spec_state_indices_tensor:totable())
    assert.are.same({ 3, 3 }, meta.num_accepted_tokens:totable())
    -- a table on the device wins over one that is given, group by group
    local host = { { 21, 22, 23 }, { 24, 25, 26 } }
    assert(builder:borrow_device_table(1))
    local inputs = { query_start_loc = { 0, 3, 8 }, num_decode_draft_tokens = { 2, -1 },
      block_table = { host, host } }
    meta = assert(builder:build_raw(inputs))
    assert.are.same({ { 1, 2, 3 } }, meta.spec_state_indices_tensor:totable())
    assert.are.same({ { 21, 22, 23 } }, meta:group(1).spec_state_indices_tensor:totable())
    host[1], host[2] = { 1, 2 }, { 3, 4 }
    local why = "block_table has 2 columns, want 3 (max_blocks_per_row) beside tables on the device"
    assert.are.same({ nil, why, EINVAL }, { builder:build_raw(inputs) })
    assert(builder:borrow_device_accepted())
    assert.is_nil((builder:build_raw { query_start_loc = { 0, 3, 8 }, num_decode_draft_tokens = { 2, -1 } }))
  end)

  it("a strict capture touches none of them", function()
    open()
    assert(builder:borrow_device_table(0, array { 500, 500, 500 }, 3, 1))
    assert(builder:borrow_device_accepted(array { 500 }))
    assert(builder:borrow_device_seq_lens(array { 500 }))
    local meta = assert(builder:capture { query_start_loc = { 0, 3, 6 } })
    assert.are.same({ { 0, 0, 0 }, { 0, 0, 0 } }, meta.spec_state_indices_tensor:totable())
    assert.are.same({ 3, 3 }, meta.num_accepted_tokens:totable())
    assert.are.same({ 0, 0 }, meta.spec_read_state_indices:totable())
    assert.is_nil(builder:device_error())
  end)

  describe("what only the device sees becomes the null slot, and stays known:", function()
    local function fault(expected, ...)
      local meta = assert(build(...))
      local states = (meta.spec_state_indices_tensor or meta.non_spec_state_indices_tensor):totable()
      local reads = (meta.spec_read_state_indices or meta.non_spec_read_state_indices):totable()
      local message, code = builder:device_error()
      assert.are.same({ expected, EINVAL }, { message, code })
      assert.are.equal(expected, (builder:device_error(true)))
      assert.is_nil(builder:device_error())
      return states, reads, meta
    end

    it("a slot outside of the pool", function()
      open()
      assert(builder:borrow_device_table(0, array { 1, 100, 3, 4, 5, 6, 7, 0, -1 }, 3, 3))
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
      for row = 0, 1 do builder:set_blocks(0, row, { row * 3 + 1, row * 3 + 2, row * 3 + 3 }) end
      assert(builder:borrow_device_accepted(array { 2, 4 }))
      local why = " of a finished build has a num_accepted_tokens on the device outside of " ..
        "1 .. num_speculative_tokens + 1"
      local _, reads, meta = fault("rows[1]" .. why, { 3, 9, 2, 1, true, 0 }, { 3, 9, 2, 1, true, 1 })
      assert.are.same({ 2, 0 }, reads)
      assert.are.same({ 2, 1 }, meta.num_accepted_tokens:totable())
      assert.are.same({ 1, 0 }, meta.spec_conv_shift:totable())
    end)

    it("a length that the host's classes contradict", function()
      open { num_speculative_tokens = 0 }
      builder:set_blocks(0, 0, { 7 })
      local memory = array { 5 }
      assert(builder:borrow_device_seq_lens(memory, 1))
      local why = "rows[0] of a finished build has a seq_len on the device that contradicts its " ..
        "query_len or read_column"
      local _, reads, meta = fault(why, { 5, 0, nil, nil, false, 0 })
      assert.are.same({ { 7 }, { true } }, { reads, meta.has_initial_state:totable() })
      driver:write(memory, { 9 })
      meta = select(3, fault(why, { 5, 0, nil, nil, false, 0, -1 }))
      assert.are.same({ false }, meta.has_initial_state:totable())
      driver:write(memory, { 4 })
      fault(why, { 5, 0, nil, nil, false, 0 })
    end)

    it("a window or a column past the table", function()
      open { num_speculative_tokens = 1, mamba_cache_mode = "align", mamba_block_size = 10,
             max_blocks_per_row = 4 }
      assert(builder:borrow_device_table(0, array { 1, 2, 3, 4 }, 4, 1))
      local memory = array { 31 }
      assert(builder:borrow_device_seq_lens(memory, 1))
      local why = "rows[0] of a finished build reaches past the columns of a device table"
      assert.are.same({ { 0, 0 } }, (fault(why, { 2, 0, 1, 1, true, 0, 2 })))
      driver:write(memory, { 30 })
      assert.are.same({ { 3, 4 } },
                      assert(build { 2, 0, 1, 1, true, 0, 2 }).spec_state_indices_tensor:totable())
      driver:write(memory, { 2^31 - 1 })
      fault(why, { 2, 0, 1, 1, true, 0, 2 })
    end)

    it("but nothing of it under the reference rules, which pass on what they find", function()
      open { rules = "vllm-2026-08" }
      assert(builder:borrow_device_table(0, array { -7, 2^31 - 1, 100000 }, 3, 1))
      assert(builder:borrow_device_accepted(array { 99 }))
      local meta = assert(build { 3, 9, 2, 1, true, 0 })
      assert.are.same({ { -7, 2^31 - 1, 100000 } }, meta.spec_state_indices_tensor:totable())
      assert.are.same({ 99 }, meta.num_accepted_tokens:totable())
      assert.is_nil(builder:device_error())
    end)
  end)

  describe("refused before anything is launched:", function()
    local function refused(message, ...)
      assert.are.same({ nil, message, EINVAL }, { build(...) })
      assert.are.equal(0, builder:counters().launches)
    end

    it("an element that an array does not have", function()
      open()
      assert(builder:borrow_device_seq_lens(array { 9, 9 }))
      local row = { 1, 0, nil, nil, true, 0 }
      refused("rows[2].seq_index = -1, its own number, want it below 2 (elements)", row, row, row)
      refused("rows[0].seq_index = 2, want -1 .. 1", { 1, 0, nil, nil, true, 0, at = { 2 } })
      assert(builder:borrow_device_seq_lens())
      assert(builder:borrow_device_accepted(array { 1 }))
      refused("rows[0].accepted_index = 1, want -1 .. 0", { 1, 5, nil, nil, true, 0, at = { -1, 1 } })
    end)

    it("rows of the batch's own, and rows that a table does not have", function()
      open { num_groups = 2 }
      batch:push(1, 5, nil, nil, true, 2)
      assert(builder:borrow_device_table(1, array { 1, 2, 3, 4, 5, 6 }, 3, 2))
      local gone = "rows[0].table_row = 2, want 0 .. 1 (group 1)"
      assert.are.same({ nil, gone, EINVAL }, { builder:build(batch) })
      batch:clear()
      batch:add { query_len = 1, seq_len = 5, blocks = { { 1 }, { 1 } }, prompt_done = true }
      local why = "rows[0] has blocks of its own, want a table_row: the table of group 1 is on the device"
      assert.are.same({ nil, why, EINVAL }, { builder:build(batch) })
    end)

    it("lengths on the device with an `align` table on the host", function()
      open { mamba_cache_mode = "align", num_groups = 2 }
      assert(builder:borrow_device_table(0, array { 1, 2, 3 }, 3, 1))
      assert(builder:borrow_device_seq_lens(array { 9 }))
      refused("the table of group 1 is on the host, want it on the device: `align` windows follow from " ..
        "seq_lens, which are there", { 1, 0, nil, nil, true, 0 })
    end)

    it("memory of the host", function()
      open()
      local memory = require "ffi".new "int32_t[8]"
      for _, call in ipairs { function() return builder:borrow_device_table(0, memory, 3, 2) end,
                              function() return builder:borrow_device_seq_lens(memory, 8) end,
                              function() return builder:borrow_device_accepted(memory, 8) end } do
        local ok, message, code = call()
        assert.are.same({ nil, EINVAL }, { ok, code })
        assert.matches("^[%l_]+ = 0x%x+ is no memory that CUDA knows, want memory of cuda:0$", message)
      end
      local pinned = require "ffi".new "void *[1]"
      driver:call("cuMemHostAlloc", pinned, 64, 0)
      local _, message = builder:borrow_device_accepted(pinned[0], 8)
      driver:call("cuMemFreeHost", pinned[0])
      assert.matches("^num_accepted_tokens = 0x%x+ is host memory, want memory of cuda:0$", message)
    end)

    it("arguments that cannot be meant", function()
      open()
      raises("gdnmeta.Builder:borrow_device_table: group = 1, want an integer in 0 .. 0",
             function() builder:borrow_device_table(1) end)
      raises('gdnmeta.Builder:borrow_device_seq_lens: memory = "x", want a device pointer or nil',
             function() builder:borrow_device_seq_lens("x", 1) end)
      raises("gdnmeta.Builder:borrow_device_accepted: n = 0, want an integer in 1 .. 2147483647",
             function() builder:borrow_device_accepted(driver:int32(1), 0) end)
      raises("gdnmeta.Builder:borrow_device_table: row_stride = 2, want an integer in 3 .. 2147483647",
             function() builder:borrow_device_table(0, driver:int32(9), 2, 3) end)
      batch:push(1, 2, nil, nil, true, 0)
      raises("gdnmeta.Batch:index: row = 1, want an integer in 0 .. 0", function() batch:index(1, 0) end)
      raises("gdnmeta.Batch:index: seq_index = nil, want an integer in -1 .. 2147483647",
             function() batch:index(0) end)
      raises("gdnmeta.Batch:index: accepted_index = -2, want an integer in -1 .. 2147483647",
             function() batch:index(0, 0, -2) end)
    end)
  end)
end)
