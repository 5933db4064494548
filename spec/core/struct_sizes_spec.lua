-- Structs that say their size: one of another size is refused with both, and nothing is read of it.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"

describe("A struct of another size", function()
  it("is no plan of states or windows to bring", function()
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_num_batched_tokens = 8 })
    local batch = assert(builder:batch())
    batch:push(0, 1, 9, true)
    builder:table(0)[0] = 1
    assert(builder:build(batch))
    local memory = ffi.new "uint8_t[4096]"
    local pools = ffi.new("void *[1]", { memory })
    for name, bring in pairs { gdn_state_pools = lib.gdn_bring_states,
                               gdn_window_pools = lib.gdn_bring_windows } do
      local given, right = ffi.new(name), ffi.sizeof(name)
      given.pools, given.num_pools = pools, 1
      if name == "gdn_state_pools" then
        given.slot_bytes = 16
      else
        given.channels, given.length, given.element_bytes = 2, 4, 2
      end
      for _, size in ipairs { 0, right - 1, right + 1, 2 * right } do
        given.size = size
        assert.are.equal(-1, tonumber(bring(builder.handle, given, nil)))
        assert.are.equal(("size = %d, want %d (sizeof(%s))"):format(size, right, name),
                         ffi.string(lib.gdn_last_error(builder.handle)))
      end
      given.size = right
      assert.are.equal(0, tonumber(bring(builder.handle, given, nil)), name)
    end
    batch:close()
    builder:close()
  end)
end)
