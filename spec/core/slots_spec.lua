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

  it("of the most groups knows none after the last", function()
    local sizes = {}
    for group = 1, 64 do sizes[group] = 3 end
    local s = pools(sizes)
    local known, unknown = { OK, 1, OK, OK, 1, 5 }, { EINVAL, 0, EINVAL, EINVAL, 0, -1 }
    for group, want in pairs { [63] = known, [64] = unknown } do
      assert.are.same(want, { (take(s, group, 1, 5)), lib.gdn_slots_available(s, group),
        tonumber(lib.gdn_slots_share(s, group, 1)), tonumber(lib.gdn_slots_drop(s, group, 1)),
        lib.gdn_slots_holders(s, group, 1), lib.gdn_slots_owner(s, group, 1) })
    end
    assert.are.equal(EINVAL, tonumber(lib.gdn_slots_describe(s, 64, ffi.new "gdn_slots_stats")))
    assert.are.equal(0, lib.gdn_slots_generation(s, 64, 1))
    assert.are.equal(EINVAL, tonumber(lib.gdn_slots_new(65, int32s(65), ffi.new "gdn_slots *[1]")))
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

  -- What the calls for all groups leave is what calls for each of them leave.
  describe("with all groups at once", function()
    local GROUPS, CELLS = 3, 12

    -- Pools, and a table of cells for each group.
    local function world()
      local w = { pools = pools { 9, 6, 12 }, tables = {}, cells = ffi.new "int32_t *[3]" }
      for g = 0, GROUPS - 1 do
        w.tables[g] = int32s(CELLS)
        w.cells[g] = w.tables[g]
      end
      return w
    end

    local function list_of(w, at)
      local list = int32s(GROUPS)
      for g = 0, GROUPS - 1 do list[g] = w.tables[g][at] end
      return list
    end

    local function each(act)
      for g = 0, GROUPS - 1 do
        local status = act(g)
        if status and status ~= OK then return tonumber(status) end
      end
      return OK
    end

    local function least(w)
      local n = math.huge
      each(function(g) n = math.min(n, lib.gdn_slots_available(w.pools, g)) end)
      return n
    end

    local function is_held(w, at)
      return each(function(g)
        return lib.gdn_slots_holders(w.pools, g, w.tables[g][at]) > 0 and OK or EINVAL
      end) == OK
    end

    -- By name: the call, and the same group by group, refused before it begins.
    local MOVES = {
      take = { function(w, at) return lib.gdn_slots_take_each(w.pools, 1, at, w.cells, at) end,
               function(w, at)
                 if least(w) < 1 then return ECAP end
                 return each(function(g) return lib.gdn_slots_take(w.pools, g, 1, at, w.tables[g] + at) end)
               end },
      drop = { function(w, at) return lib.gdn_slots_drop_each(w.pools, w.cells, at) end,
               function(w, at)
                 if not is_held(w, at) then return EINVAL end
                 return each(function(g)
                   lib.gdn_slots_drop(w.pools, g, w.tables[g][at])
                   w.tables[g][at] = 0
                 end)
               end },
      drop_list = { function(w, at) return lib.gdn_slots_drop_list(w.pools, list_of(w, at)) end,
                    function(w, at)
                      local list = list_of(w, at)
                      if list[0] > 0 and not is_held(w, at) then return EINVAL end
                      return each(function(g)
                        if list[g] > 0 then lib.gdn_slots_drop(w.pools, g, list[g]) end
                      end)
                    end },
      share = { function(w, at)
                  return lib.gdn_slots_share_each(w.pools, list_of(w, at), w.cells, (at + 1) % CELLS)
                end,
                function(w, at)
                  if not is_held(w, at) then return EINVAL end
                  return each(function(g)
                    lib.gdn_slots_share(w.pools, g, w.tables[g][at])
                    w.tables[g][(at + 1) % CELLS] = w.tables[g][at]
                  end)
                end },
      move = { function(w, at) return lib.gdn_slots_move_each(w.pools, w.cells, at, (at + 5) % CELLS, 3) end,
               function(w, at)
                 if least(w) < 1 then return ECAP end
                 return each(function(g)
                   w.tables[g][(at + 5) % CELLS] = w.tables[g][at]
                   return lib.gdn_slots_take(w.pools, g, 1, 3, w.tables[g] + at)
                 end)
               end },
      empty = { function(w, at)
                  return lib.gdn_slots_move_each(w.pools, w.cells, at, (at + 3) % CELLS, -1)
                end,
                function(w, at)
                  return each(function(g)
                    w.tables[g][(at + 3) % CELLS], w.tables[g][at] = w.tables[g][at], 0
                  end)
                end },
    }

    local function picture(w)
      local shown = { lib.gdn_slots_least(w.pools) }
      for g, size in pairs { [0] = 9, 6, 12 } do
        for at = 0, CELLS - 1 do shown[#shown + 1] = w.tables[g][at] end
        for slot = 0, size - 1 do
          shown[#shown + 1] = lib.gdn_slots_holders(w.pools, g, slot)
          shown[#shown + 1] = lib.gdn_slots_owner(w.pools, g, slot)
          shown[#shown + 1] = lib.gdn_slots_generation(w.pools, g, slot)
        end
        shown[#shown + 1] = lib.gdn_slots_available(w.pools, g)
      end
      return table.concat(shown, " ")
    end

    it("does what one call a group does", function()
      local seed = tonumber(os.getenv "GDN_SEED") or os.time()
      math.randomseed(seed)
      local names, done, a, b = {}, {}, world(), world()
      for name in pairs(MOVES) do names[#names + 1] = name end
      table.sort(names)
      for move = 1, 3000 do
        local name, at = names[math.random(#names)], math.random(0, CELLS - 1)
        local where = ("seed %d move %d %s %d"):format(seed, move, name, at)
        local status = tonumber(MOVES[name][1](a, at))
        assert.are.equal(tonumber(MOVES[name][2](b, at)), status, where)
        assert.are.equal(picture(b), picture(a), where)
        assert.are.equal(least(a), lib.gdn_slots_least(a.pools), where)
        local copy, list = int32s(GROUPS), list_of(a, at)
        lib.gdn_slots_copy_each(a.pools, a.cells, at, copy)
        for g = 0, GROUPS - 1 do assert.are.equal(list[g], copy[g], where) end
        done[name .. status] = true
        if move % 40 == 0 then a, b = world(), world() end
      end
      for name in pairs(MOVES) do assert.is_true(done[name .. OK], name) end
    end)

    it("refuses cells that are not there", function()
      local w = world()
      w.cells[1] = nil
      assert.are.equal(EINVAL, tonumber(lib.gdn_slots_take_each(w.pools, 1, 1, w.cells, 0)))
      assert.are.equal(8, lib.gdn_slots_available(w.pools, 0))
      w.cells[1] = w.tables[1]
      assert.are.equal(EINVAL, tonumber(lib.gdn_slots_take_each(w.pools, 1, 1, w.cells, -1)))
      assert.are.equal(EINVAL, tonumber(lib.gdn_slots_take_each(w.pools, 1, -1, w.cells, 0)))
      assert.are.equal(5, lib.gdn_slots_least(w.pools))
    end)
  end)
end)
