-- What a host calls for each row of a step makes no garbage, once it is compiled.
local ffi = require "ffi"
local array_of = require "gdnmeta.array_of"
local gdn = require "gdnmeta"
local growth = require "spec.support.growth"

local int32s = array_of "int32_t"
local CALLS = 4000

-- Bytes per call of `call(i)`, in a loop that LuaJIT has compiled.
local function bytes_a_call(call)
  jit.flush()
  local function loop(n) for i = 1, n do call(i) end end
  for _ = 1, 4 do loop(CALLS) end
  return 1024 * growth(function() loop(CALLS) end) / CALLS
end

describe("Writing rows makes no garbage", function()
  local memory = int32s(4, { 1, 2, 3, 4 })
  local pair = { ffi.cast("int32_t *", memory), 4 }
  local LISTS = { list = { 1, 2, 3, 4 }, pointer = pair, array = memory }

  for _, groups in ipairs { 1, 2 } do
    for name, list in pairs(LISTS) do
      local where = (", a %s, %d groups"):format(name, groups)

      it("in set_blocks" .. where, function()
        local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 16, num_groups = groups,
                                             num_speculative_tokens = 3 })
        local bytes = bytes_a_call(function(i) builder:set_blocks(groups - 1, i % 16, list) end)
        assert.is_true(bytes < 4, bytes)
        builder:close()
      end)

      it("in add, with a state to keep or without" .. where, function()
        local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 16, num_groups = groups,
                                             num_speculative_tokens = 3 })
        local batch = assert(builder:batch())
        local blocks, slots = groups == 1 and list or { list, list }, groups == 1 and 9 or { 9, 9 }
        local row = { query_len = 100, seq_len = 100, blocks = blocks }
        local keeps = { query_len = 100, seq_len = 100, blocks = blocks, checkpoint_len = 64,
                        checkpoint_slot = slots }
        for _, given in ipairs { row, keeps } do
          local bytes = bytes_a_call(function(i)
            if i % 8 == 0 then batch:clear() end
            batch:add(given)
          end)
          assert.is_true(bytes < 4, bytes)
        end
        batch:close()
        builder:close()
      end)
    end
  end
end)
