-- A check on a device says of each element that is another what one on the CPU says, and the memory that a
-- step does not use is poisoned there as it is here.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local array_of = require "gdnmeta.array_of"
local drivers = require "spec.support.driver"
local lib = require "gdnmeta.native"
local steps = require "spec.support.checked_steps"

local byte_array = array_of "uint8_t"

describe("On a device, a check", function()
  local driver
  setup(function() driver = drivers.open "fake" end)
  teardown(function() driver:close() end)

  local function write(to, from, bytes)
    driver:call("cuMemcpyHtoDAsync_v2", ffi.cast("uint64_t", ffi.cast("uintptr_t", to)), from, bytes, nil)
  end

  -- Of two elements that share a slot either is named.
  local function any_of_two(line)
    line = line:gsub("(%d+)x(%S+)", function(n, word) return (word .. " "):rep(n):sub(1, -2) end)
    return (line:gsub("%f[%w]7@%w+%[%d+%]", "7"))
  end

  it("says what one on the CPU says", function()
    for _, step in ipairs(steps.STEPS) do
      local said = {}
      if step.is_like_others then goto next_step end
      for n, device in ipairs { "cpu", "cuda" } do
        local builder, batch = steps.build(step, device)
        said[n] = { step[1] }
        steps.flip_all(builder, said[n], device == "cuda" and write)
        batch:close()
        builder:close()
      end
      for k, line in ipairs(said[2]) do
        assert.are.same({ step[1], any_of_two(said[1][k]) }, { step[1], any_of_two(line) })
      end
      assert.are.equal(#said[1], #said[2])
      ::next_step::
    end
    assert.are.equal(0, driver:count "overruns")
  end)

  -- All of a builder's outputs, found by what may be read.
  local function outputs(builder)
    local one = ffi.new "uint8_t[1]"
    local first = ffi.cast("char *", builder.metadata.non_spec_query_start_loc.data)
    local function is_readable(at) return lib.gdn_builder_read(builder.handle, one, at, 1) == 0 end
    local low, high = 0, 0
    while is_readable(first + low - 1) do low = low - 1 end
    while is_readable(first + high + 1) do high = high + 1 end
    local bytes = high - low + 1
    local memory = byte_array(bytes)
    assert(lib.gdn_builder_read(builder.handle, memory, first + low, bytes) == 0)
    return ffi.string(memory, bytes)
  end

  it("poisons the same bytes", function()
    local ROWS = { { 1, 9 }, { 1, 30 }, { 1, 12 }, { 70, 70 }, { 9, 9 } }
    for _, o in ipairs { {}, { num_groups = 3 }, { full_cuda_graph = "mixed" },
                         { num_speculative_tokens = 2 }, { rules = "vllm-2026-04" },
                         { query_start_loc_dtype = "int64", pad_slot_id = -1 },
                         { rules = "vllm-2026-11", num_speculative_tokens = 2 } } do
      local pair = {}
      for n, device in ipairs { "cpu", "cuda" } do
        local options = { device = device, max_num_seqs = 5, max_num_batched_tokens = 100, poison = true }
        for name, value in pairs(o) do options[name] = value end
        local builder = assert(gdn.builder(options))
        local batch = assert(builder:batch())
        pair[n] = { builder, batch }
      end
      local function build(from, to, is_first)
        local said = {}
        for n, side in ipairs(pair) do
          side[2]:clear()
          for i = from, to do
            local row = ROWS[i]
            for group = 0, side[1].num_groups - 1 do side[1]:set_blocks(group, i - 1, { i }) end
            assert(side[2]:push(i - 1, row[1], row[2], row[2] > row[1]))
          end
          assert(side[1]:build(side[2]))
          said[n] = is_first and "" or outputs(side[1])
        end
        assert.is_true(said[1] == said[2])
        return said[1]
      end
      build(1, 1, true)
      for _, side in ipairs(pair) do
        lib.gdn_builder_poison(side[1].handle)
        assert.is_nil(outputs(side[1]):find "[^\165]")
      end
      local most, least = 0, math.huge
      for _, rows in ipairs { { 1, 5 }, { 1, 1 }, { 4, 5 }, { 1, 2 }, { 1, 3 }, { 5, 5 }, { 1, 4 } } do
        local _, unused = build(rows[1], rows[2]):gsub("\165", "")
        most, least = math.max(most, unused), math.min(least, unused)
      end
      assert.is_true(most > least)
      for _, side in ipairs(pair) do
        side[2]:close()
        side[1]:close()
      end
    end
  end)
end)
