-- Ids of prompts: gdn.hash_blocks and gdn.hash_chain.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"

local function tokens_of(n, seed)
  local list = {}
  for i = 1, n do list[i] = (i * 7919 + seed * 104729) % 151936 end
  return list
end

local function ones(value)
  local n = 0
  while value > 0 do
    n = n + value % 2
    value = math.floor(value / 2)
  end
  return n
end

-- Bits that differ between two numbers below 2^53.
local function distance(a, b)
  local high = 2 ^ 27
  return ones(bit.bxor(a % high, b % high)) + ones(bit.bxor(math.floor(a / high), math.floor(b / high)))
end

describe("gdn.hash_blocks", function()
  it("gives an id for each full block, which depends on all before it", function()
    local tokens = tokens_of(70, 1)
    local ids = gdn.hash_blocks(tokens, 16)
    assert.are.equal(4, #ids)
    for _, id in ipairs(ids) do assert.is_true(id >= 0 and id < 2 ^ 53 and id % 1 == 0) end
    for at = 1, 64 do
      local before = tokens[at]
      tokens[at] = before + 1
      local changed = gdn.hash_blocks(tokens, 16)
      for block = 1, 4 do
        local before_it = block < math.ceil(at / 16)
        assert.are.equal(before_it, changed[block] == ids[block], ("token %d, block %d"):format(at, block))
      end
      tokens[at] = before
    end
    assert.are.same({}, gdn.hash_blocks({}, 16))
    assert.are.same({}, gdn.hash_blocks(tokens_of(15, 1), 16))
  end)

  it("takes lists, arrays and pointers, and prompts piece by piece", function()
    local tokens = tokens_of(96, 2)
    local ids = gdn.hash_blocks(tokens, 8, "key")
    local array = ffi.new("int32_t[96]", tokens)
    assert.are.same(ids, gdn.hash_blocks(array, 8, "key"))
    assert.are.same(ids, gdn.hash_blocks({ ffi.cast("int32_t *", array), 96 }, 8, "key"))
    local first = gdn.hash_blocks({ ffi.cast("int32_t *", array), 40 }, 8, "key")
    local rest = gdn.hash_blocks({ ffi.cast("int32_t *", array) + 40, 56 }, 8, "key", first[5])
    for _, id in ipairs(rest) do first[#first + 1] = id end
    assert.are.same(ids, first)
  end)

  it("has other ids under another salt, and for blocks of another size", function()
    local tokens, seen = tokens_of(64, 3), {}
    for _, salt in ipairs { "a", "b", "", "a\0", 0, 1, 2 ^ 53 - 1 } do
      for _, id in ipairs(gdn.hash_blocks(tokens, 16, salt)) do
        assert.is_nil(seen[id])
        seen[id] = true
      end
    end
    assert.are.same(gdn.hash_blocks(tokens, 16), gdn.hash_blocks(tokens, 16, 0)) -- no salt is salt 0
    for _, id in ipairs(gdn.hash_blocks(tokens, 15, "a")) do assert.is_nil(seen[id]) end
  end)

  -- 2^14 blocks that differ in few bits from one another: none share an id, and half of the bits change.
  it("spreads what is nearly equal", function()
    local seen, sum, n = {}, 0, 0
    for a = 0, 127 do
      for b = 0, 127 do
        local id = gdn.hash_blocks({ a, b, 0 }, 3)[1]
        assert.is_nil(seen[id], ("%d %d"):format(a, b))
        seen[id] = true
        if b > 0 then
          sum = sum + distance(id, gdn.hash_blocks({ a, bit.bxor(b, 1), 0 }, 3)[1])
          n = n + 1
        end
      end
    end
    assert.is_true(math.abs(sum / n - 26.5) < 0.3, tostring(sum / n))
  end)

  it("counts every bit of a token, and its sign", function()
    local base = gdn.hash_blocks({ 5, 0, 7 }, 3)[1]
    for place = 0, 31 do
      local id = gdn.hash_blocks({ 5, bit.lshift(1, place), 7 }, 3)[1]
      assert.are_not.equal(base, id)
      assert.is_true(distance(base, id) > 8, "bit " .. place)
    end
  end)

  it("is what it was: ids that hosts have stored stay good", function()
    assert.are.same({ 4561003106046093, 5798864815455172 },
                    gdn.hash_blocks({ 1, 2, 3, 4, 5, 6 }, 3, "tenant"))
    assert.are.equal(5977470875394341, tonumber(lib.gdn_hash_bytes("prefix", 6, 0)))
    assert.are.equal(6379083937075612, tonumber(lib.gdn_hash_bytes(nil, 0, 0)))
  end)

  it("refuses what it cannot hash, at its caller's line", function()
    local function refusal(...)
      local _, why = pcall(gdn.hash_blocks, ...)
      return why
    end
    assert.are.equal("gdnmeta.hash_blocks: size = 0, want an integer in 1 .. 1048576", refusal({}, 0))
    assert.are.equal("gdnmeta.hash_blocks: tokens = 7, want a list", refusal(7, 4))
    assert.are.equal("gdnmeta.hash_blocks: tokens[2] = nil, want an integer in -2147483648 .. 2147483647",
                     refusal({ 1, nil, 3 }, 4))
    assert.are.equal("gdnmeta.hash_blocks: tokens[1] = 1.5, want an integer in -2147483648 .. 2147483647",
                     refusal({ 1.5 }, 1))
    assert.are.equal("gdnmeta.hash_blocks: salt = true, want an integer in 0 .. 2^53 - 1 or a string",
                     refusal({}, 4, true))
    for _, bad in ipairs { -1, 0.5, 2 ^ 53, 0 / 0, 1 / 0 } do
      assert.matches("salt = .* want an integer in 0 %.%. 2%^53 %- 1 or a string$", refusal({}, 4, bad))
      assert.matches("previous = .* want an integer in 0 %.%. 2%^53 %- 1$", refusal({}, 4, nil, bad))
    end
    local _, why = pcall(function() gdn.hash_blocks({}, 0) end)
    assert.matches("^spec/scheduler/hash_blocks_spec.lua:%d+: ", why)
  end)
end)

describe("gdn.hash_chain", function()
  it("makes ids cover what is before them, numbers and strings alike", function()
    local ids = gdn.hash_chain { 10, "b", 10 }
    assert.are.equal(3, #ids)
    assert.are_not.equal(ids[1], ids[3])
    assert.are.same({ ids[1], ids[2] }, gdn.hash_chain { 10, "b" })
    local other = gdn.hash_chain({ 10, "b", 10 }, "tenant")
    for k = 1, 3 do assert.are_not.equal(ids[k], other[k]) end
    assert.are_not.equal(gdn.hash_chain({ "a", "b" })[2], gdn.hash_chain({ "x", "b" })[2])
    assert.are.same({}, gdn.hash_chain {})
  end)

  it("refuses what is no id", function()
    for _, bad in ipairs { -1, 0.5, 2 ^ 53, 0 / 0, true } do
      local _, why = pcall(gdn.hash_chain, { 1, bad })
      assert.matches("^gdnmeta.hash_chain: ids%[2%] = .*, want an integer in 0 %.%. 2%^53 %- 1 or a string$",
        why)
    end
    assert.matches("ids = 5, want a list", select(2, pcall(gdn.hash_chain, 5)))
    assert.matches("salt = ", select(2, pcall(gdn.hash_chain, {}, {})))
  end)
end)
