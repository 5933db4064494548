-- Pools of state slots: allocation, sharing, generations.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local OK, EINVAL, ECAP = 0, -1, -3

local function pools(sizes)
  local out = ffi.new "gdn_slots *[1]"
  assert(lib.gdn_slots_new(#sizes, int32s(#sizes, sizes), out) == OK)
  return ffi.gc(out[0], lib.gdn_slots_free)
end

local function stats(s, group)
  local out = ffi.new "gdn_slots_stats"
  assert.are.equal(OK, tonumber(lib.gdn_slots_describe(s, group, out)))
  return out
end

-- Status and the slots handed out.
local function take(s, group, n, owner)
  local out = int32s(n + 1)
  local status, slots = tonumber(lib.gdn_slots_take(s, group, n, owner, out)), {}
  for i = 1, n do slots[i] = out[i - 1] end
  return status, slots
end

describe("A pool of state slots", function()
  it("hands out every slot but the null slot, then none", function()
    local s = pools { 5 }
    local status, slots = take(s, 0, 4, 7)
    assert.are.equal(OK, status)
    assert.are.same({ 1, 2, 3, 4 }, slots)
    assert.are.equal(ECAP, (take(s, 0, 1, 7)))
    assert.are.equal(0, lib.gdn_slots_available(s, 0))
  end)

  it("hands out all that was asked for or nothing", function()
    local s = pools { 5 }
    take(s, 0, 2, 1)
    assert.are.equal(ECAP, (take(s, 0, 3, 1)))
    assert.are.equal(2, lib.gdn_slots_available(s, 0))
    assert.are.equal(OK, (take(s, 0, 2, 1)))
  end)

  it("reuses the slot that came back last", function()
    local s = pools { 9 }
    take(s, 0, 6, 1)
    for _, slot in ipairs { 2, 5, 3 } do lib.gdn_slots_drop(s, 0, slot) end
    assert.are.same({ 3, 5, 2, 7 }, select(2, take(s, 0, 4, 1)))
  end)

  it("keeps a shared slot until its last holder drops it, then changes its generation", function()
    local s = pools { 4 }
    take(s, 0, 1, 11)
    assert.are.equal(OK, tonumber(lib.gdn_slots_share(s, 0, 1)))
    assert.are.equal(2, lib.gdn_slots_holders(s, 0, 1))
    lib.gdn_slots_drop(s, 0, 1)
    assert.are.equal(11, lib.gdn_slots_owner(s, 0, 1))
    assert.are.equal(0, lib.gdn_slots_generation(s, 0, 1))
    lib.gdn_slots_drop(s, 0, 1)
    assert.are.equal(-1, lib.gdn_slots_owner(s, 0, 1))
    assert.are.equal(1, lib.gdn_slots_generation(s, 0, 1))
    assert.are.equal(3, lib.gdn_slots_available(s, 0))
  end)

  it("refuses the null slot, strangers and a second drop", function()
    local s = pools { 4 }
    take(s, 0, 1, 1)
    lib.gdn_slots_drop(s, 0, 1)
    for _, slot in ipairs { 0, 1, -1, 4, 2147483647 } do
      assert.are.equal(EINVAL, tonumber(lib.gdn_slots_drop(s, 0, slot)), "drop " .. slot)
      assert.are.equal(EINVAL, tonumber(lib.gdn_slots_share(s, 0, slot)), "share " .. slot)
      assert.are.equal(-1, lib.gdn_slots_owner(s, 0, slot))
    end
    assert.are.equal(EINVAL, (take(s, 1, 1, 1)))
    assert.are.equal(EINVAL, (take(s, 0, 1, -1)))
    assert.are.equal(3, lib.gdn_slots_available(s, 0))
  end)

  it("keeps the groups apart and counts use, peak and churn", function()
    local s = pools { 4, 9 }
    take(s, 0, 3, 1)
    local _, slots = take(s, 1, 5, 1)
    for _, slot in ipairs(slots) do lib.gdn_slots_drop(s, 1, slot) end
    take(s, 1, 2, 1)
    local a, b = stats(s, 0), stats(s, 1)
    assert.are.same({ 4, 0, 3, 3, 3 }, { a.size, a.available, a.used, a.peak, tonumber(a.taken) })
    assert.are.same({ 9, 6, 2, 5, 7 }, { b.size, b.available, b.used, b.peak, tonumber(b.taken) })
  end)

  it("refuses pools that cannot be", function()
    local out = ffi.new "gdn_slots *[1]"
    assert.are.equal(EINVAL, tonumber(lib.gdn_slots_new(1, ffi.new("int32_t[1]", 0), out)))
    assert.are.equal(EINVAL, tonumber(lib.gdn_slots_new(0, ffi.new("int32_t[1]", 4), out)))
    assert.are.equal(EINVAL, tonumber(lib.gdn_slots_new(65, ffi.new("int32_t[65]"), out)))
    assert.is_true(out[0] == nil)
  end)

  it("conserves slots under random use", function()
    local seed = tonumber(os.getenv "GDN_SEED") or os.time()
    math.randomseed(seed)
    local s, held, holders = pools { 40 }, {}, {}
    for move = 1, 5000 do
      local where = ("seed %d move %d"):format(seed, move)
      local what = math.random(3)
      if what == 1 then
        local n = math.random(0, 6)
        local status, slots = take(s, 0, n, move)
        assert.are.equal(n <= 39 - #held and OK or ECAP, status, where)
        if status == OK then
          for _, slot in ipairs(slots) do
            assert.is_nil(holders[slot], where)
            held[#held + 1], holders[slot] = slot, 1
          end
        end
      elseif #held > 0 then
        local at = math.random(#held)
        local slot = held[at]
        if what == 2 then
          lib.gdn_slots_share(s, 0, slot)
          holders[slot] = holders[slot] + 1
        else
          lib.gdn_slots_drop(s, 0, slot)
          holders[slot] = holders[slot] - 1
          if holders[slot] == 0 then
            holders[slot] = nil
            held[at] = held[#held]
            held[#held] = nil
          end
        end
      end
      assert.are.equal(39 - #held, lib.gdn_slots_available(s, 0), where)
    end
  end)
end)
