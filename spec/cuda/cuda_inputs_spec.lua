-- Inputs on the device: each on its own, and in the device's order.
--   GDN_CUDA_SPECS=cuda   on a real device
local device_inputs = require "spec.support.device_inputs"

local EINVAL = -1

describe("Inputs on the device:", function()
  local rig = device_inputs { setup = setup, teardown = teardown, after_each = after_each }
  local open, array, build = rig.open, rig.array, rig.build

  it("state tables, row stride and all", function()
    open { num_groups = 2 }
    local cells = array { 11, 12, 13, 0, 0, 21, 22, 23, 0, 0, 31, 32, 33, 0, 0 }
    assert(rig.builder:borrow_device_table(1, cells, 5, 3))
    for row = 0, 2 do rig.builder:set_blocks(0, row, { row * 3 + 1, row * 3 + 2, row * 3 + 3 }) end
    local meta = assert(build({ 3, 9, 2, 3, true, 2 }, { 1, 7, nil, 2, true, 0 }))
    assert.are.same({ { 7, 8, 9 } }, meta.spec_state_indices_tensor:totable())
    assert.are.same({ { 31, 32, 33 } }, meta:group(1).spec_state_indices_tensor:totable())
    assert.are.same({ 33 }, meta:group(1).spec_read_state_indices:totable())
    assert.are.same({ 11 }, meta:group(1).non_spec_state_indices_tensor:totable())
    assert.are.same({ 12 }, meta:group(1).non_spec_read_state_indices:totable())
    assert.is_true(rig.builder:peek_device_error())
    assert(rig.builder:borrow_device_table(1))
    rig.builder:set_blocks(1, 2, { 41, 42, 43 })
    rig.builder:set_blocks(1, 0, { 51, 52 })
    assert.are.same({ { 41, 42, 43 } },
                    assert(rig.builder:build(rig.batch)):group(1).spec_state_indices_tensor:totable())
  end)

  it("accepted counts in another order, with the table on the host", function()
    open()
    for row = 0, 3 do rig.builder:set_blocks(0, row, { row * 10 + 1, row * 10 + 2, row * 10 + 3 }) end
    assert(rig.builder:borrow_device_accepted(array { 3, 1, 2, 9, 3 }))
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
    assert.is_true(rig.builder:peek_device_error())
  end)

  it("lengths, with classes and freshness from the host", function()
    open { num_speculative_tokens = 0 }
    for row = 0, 3 do rig.builder:set_blocks(0, row, { row + 1 }) end
    assert(rig.builder:borrow_device_seq_lens(array { 40, 6, 30 }))
    local meta = assert(build({ 1, -5, nil, nil, true, 0, at = { 0 } },
                              { 5, -5, nil, nil, false, 1, at = { 2 } },
                              { 6, -5, nil, nil, false, 2, -1, at = { 1 } }))
    assert.are.same({ 1, 2 }, { meta.num_decodes, meta.num_prefills })
    assert.are.same({ true, true, false }, meta.has_initial_state:totable())
    assert.are.same({ 1, 2, 0 }, meta.non_spec_read_state_indices:totable())
    assert.is_true(rig.builder:peek_device_error())
  end)

  it("windows of `align` follow from lengths on the device", function()
    open { num_speculative_tokens = 0, mamba_cache_mode = "align", mamba_block_size = 10,
           max_blocks_per_row = 4 }
    assert(rig.builder:borrow_device_table(0, array { 1, 2, 3, 4, 5, 6, 7, 8 }, 4, 2))
    assert(rig.builder:borrow_device_seq_lens(array { 31, 20 }))
    local meta = assert(build({ 1, 0, nil, nil, true, 0 }, { 1, 0, nil, nil, true, 1 }))
    assert.are.same({ 4, 6 }, meta.non_spec_state_indices_tensor:totable())
    assert.are.same({ 3, 6 }, meta.non_spec_read_state_indices:totable())
    assert.is_true(rig.builder:peek_device_error())
  end)

  it("padding needs no element", function()
    open { full_cuda_graph = true }
    assert(rig.builder:borrow_device_table(0, array { 1, 2, 3, 4, 5, 6 }, 3, 2))
    assert(rig.builder:borrow_device_accepted(array { 2 }))
    assert(rig.builder:borrow_device_seq_lens(array { 30 }))
    rig.batch:clear()
    assert(rig.batch:push(1, 3, 0, true, 2, 77))
    assert(rig.batch:pad(4, 12))
    local meta = assert(rig.builder:build(rig.batch))
    assert.are.same({ { 4, 5, 6 }, { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 } },
                    meta.spec_state_indices_tensor:totable())
    assert.are.same({ 2, 1, 1, 1 }, meta.num_accepted_tokens:totable())
    assert.are.same({ 5, 0, 0, 0 }, meta.spec_read_state_indices:totable())
    assert.is_true(rig.builder:peek_device_error())
  end)

  it("vLLM's arguments need not name them", function()
    open { rules = "vllm-2026-08", num_groups = 2 }
    assert(rig.builder:borrow_device_table(0, array { 1, 2, 3, 4, 5, 6 }, 3, 2))
    assert(rig.builder:borrow_device_table(1, array { 7, 8, 9, 10, 11, 12 }, 3, 2))
    assert(rig.builder:borrow_device_accepted(array { 2, 1 }))
    assert(rig.builder:borrow_device_seq_lens(array { 30, 5 }))
    local meta = assert(rig.builder:build_raw { query_start_loc = { 0, 3, 8 },
                                            num_decode_draft_tokens = { 2, -1 } })
    assert.are.same({ { 7, 8, 9 } }, meta:group(1).spec_state_indices_tensor:totable())
    assert.are.same({ 4 }, meta.non_spec_state_indices_tensor:totable())
    assert.are.same({ 2 }, meta.num_accepted_tokens:totable())
    assert.are.same({ false }, meta.has_initial_state:totable())
    meta = assert(rig.builder:capture { query_start_loc = { 0, 3, 6 } })
    assert.are.same({ { 7, 8, 9 }, { 10, 11, 12 } }, meta:group(1).spec_state_indices_tensor:totable())
    assert.are.same({ 3, 3 }, meta.num_accepted_tokens:totable())
    -- a table on the device wins over one that is given, group by group
    local host = { { 21, 22, 23 }, { 24, 25, 26 } }
    assert(rig.builder:borrow_device_table(1))
    local inputs = { query_start_loc = { 0, 3, 8 }, num_decode_draft_tokens = { 2, -1 },
      block_table = { host, host } }
    meta = assert(rig.builder:build_raw(inputs))
    assert.are.same({ { 1, 2, 3 } }, meta.spec_state_indices_tensor:totable())
    assert.are.same({ { 21, 22, 23 } }, meta:group(1).spec_state_indices_tensor:totable())
    host[1], host[2] = { 1, 2 }, { 3, 4 }
    local why = "block_table has 2 columns, want 3 (max_blocks_per_row) with tables on the device"
    assert.are.same({ nil, why, EINVAL }, { rig.builder:build_raw(inputs) })
    assert(rig.builder:borrow_device_accepted())
    inputs = { query_start_loc = { 0, 3, 8 }, num_decode_draft_tokens = { 2, -1 } }
    assert.is_nil((rig.builder:build_raw(inputs)))
  end)

  it("vLLM's arguments have the tables of all other groups, whichever was lent how often", function()
    open { rules = "vllm-2026-08", num_groups = 2 }
    local memory = { array { 1, 2, 3, 4, 5, 6 } }
    local host = { { 21, 22, 23 } }
    local function spec_rows(table_of)
      local meta = assert(rig.builder:build_raw { query_start_loc = { 0, 3 }, seq_lens = { 9 },
                                                  num_decode_draft_tokens = { 2 },
                                                  num_accepted_tokens = { 1 }, block_table = table_of })
      return { meta:group(0).spec_state_indices_tensor:totable()[1],
               meta:group(1).spec_state_indices_tensor:totable()[1] }
    end
    local ON_DEVICE, ON_HOST = { 1, 2, 3 }, { 21, 22, 23 }
    for _ = 1, 3 do assert(rig.builder:borrow_device_table(0, memory[1], 3, 2)) end
    assert.are.same({ ON_DEVICE, ON_HOST }, spec_rows { host, host })
    assert(rig.builder:borrow_device_table(1, memory[1], 3, 2))
    assert.are.same({ ON_DEVICE, ON_DEVICE }, spec_rows())
    for _ = 1, 2 do assert(rig.builder:borrow_device_table(0)) end
    assert.are.same({ ON_HOST, ON_DEVICE }, spec_rows { host, host })
    assert(rig.builder:borrow_device_table(1))
    host[1] = { 21, 22, 23, 99 } -- more columns are read of hosts' tables alone
    assert.are.same({ ON_HOST, ON_HOST }, spec_rows { host, host })
  end)

  it("a strict capture touches none of them", function()
    open()
    assert(rig.builder:borrow_device_table(0, array { 500, 500, 500 }, 3, 1))
    assert(rig.builder:borrow_device_accepted(array { 500 }))
    assert(rig.builder:borrow_device_seq_lens(array { 500 }))
    local meta = assert(rig.builder:capture { query_start_loc = { 0, 3, 6 } })
    assert.are.same({ { 0, 0, 0 }, { 0, 0, 0 } }, meta.spec_state_indices_tensor:totable())
    assert.are.same({ 3, 3 }, meta.num_accepted_tokens:totable())
    assert.are.same({ 0, 0 }, meta.spec_read_state_indices:totable())
    assert.is_true(rig.builder:peek_device_error())
  end)
end)
