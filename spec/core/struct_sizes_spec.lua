-- Structs that say their size: one of another size is refused with both, and nothing is read of it. A group
-- that the builder has not is refused by its number, whatever else would be wrong with as many slots.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"

local PLANS = { gdn_state_pools = lib.gdn_bring_states, gdn_window_pools = lib.gdn_bring_windows }

describe("A struct of states or windows to bring", function()
  local builder, batch, memory, pools
  before_each(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_num_batched_tokens = 8 })
    batch = assert(builder:batch())
    batch:push(0, 1, 9, true)
    builder:table(0)[0] = 1
    assert(builder:build(batch))
    memory = ffi.new "uint8_t[4096]"
    pools = ffi.new("void *[1]", { memory })
  end)
  after_each(function()
    batch:close()
    builder:close()
  end)

  local function plan(name)
    local given = ffi.new(name)
    given.size, given.pools, given.num_pools = ffi.sizeof(name), pools, 1
    if name == "gdn_state_pools" then
      given.slot_bytes = 16
    else
      given.channels, given.length, given.element_bytes = 2, 4, 2
    end
    return given
  end
  local function refuses(words, bring, given)
    assert.are.equal(-1, tonumber(bring(builder.handle, given, nil)))
    assert.are.equal(words, ffi.string(lib.gdn_last_error(builder.handle)))
  end

  it("is none if it has another size", function()
    for name, bring in pairs(PLANS) do
      local given, right = plan(name), ffi.sizeof(name)
      for _, size in ipairs { 0, right - 1, right + 1, 2 * right } do
        given.size = size
        refuses(("size = %d, want %d (sizeof(%s))"):format(size, right, name), bring, given)
      end
      given.size = right
      assert.are.equal(0, tonumber(bring(builder.handle, given, nil)), name)
    end
  end)

  it("is none of a group that is not there", function()
    for name, bring in pairs(PLANS) do
      local given = plan(name)
      if name == "gdn_window_pools" then -- a second slot would overlap the first
        given.strides[0], given.strides[1], given.strides[2] = 1, 4, 1
      end
      for _, group in ipairs { -2147483648, -1, 1, 2, 64, 65, 2147483647 } do
        given.group = group
        refuses(("group = %d, want 0 .. 0"):format(group), bring, given)
      end
    end
  end)
end)
