-- Breaks everything that engine:verify() counts, one thing after the other, each put right again: a holder
-- more or less of every slot, block and cell, every number of the books one off. What verify says of each is
-- noted; of holders it is known beforehand.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local array_of = require "gdnmeta.array_of"
local assert = require "luassert"

local int32s = array_of "int32_t"

local M = {}

local function said(engine)
  local ok, message, code = engine:verify()
  assert.are.equal(ok == nil and -4 or nil, code)
  return ok or message
end

local function holders_are(engine, pool, number, where, holders, want)
  local words = ("gdnmeta.engine: %s %d%s has %d holders, want %d"):format(pool, number, where, holders, want)
  assert.are.equal(words, said(engine))
end

-- One holder more of each slot that has any, and of one that has none.
local function slots(engine)
  local p, taken = engine.private, int32s(1)
  local pools = p.states.pools
  for group = 0, p.states.groups - 1 do
    local where = " of group " .. group
    for slot = 1, p.config.num_slots[group] - 1 do
      local n = lib.gdn_slots_holders(pools, group, slot)
      if n > 0 then
        assert(lib.gdn_slots_share(pools, group, slot) == 0)
        holders_are(engine, "slot", slot, where, n + 1, n)
        assert(lib.gdn_slots_drop(pools, group, slot) == 0)
      end
    end
    if lib.gdn_slots_take(pools, group, 1, 0, taken) == 0 then
      holders_are(engine, "slot", taken[0], where, 1, 0)
      assert(lib.gdn_slots_drop(pools, group, taken[0]) == 0)
    end
  end
end

local function blocks(engine)
  local p, one = engine.private, int32s(1)
  local kv = p.kv_blocks.kv
  for block = 0, p.options.kv_blocks - 1 do
    local n = lib.gdn_kv_holders(kv, block)
    if n > 0 then
      one[0] = block
      assert(lib.gdn_kv_hold(kv, one, 1) == 0)
      holders_are(engine, "block", block, "", n + 1, n)
      assert(lib.gdn_kv_drop(kv, one, 1) == 0)
    end
  end
  if lib.gdn_kv_take(kv, 1, one) == 0 then
    holders_are(engine, "block", one[0], "", 1, 0)
    assert(lib.gdn_kv_drop(kv, one, 1) == 0)
  end
end

-- Each cell of the state tables empty, or with another's slot. What stands behind a table is not looked at.
local function cells(engine)
  local p = engine.private
  local states, n = p.states, p.config.max_requests * p.states.width
  for group = 0, states.groups - 1 do
    local real, copy, held = states.tables[group], int32s(n + 2), nil
    ffi.copy(copy, real, 4 * n)
    for at = 0, n - 1 do held = real[at] ~= 0 and real[at] or held end
    copy[n], copy[n + 1] = held or 0, held or 0
    states.tables[group] = copy
    assert.is_true(said(engine))
    for at = 0, n - 1 do
      local slot = copy[at] ~= 0 and copy[at] or held
      if slot then
        local holders = lib.gdn_slots_holders(states.pools, group, slot)
        copy[at] = real[at] == 0 and slot or 0
        local by = copy[at] > 0 and 1 or -1
        holders_are(engine, "slot", slot, " of group " .. group, holders, holders + by)
        copy[at] = real[at]
      end
    end
    states.tables[group] = real
  end
end

local function off_by_one(engine, note, object, name)
  local value = object[name]
  for by = -1, 1, 2 do
    object[name] = value + by
    note(said(engine))
  end
  object[name] = value
end

local function pins(engine, note, of_pool)
  local numbers = {}
  for number in pairs(of_pool) do numbers[#numbers + 1] = number end
  table.sort(numbers, function(a, b) return tostring(a) < tostring(b) end)
  for _, number in ipairs(numbers) do
    off_by_one(engine, note, of_pool, number)
    if number ~= "n" then
      local times = of_pool[number]
      of_pool[number] = nil
      note(said(engine))
      of_pool[number] = times
    end
  end
  of_pool[1e6] = 0
  note(said(engine))
  of_pool[1e6] = nil
end

local BOOKS = { "scheduled", "rejected_drafts", "discarded", "abandoned", "wasted_tokens" }
local OF_REQUEST = { "computed", "cached", "ahead", "known", "state", "read_column", "read_before", "sourced",
                     "answer_at" }
local OF_STEP = { "column", "seq_len", "planned", "drafts" }

local function books(engine, note)
  local p = engine.private
  for _, name in ipairs(BOOKS) do off_by_one(engine, note, p.stats, name) end
  off_by_one(engine, note, p, "of_use")
  off_by_one(engine, note, p.states, "num_sourced")
  off_by_one(engine, note, p.states, "free_kv")
  local ids = {}
  for id in pairs(p.requests.index) do ids[#ids + 1] = id end
  table.sort(ids)
  for _, id in ipairs(ids) do
    for _, name in ipairs(OF_REQUEST) do off_by_one(engine, note, p.requests[name], p.requests.index[id]) end
  end
  for _, step in ipairs(p.steps) do
    for _, name in ipairs(OF_STEP) do
      for row = 0, (step.in_flight and step.num_rows or 0) - 1 do
        off_by_one(engine, note, step[name], row)
      end
    end
  end
end

-- A session that is pinned is not, and the other way round.
local function sessions(engine, note)
  local keys = {}
  for key in pairs(engine.private.prefix.sessions) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local s = engine.private.prefix.sessions[key]
    s.pinned = not s.pinned
    note(said(engine))
    s.pinned = not s.pinned
  end
end

local function host(engine, note)
  local tier = engine.private.prefix.host
  if not tier then return end
  off_by_one(engine, note, tier, "num_free")
  for k = 0, tier.num_free - 1 do off_by_one(engine, note, tier.free, k) end
end

--- All of it, of an engine with a state cache, in which all is right before and after.
---@param note function takes a value
function M.all(engine, note)
  local p = engine.private
  assert.is_true(said(engine))
  slots(engine)
  cells(engine)
  if p.kv_blocks then blocks(engine) end
  for _, of_group in ipairs(p.states.pins) do pins(engine, note, of_group) end
  pins(engine, note, p.states.kv_pins)
  books(engine, note)
  sessions(engine, note)
  host(engine, note)
  assert.is_true(said(engine))
end

return M
