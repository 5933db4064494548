-- Who holds what: every slot and every block of the attention cache, counted again after each step from the
-- state tables, the checkpoints and the books of invariants.lua. A slot without an owner, or that
-- is back too early, is found in the step that lost it.
local lib = require "gdnmeta.native"
local cache = require "spec.support.cache_checks"
local check = require("spec.support.step_checks").check

local M = {}

--- States that are held beside the state tables: those of the host, those that live requests begin with, and
--- places that requests, or steps in flight, are to fill.
function M.sources(self)
  local list, requests = {}, self.engine.private.requests
  for _, source in pairs(self.engine.private.pinned) do list[#list + 1] = source end
  local prefix = self.engine.private.prefix
  for _, node in ipairs(prefix and cache.nodes(prefix) or {}) do list[#list + 1] = node end
  for id in pairs(self.live) do
    local i = requests.index[id]
    list[#list + 1] = requests.checkpoint[i]
    list[#list + 1] = cache.answer(self.engine.private, i)
    list[#list + 1] = requests.keep[i] and requests.keep[i][1]
  end
  for _, step in ipairs(self.engine.private.steps) do
    for _, entry in ipairs(step.keeping) do list[#list + 1] = entry.keep[1] end
  end
  return list
end

-- Their slots, by group.
local function pins_of(self)
  local pins = {}
  local function add(slots)
    for group, slot in ipairs(slots) do
      pins[group] = pins[group] or {}
      pins[group][slot] = (pins[group][slot] or 0) + 1
    end
  end
  for _, source in ipairs(M.sources(self)) do add(source.slots) end
  return pins
end

-- Seats whose rows may hold slots: of requests that run, and of those that left while a step names them.
local function holders_of(self, where)
  local table_rows = {}
  for table_row, pending in pairs(self.pending) do table_rows[table_row] = pending.id end
  for id, q in pairs(self.live) do
    if not q.waits then
      check(not table_rows[q.table_row], where, "I13: requests %s and %s have one table row", id,
            table_rows[q.table_row])
      table_rows[q.table_row] = id
    end
  end
  return table_rows
end

-- Slots of a table row in a group.
local function slots_of(states, group, table_row)
  local slots, cells = {}, states.tables[group]
  for column = 0, states.width - 1 do
    local slot = cells[table_row * states.width + column]
    if slot ~= 0 then slots[#slots + 1] = slot end
    if slot ~= 0 and column == states.spare then slots.source = slot end
  end
  return slots
end

-- I13: as many as the mode asks for. Align: of each step that may be in flight the window and one below.
local function check_count(self, where, q, group, slots)
  local c, n = self.config, #slots - (slots.source and 1 or 0)
  local least, most = 1 + c.num_spec, 1 + c.num_spec
  if c.align then least, most = slots.source and 0 or 1, (2 + c.num_spec) * #self.engine.private.steps end
  check(n >= least and n <= most, where, "I13: request %s holds %d slots of group %d, want %d .. %d", q.id, n,
        group, least, most)
end

-- I13, I14, I23 of one group. Returns the slots of each table row.
local function check_group(self, where, group, table_rows, pins)
  local e = self.engine.private
  local states, held, rows_of, used = e.states, {}, {}, 0
  for table_row = 0, e.config.max_requests - 1 do
    local slots = slots_of(states, group, table_row)
    check(table_rows[table_row] or #slots == 0, where,
          "I22, I23: table row %d holds %d slots and belongs to no request", table_row, #slots)
    held[table_row] = slots
    for _, slot in ipairs(slots) do
      check(slot > 0 and slot < e.config.num_slots[group], where, "I13, I14: slot %d", slot)
      rows_of[slot] = (rows_of[slot] or 0) + 1
    end
  end
  for slot = 1, e.config.num_slots[group] - 1 do
    local holders, want = lib.gdn_slots_holders(states.pools, group, slot), rows_of[slot] or 0
    if holders > 0 then used = used + 1 end
    if pins[slot] then
      want = want + pins[slot]
    else
      check(want < 2 or next(self.pending), where, "I13: slot %d stands in %d rows, without a checkpoint",
            slot, want)
    end
    check(holders == want, where, "I23: slot %d of group %d has %d holders, want %d", slot, group, holders,
          want)
  end
  local free = lib.gdn_slots_available(states.pools, group)
  check(free + used == e.config.num_slots[group] - 1, where, "I23: %d slots free, %d used", free, used)
  return held
end

-- I13, I23 of the attention cache: every request holds the blocks of the longest that it has been.
local function check_cache(self, where)
  local kv, used = self.engine:kv(), 0
  if not kv or self.engine.private.kv_blocks then return end
  for _, pending in pairs(self.pending) do used = used + pending.blocks end
  for _, q in pairs(self.live) do
    if not q.waits then used = used + math.ceil(q.reach / self.config.kv_block) end
  end
  check(kv.used == used and kv.free + used == kv.size and kv.free >= 0, where,
        "I13, I23: %d of %d blocks of attention cache used, %d free, want %d used", kv.used, kv.size, kv.free,
        used)
end

-- I28 of blocks that the engine owns, and I29 of those that the state cache holds: a row has as many as its
-- request reached, each block as many holders as have it, and all others are free.
local function check_blocks(self, where)
  local e = self.engine.private
  local kv = e.kv_blocks and e.kv_blocks.kv
  if not kv then return end
  local cells, rows_of, held = lib.gdn_kv_table(kv), {}, 0
  for _, q in pairs(self.live) do
    local length = not q.waits and lib.gdn_kv_length(kv, q.table_row)
    check(q.waits or length == math.ceil(q.reach / self.config.kv_block), where,
          "I28: request %s has %s blocks and reached %d tokens", q.id, length, q.reach)
  end
  for table_row = 0, e.config.max_requests - 1 do
    for column = 0, lib.gdn_kv_length(kv, table_row) - 1 do
      local block = cells[table_row * e.max_kv_blocks + column]
      rows_of[block] = (rows_of[block] or 0) + 1
    end
  end
  for _, source in ipairs(M.sources(self)) do
    for _, block in ipairs(source.kv) do rows_of[block] = (rows_of[block] or 0) + 1 end
  end
  for block = 0, e.options.kv_blocks - 1 do
    local holders, want = lib.gdn_kv_holders(kv, block), rows_of[block] or 0
    check(holders == want, where, "I28: block %d has %d holders, want %d", block, holders, want)
    if holders > 0 then held = held + 1 end
  end
  check(held + lib.gdn_kv_available(kv) == e.options.kv_blocks and self.engine:kv().used == held,
        where,
        "I28: %d blocks held, %d free, %d counted as used", held, lib.gdn_kv_available(kv),
        self.engine:kv().used)
end

local function remember(self, q, slots, group)
  local pools, held = self.engine.private.states.pools, {}
  for n, slot in ipairs(slots) do
    held[n] = { slot = slot, generation = lib.gdn_slots_generation(pools, group, slot),
                is_shared = lib.gdn_slots_holders(pools, group, slot) > 1 }
  end
  q.held[group] = held
end

--- Everything that is held, after a step or after its results.
function M.all(self, where)
  local table_rows, pins = holders_of(self, where), pins_of(self)
  for group = 0, self.engine.private.states.groups - 1 do
    local held = check_group(self, where, group, table_rows, pins[group + 1] or {})
    for _, q in pairs(self.live) do
      if not q.waits then
        check_count(self, where, q, group, held[q.table_row])
        remember(self, q, held[q.table_row], group)
      end
    end
  end
  check_cache(self, where)
  check_blocks(self, where)
end

-- I22: what a request held came back, as its generation tells, or others hold it.
local function check_returned(self, where, id, held)
  local pins, pools = pins_of(self), self.engine.private.states.pools
  for group, slots in pairs(held) do
    for _, was in ipairs(slots) do
      local is_pinned = pins[group + 1] and pins[group + 1][was.slot]
      check(is_pinned or was.is_shared or lib.gdn_slots_generation(pools, group, was.slot) ~= was.generation,
        where,
            "I22: request %s left, and slot %d of group %d did not come back", id, was.slot, group)
    end
  end
end

--- A request runs no longer. What a step in flight still names is pending until that step completes.
function M.left(self, where, q)
  if q.waits or not q.table_row then return end
  if q.flight > 0 then
    self.pending[q.table_row] = { id = q.id, flight = q.flight, held = q.held,
                          blocks = math.ceil(q.reach / self.config.kv_block) }
  else
    check_returned(self, where, q.id, q.held)
  end
  q.table_row, q.held, q.reach = nil, {}, 0
end

--- A step completed that names this table row.
function M.landed(self, where, table_row)
  local pending = self.pending[table_row]
  if not pending then return end
  pending.flight = pending.flight - 1
  if pending.flight > 0 then return end
  self.pending[table_row] = nil
  check_returned(self, where, pending.id, pending.held)
end

return M
