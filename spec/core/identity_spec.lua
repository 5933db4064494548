-- Ids of blocks: their values, what is copied for C and for how long, and what is refused of them.
local args = require "gdnmeta.native.args"
local array_of = require "gdnmeta.array_of"
local c_buffers = require "gdnmeta.native.c_buffers"
local ffi = require "ffi"
local gdn = require "gdnmeta"
local identity = require "gdnmeta.identity"
local stands = require "spec.support.stands"

local int32s, int64s = array_of "int32_t", array_of "int64_t"

local function counted(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

describe("Ids of blocks", function()
  it("have these values, on every machine", function()
    assert.are.same({ 5625505200617102, 3668640963437886 }, gdn.hash_chain { 1, 2 })
    assert.are.same({ 5023993368675632, 761718794118225 }, gdn.hash_chain({ "x", 3 }, "salt"))
    assert.are.same({ 3969153639434332, 7753664749810779 }, gdn.hash_blocks({ 1, 2, 3, 4, 5 }, 2))
    assert.are.same({ 3319715472848159 }, gdn.hash_blocks({ 1, 2 }, 2, 7, 9))
  end)

  it("take memory of a malloc that is freed again, of as many ids as there are", function()
    local new, made = c_buffers.new, nil
    c_buffers.new = function()
      made = new()
      return made
    end
    local function sizes(f, ...)
      pcall(f, ...)
      assert.is_nil(next(made.blocks))
      return { made.sizes.tokens or "none", made.sizes.ids or "none" }
    end
    local seen = {
      sizes(gdn.hash_blocks, counted(9), 2), sizes(gdn.hash_blocks, int32s(9), 2),
      sizes(gdn.hash_blocks, {}, 4), sizes(gdn.hash_blocks, { int32s(9), 3 }, 3),
      sizes(gdn.hash_blocks, 5, 2),
      sizes(gdn.hash_chain, counted(3)), sizes(gdn.hash_chain, {}), sizes(gdn.hash_chain, { 1, {} }),
    }
    c_buffers.new = new
    assert.are.same({ { 36, 32 }, { "none", 32 }, { 0, 0 }, { "none", 8 }, { "none", "none" }, { "none", 24 },
                      { "none", 0 }, { "none", 16 } }, seen)
  end)

  it("are copied where there is room, and refused by their name", function()
    local target = int64s(4, 7)
    assert.are.equal(2, identity.copy("ids", { 0, 2 ^ 53 - 1 }, target, 2))
    assert.are.same({ 0, 2 ^ 53 - 1, 7, 7 }, { tonumber(target[0]), tonumber(target[1]), tonumber(target[2]),
      tonumber(target[3]) })
    assert.are.same({ nil, "ids has 3 elements, want at most 2" },
      { identity.copy("ids", { 1, 2, 3 }, target, 2) })
    assert.are.same({ nil, "ids = 5, want a list" }, { identity.copy("ids", 5, target, 2) })
    for _, wrong in ipairs { -1, 1.5, 2 ^ 53, true } do
      local message = ("ids[2] = %s, want an integer in 0 .. 2^53 - 1 or a string"):format(args.show(wrong))
      assert.are.same({ nil, message }, { identity.copy("ids", { 1, wrong }, target, 2) })
    end
    assert.are.equal(0, identity.copy("ids", {}, target, 0))
  end)

  it("are salted by a word or a number, or not at all", function()
    for _, salt in ipairs { false, "tenant", 0, 2 ^ 53 - 1 } do
      assert.are.same({}, { identity.salt_problem(salt or nil) })
      assert.is_number(identity.salt(salt or nil))
    end
    assert.are.same({ 0, 0, 9 }, { identity.salt(), identity.salt(0), identity.salt(9) })
    for _, wrong in ipairs { -1, {}, true } do
      local message = ("salt = %s, want an integer in 0 .. 2^53 - 1 or a string"):format(args.show(wrong))
      assert.are.equal(message, identity.salt_problem(wrong))
    end
  end)

  it("are of memory as of lists, and of nothing else", function()
    local list = counted(8)
    local memory = int32s(8, list)
    local wanted = gdn.hash_blocks(list, 3, "s", 5)
    assert.are.equal(2, #wanted)
    assert.are.same(wanted, gdn.hash_blocks(memory, 3, "s", 5))
    assert.are.same(wanted, gdn.hash_blocks({ memory + 0, 8 }, 3, "s", 5))
    stands("gdnmeta.hash_blocks: tokens[1] leads to address 64",
      function() gdn.hash_blocks({ ffi.cast("int32_t *", 64), 2 }, 1) end)
    stands("gdnmeta.hash_blocks: tokens has 9 elements, want at most",
      function() gdn.hash_blocks({ memory, 9 }, 1) end)
    stands("gdnmeta.hash_blocks: tokens = cdata", function() gdn.hash_blocks(memory + 0, 1) end)
  end)
end)
