-- What launches carry to a device, for steps of every kind: the kernel, blocks, shared memory, and a sum of
-- the head, or of what a check or a launch that brings is told. Narrow arrays are bytes that a step need not
-- send, and outputs do not show them. And which of many small steps were launched, which were known already,
-- and at how many slots was looked for it (cuda_known_spec). Against spec/goldens/texts.
local ffi = require "ffi"

require("spec.support.counted_library").use() -- before gdnmeta is loaded

local array_of = require "gdnmeta.array_of"
local checked = require "spec.support.checked_steps"
local drivers = require "spec.support.driver"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"
local small = require "spec.support.small_steps"

ffi.cdef "uint32_t gdn_counted_stamp_of(const gdn_builder *b);"

local notes = noted.new "cuda-"
local int32s = array_of "int32_t"

describe("A launch carries what it carried:", function()
  local driver
  before_each(function()
    driver = drivers.open "fake"
    notes.clear()
  end)
  after_each(function() driver:close() end)

  local function note(what)
    notes.note(what, driver:count "launches", driver:count "kernel", driver:count "blocks",
      driver:count "shared", driver:count "unit", driver:count "pieces", driver:count "carried")
    driver.lib.fake_reset()
  end

  local function bring(builder, spec_rows)
    local pool = driver:int32(99 * 64)
    local pools = ffi.new("void *[1]", pool)
    local states = ffi.new("gdn_state_pools", ffi.sizeof "gdn_state_pools")
    local windows = ffi.new("gdn_window_pools", ffi.sizeof "gdn_window_pools")
    states.num_pools, states.pools, states.slot_bytes, states.spec_rows = 1, pools, 248, spec_rows
    lib.gdn_bring_states(builder.handle, states, nil)
    windows.num_pools, windows.pools, windows.spec_rows, windows.channels = 1, pools, spec_rows, 9
    windows.length, windows.element_bytes = 5, 2
    lib.gdn_bring_windows(builder.handle, windows, nil)
    driver:call("cuStreamSynchronize", nil)
    driver:free(pool)
  end

  it("steps of every kind, their checks, and states that are brought", function()
    for _, step in ipairs(checked.STEPS) do
      driver.lib.fake_reset()
      local builder, batch = checked.build(step, "cuda")
      note(step[1] .. ", built:")
      assert(builder:check())
      note("checked:")
      for spec_rows = 0, 2 do bring(builder, spec_rows) end
      note("brought:")
      assert(builder:peek_check_result())
      batch:close()
      builder:close()
    end
    notes.check "carried"
  end)

  it("unused memory that is poisoned", function()
    for _, o in ipairs { {}, { num_groups = 3 }, { full_cuda_graph = "mixed", num_speculative_tokens = 2 },
                         { rules = "vllm-2026-11", query_start_loc_dtype = "int64" } } do
      o.device, o.max_num_seqs, o.max_num_batched_tokens, o.poison = "cuda", 5, 100, true
      local builder = assert(gdn.builder(o))
      local batch = assert(builder:batch())
      for rows = 1, 5 do
        driver.lib.fake_reset()
        for group = 0, builder.num_groups - 1 do builder:set_blocks(group, rows - 1, { rows }) end
        assert(batch:push(rows - 1, 20, 20, false))
        assert(builder:build(batch))
        note(rows .. " rows:")
      end
      batch:close()
      builder:close()
    end
    notes.check "carried-poison"
  end)

  -- Elements on the device: none, lengths, accepted counts, tables, all.
  local INPUTS = { {}, { seq_lens = true }, { accepted = true }, { tables = true },
                   { seq_lens = true, accepted = true, tables = true } }

  it("small steps, one after the other", function()
    local values = int32s(small.ROWS, { 3, 5, 6, 4 })
    for n, world in ipairs(small.WORLDS) do
      for k, inputs in ipairs(INPUTS) do
        local builder, batch = small.open(world, "cuda", { check = false })
        for g = 0, inputs.tables and small.GROUPS - 1 or -1 do
          local memory = driver:int32(small.CELLS)
          driver:write(memory, small.cells_of(g), small.CELLS)
          assert(builder:borrow_device_table(g, memory, builder.max_blocks_per_row, small.ROWS))
        end
        for _, name in ipairs { "seq_lens", "accepted" } do
          if inputs[name] then
            local memory = driver:int32(small.ROWS)
            driver:write(memory, values, small.ROWS)
            builder["borrow_device_" .. name](builder, memory, small.ROWS)
          end
        end
        driver.lib.fake_reset()
        local built, cells = 0, lib.gdn_builder_table(builder.handle, 0)
        for _, a in ipairs(small.SOME) do
          for _, b in ipairs(small.SOME) do
            small.write(batch.rows, { a, b })
            for again = 1, 4 do -- the second is not launched, the third is known before that
              if again == 4 and cells ~= nil then cells[3] = cells[3] + 1 end
              if lib.gdn_build(builder.handle, batch.rows, nil) == 0 then built = built + 1 end
            end
            if cells ~= nil then cells[3] = cells[3] - 1 end
          end
        end
        local c = builder:counters()
        notes.note(("world %d, inputs %d:"):format(n, k), built, c.launches, c.skipped, c.ring_launches,
          lib.gdn_counted_stamp_of(builder.handle), driver:count "blocks", driver:count "carried")
        lib.gdn_device_error(builder.handle, 1)
        batch:close()
        builder:close()
      end
    end
    notes.check "carried-small-steps"
  end)
end)
