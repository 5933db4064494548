-- States that requests begin with: of tokens that are computed already, a slot a group and, where the engine
-- owns them, blocks of attention cache. A source is shared and never written: a request whose state it is
-- moves on to fresh slots, and reads it once more in its next step.
-- { tokens, accepted, slots, generations, kv, is_empty, is_awaited }: accepted is what a reader's row says of
-- it (the shift of its conv window), slots and generations have one a group, from 1 on, kv the blocks of its
-- tokens or nil. One that reserve() made is_empty until it is somebody's, and is_awaited while a request is
-- to fill it.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local requests = require "gdnmeta.engine.requests"
local array_of = require "gdnmeta.array_of"
local must = require "gdnmeta.engine.must" "sources"

local ceil, floor, min = math.ceil, math.floor, math.min
local int32s = array_of "int32_t"

jit.off(true, true) -- no step path

local M = { AWAITS_COPY = "begins with a state that is to be copied from the host, run its step first" }

-- How many holders each slot or block has among sources, and how many have any.
local function count(pins, list, by)
  for _, number in ipairs(list) do
    local before = pins[number] or 0
    local after = before + by
    pins[number] = after > 0 and after or nil
    if before == 0 then pins.n = pins.n + 1 elseif after == 0 then pins.n = pins.n - 1 end
  end
end

local function count_all(states, source, by)
  for group, slot in ipairs(source.slots) do count(states.pins[group], { slot }, by) end
  if source.kv then count(states.kv_pins, source.kv, by) end
end

--- One holder more.
function M.hold(states, source)
  for group, slot in ipairs(source.slots) do must(lib.gdn_slots_share(states.pools, group - 1, slot)) end
  if source.kv then must(lib.gdn_kv_hold(states.kv.kv, int32s(#source.kv, source.kv), #source.kv)) end
  count_all(states, source, 1)
  return source
end

--- One less.
function M.drop(states, source)
  count_all(states, source, -1)
  for group, slot in ipairs(source.slots) do must(lib.gdn_slots_drop(states.pools, group - 1, slot)) end
  if source.kv then
    must(lib.gdn_kv_drop(states.kv.kv, int32s(#source.kv, source.kv), #source.kv))
    states.free_kv = states.kv:free()
  end
end

--- Other blocks of attention cache for the source's tokens, which somebody else holds, too.
function M.exchange_blocks(states, source, blocks)
  local old, kv, numbers = source.kv, states.kv.kv, int32s(#blocks, blocks)
  local unused = int32s(#old, old) -- in no row, so that all of its holders hold the source
  for _ = 1, lib.gdn_kv_holders(kv, old[1]) do
    must(lib.gdn_kv_hold(kv, numbers, #blocks))
    must(lib.gdn_kv_drop(kv, unused, #old))
    count(states.kv_pins, old, -1)
    count(states.kv_pins, blocks, 1)
  end
  source.kv = blocks
  states.free_kv = states.kv:free()
end

--- Blocks of attention cache that no request has more of. Where so many are left nobody needs to look at all
--- requests.
---@return integer
function M.most_blocks(e) return ceil((e.token_limits.max_model_len - 1) / e.states.kv_block) end

-- The blocks that a live request may need beyond those that are kept for it.
local function need_of(e, i)
  local r = e.requests
  local longest = min(r.prompt[i] + r.max_tokens[i] - 1 + e.num_spec, e.token_limits.max_model_len - 1)
  local is_kept = r.checkpoint[i] or r.hit_node[i] > 0 and e.prefix:is_pinned(r.hit_node[i])
  return ceil(longest / e.states.kv_block) - (is_kept and r.kv_shared[i] or 0)
end

local function largest_need(e)
  local most = 0
  for _, i in pairs(e.requests.index) do most = math.max(most, need_of(e, i)) end
  return most
end

-- How many numbers of the list no source holds yet.
local function fresh(pins, list)
  local n = 0
  for _, number in ipairs(list) do
    if not pins[number] then n = n + 1 end
  end
  return n
end

--- F10: what is kept must leave room for any one request to run alone. slots: a list a group, or how many.
---@return string|nil problem
function M.crowded(e, slots, kv)
  local states = e.states
  for group = 1, states.groups do
    local added = type(slots) == "number" and slots or fresh(states.pins[group], { slots[group] })
    local left = e.config.num_slots[group - 1] - 1 - states.pins[group].n - added
    if left < states.least_slots then
      return ("leaves %d slots of group %d to requests, want at least %d: others are kept"):format(
        left, group - 1, states.least_slots)
    end
  end
  if not states.kv then return nil end
  local added = type(kv) == "number" and kv or fresh(states.kv_pins, kv)
  local left = states.total_kv - e.plan.watermark - states.kv_pins.n - added
  if left >= M.most_blocks(e) then return nil end
  local need = largest_need(e)
  if left < need then
    return ("leaves %d blocks of attention cache to requests, want at least %d: others are kept"):format(
      left, need)
  end
end

--- Why no source can be read that ends within a block.
function M.no_column(e)
  return ("wants a free column of the state tables: max_blocks_per_row = %d, want at least %d"):format(
    e.states.width, e.states.width + 1)
end

--- Where the state of a request's sure tokens lies, unless a step in flight overwrites it.
---@return integer|nil tokens, integer|string column or the problem
function M.where(e, i)
  local r, states = e.requests, e.states
  if r.state[i] ~= requests.RUNNING then return nil, "does not run" end
  local tokens = r.computed[i] - r.ahead[i]
  if e.prefix and e.prefix:awaits_copy(i) then return nil, M.AWAITS_COPY end
  if tokens < 1 and r.flight[i] > 0 then return nil, "has a step in flight, complete it first" end
  if tokens < 1 then return nil, "has no tokens computed" end
  if r.flight[i] == 0 then return tokens, r.read_column[i] end
  local column = r.read_before[i]
  if r.flight[i] > 1 or not states.align or tokens % states.block ~= 0
    or column ~= tokens / states.block - 1 then
    return nil, "has a step in flight, complete it first"
  end
  return tokens, column
end

-- What the one row in flight of a request says of the state that it reads.
local function accepted_in_flight(e, i)
  local epoch = e.requests.epoch[i]
  for _, step in ipairs(e.steps) do
    for row = 0, step.in_flight and step.num_rows - 1 or -1 do
      if step.request[row] == i and step.epoch[row] == epoch then return step.last_accepted[row] end
    end
  end
end

--- A running request's state as a source that nothing holds yet.
function M.of(e, i, tokens, column)
  local r, states = e.requests, e.states
  local at = r.table_row[i] * states.width + column
  local accepted = r.flight[i] == 0 and r.accepted[i] or accepted_in_flight(e, i)
  local source = { tokens = tokens, accepted = accepted, slots = {}, generations = {} }
  for group = 0, states.groups - 1 do
    local slot = states.tables[group][at]
    source.slots[group + 1] = slot
    source.generations[group + 1] = lib.gdn_slots_generation(states.pools, group, slot)
  end
  if states.kv then
    source.kv = states.kv:list(r.table_row[i], ceil(tokens / states.kv_block))
  end
  return source
end

--- Would the request's next step write the slots of its state?
---@return boolean
function M.overwrites(e, i, tokens, column)
  local r, states = e.requests, e.states
  if column == states.spare then return false end
  return not states.align or r.flight[i] == 0 and floor(tokens / states.block) <= column
end

--- Keep a running request's state: the request moves on to fresh slots where it would overwrite it.
---@return table|nil source with one holder, string? problem
function M.keep(e, i)
  local tokens, column = M.where(e, i)
  if not tokens then return nil, column end
  local states, source = e.states, M.of(e, i, tokens, column)
  local problem = M.crowded(e, source.slots, source.kv)
  if problem then return nil, problem end
  if M.overwrites(e, i, tokens, column) then
    if states.spare == requests.NONE then return nil, M.no_column(e) end
    if not states.align and states:free_slots() < 1 then
      return nil, "finds no free state slot to move on to"
    end
  end
  M.hold(states, source)
  if M.overwrites(e, i, tokens, column) then states:move_on(i, column) end
  return source
end

-- A free slot that the host may write at once: the state that was there is not to be copied first. aside:
-- gets those that it may not.
local function take_slot(e, group, out, aside)
  local pools, tier = e.states.pools, e.prefix and e.prefix.host
  while lib.gdn_slots_available(pools, group) > 0 do
    must(lib.gdn_slots_take(pools, group, 1, 0, out))
    if not (tier and tier:is_awaited(group, out[0])) then return out[0] end
    aside[#aside + 1] = out[0]
  end
end

-- One a group, or none.
local function take_slots(e, source)
  local pools, out = e.states.pools, int32s(1)
  for group = 0, e.states.groups - 1 do
    local aside = {}
    local slot = take_slot(e, group, out, aside)
    for k = #aside, 1, -1 do must(lib.gdn_slots_drop(pools, group, aside[k])) end
    if not slot then
      for before = 0, group - 1 do must(lib.gdn_slots_drop(pools, before, source.slots[before + 1])) end
      return false
    end
    source.slots[group + 1] = slot
    source.generations[group + 1] = lib.gdn_slots_generation(pools, group, slot)
  end
  return true
end

--- A source that a host is to fill: fresh slots and blocks for so many tokens. accepted: as sources say it.
---@return table|nil source with one holder, string? problem
function M.reserve(e, tokens, accepted)
  local states = e.states
  local blocks = states.kv and ceil(tokens / states.kv_block) or 0
  local problem = M.crowded(e, 1, blocks)
  if problem then return nil, problem end
  if states:free_slots() < 1 then return nil, "finds no free state slot" end
  if blocks > states.free_kv then return nil, "finds too few free blocks of attention cache" end
  local source = { tokens = tokens, accepted = accepted, slots = {}, generations = {}, is_empty = true,
                   is_awaited = false }
  local out = int32s(math.max(blocks, 1))
  if not take_slots(e, source) then return nil, "finds no free state slot to write" end
  if states.kv then
    must(lib.gdn_kv_take(states.kv.kv, blocks, out))
    source.kv = {}
    for n = 1, blocks do source.kv[n] = out[n - 1] end
    states.free_kv = states.kv:free()
  end
  count_all(states, source, 1)
  return source
end

local SHOWN = {
  __tostring = function(shown)
    local blocks = shown.kv_blocks and (", kv_blocks=%d"):format(#shown.kv_blocks) or ""
    return ("gdnmeta.Source(tokens=%s, groups=%d%s)"):format(args.show(shown.tokens), #shown.slots, blocks)
  end,
}

--- The blocks of a source, in a list of the host's own: unpack() would give 8,000 at the most. No
--- metamethod of the host's is asked.
function M.show_blocks(shown, blocks)
  if not blocks then return end
  local list = {}
  for n = 1, #blocks do list[n] = blocks[n] end
  rawset(shown, "kv_blocks", list)
end

--- What a host sees of a source, and what stands for it: the host's own table proves nothing.
function M.show(e, source)
  local shown = setmetatable({ tokens = source.tokens, accepted = source.accepted, slots = {},
                               generations = {} }, SHOWN)
  for group, slot in ipairs(source.slots) do
    shown.slots[group], shown.generations[group] = slot, source.generations[group]
  end
  M.show_blocks(shown, source.kv)
  e.checkpoints[shown], e.pinned[shown] = source, source
  return shown
end

--- Request i begins with a source, which it holds for itself until it is gone.
function M.give(e, i, source)
  local r, states = e.requests, e.states
  r.checkpoint[i], source.is_empty = M.hold(states, source), false
  r.cached[i], r.computed[i] = source.tokens, source.tokens
  r.kv_shared[i] = states.kv and floor(source.tokens / states.kv_block) or 0
end

return M
