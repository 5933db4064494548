-- Pools of state slots under random calls, right and wrong ones: status, what is handed out, and all that can
-- be asked afterwards agree with a list.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local beside = require "spec.support.beside_a_model"

local near, list_of = beside.near, beside.list_of
local OK, EINVAL, ECAP = 0, -1, -3
local int32s = gdn.array_of "int32_t"

local Slots = {}
Slots.__index = Slots

local SIZES = { 1, 4, 7 }

local function slots()
  local out = ffi.new "gdn_slots *[1]"
  assert(lib.gdn_slots_new(#SIZES, int32s(#SIZES, SIZES), out) == OK)
  local model = { handle = ffi.gc(out[0], lib.gdn_slots_free) }
  for g, size in ipairs(SIZES) do
    local pool = { size = size, free = {}, owner = {}, holders = {}, generation = {}, taken = 0, peak = 0 }
    for slot = size - 1, 1, -1 do pool.free[#pool.free + 1] = slot end
    model[g - 1] = pool
  end
  return setmetatable(model, Slots)
end

function Slots:take(group, n, owner)
  local pool, given = self[group], {}
  local status = (not pool or n < 0 or owner < 0) and EINVAL or n > #pool.free and ECAP or OK
  if status ~= OK then return status, given end
  for i = 1, n do
    local slot = table.remove(pool.free)
    pool.owner[slot], pool.holders[slot], given[i] = owner, 1, slot
  end
  pool.taken, pool.peak = pool.taken + n, math.max(pool.peak, pool.size - 1 - #pool.free)
  return OK, given
end

function Slots:change(group, slot, by)
  local pool = self[group]
  if not pool or not pool.holders[slot] then return EINVAL end
  pool.holders[slot] = pool.holders[slot] + by
  if pool.holders[slot] > 0 then return OK end
  pool.holders[slot], pool.owner[slot] = nil, nil
  pool.generation[slot] = (pool.generation[slot] or 0) + 1
  pool.free[#pool.free + 1] = slot
  return OK
end

local function slots_move(model)
  local h, group, what = model.handle, near(0, #SIZES - 1), math.random(4)
  local size = model[group] and model[group].size or 4
  local slot = near(0, size - 1)
  if what == 1 then
    local n, owner, out = near(0, 3), math.random(12) == 1 and -1 or math.random(0, 99), int32s(8)
    local status, given = model:take(group, n, owner)
    return status, tonumber(lib.gdn_slots_take(h, group, n, owner, out)), given, list_of(out, #given)
  elseif what == 2 then
    return model:change(group, slot, 1), tonumber(lib.gdn_slots_share(h, group, slot))
  end
  return model:change(group, slot, -1), tonumber(lib.gdn_slots_drop(h, group, slot))
end

local function slots_state(model)
  local h, want, got, stats = model.handle, {}, {}, ffi.new "gdn_slots_stats"
  local function put(wanted, is) want[#want + 1], got[#got + 1] = wanted, tonumber(is) end
  for group = -1, #SIZES do
    local p = model[group] or { size = 4, free = {}, owner = {}, holders = {}, generation = {} }
    put(#p.free, lib.gdn_slots_available(h, group))
    put(model[group] and OK or EINVAL, lib.gdn_slots_describe(h, group, stats))
    if model[group] then
      local used = p.size - 1 - #p.free
      for _, pair in ipairs { { p.size, stats.size }, { #p.free, stats.available }, { used, stats.used },
                              { p.peak, stats.peak }, { p.taken, stats.taken } } do
        put(pair[1], pair[2])
      end
    end
    for slot = -1, p.size do
      put(p.owner[slot] or -1, lib.gdn_slots_owner(h, group, slot))
      put(p.holders[slot] or 0, lib.gdn_slots_holders(h, group, slot))
      put(p.generation[slot] or 0, lib.gdn_slots_generation(h, group, slot))
    end
  end
  return want, got
end

describe("Slots under random calls", function()
  it("are held by whom a list says", function() beside.agree(slots(), slots_move, slots_state) end)
end)
