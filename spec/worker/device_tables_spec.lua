-- A step whose state table is on a device is no record: its blocks are not to be read by the host.
local gdn = require "gdnmeta"
local device_inputs = require "spec.support.device_inputs"
local lib = require "gdnmeta.native"
local records = require "spec.support.step_records"

local int32s = gdn.array_of "int32_t"

describe("A step record", function()
  local rig = device_inputs { setup = setup, teardown = teardown, after_each = after_each }

  it("is none of a table on a device, whichever group's", function()
    rig.open { num_groups = 2 }
    rig.batch:push(0, 1, 5, true)
    for group = 0, 1 do
      for row = 0, 1 do rig.builder:set_blocks(group, row, { 1, 2, 3 }) end
    end
    local memory = records.memory(8192)
    local rest, held = records.rest { num_rows = 1, num_tokens = 1, number = 1, graph = "eager",
                                      samples = int32s(1) }
    local function packed()
      local status = lib.gdn_step_pack_batch(rig.builder.handle, rig.batch.rows, rest, nil, memory, 8192,
        records.why, 512)
      return records.verdict(status)
    end
    assert.are.equal("taken", packed())
    for group = 0, 1 do
      assert(rig.builder:borrow_device_table(group, rig.array { 1, 2, 3, 4, 5, 6 }, 3, 2))
      assert.are.equal(("the table of group %d is on a device, want host memory"):format(group), packed())
      assert(rig.builder:borrow_device_table(group))
      assert.are.equal("taken", packed())
    end
    assert(held)
  end)
end)
