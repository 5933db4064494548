-- States of the cache in memory of the host: those that leave the device and may be of use again. A state has
-- one place there for all of its groups, 0 .. host_slots - 1. The engine decides, the host program copies:
-- what a step says under `demoted`, then what it says under `restored`, both before its kernels run.
-- A state that leaves the device waits here until a step with rows tells of it: nothing overwrites its slots
-- before. One that goes on from a state here gets a copy of it in slots of its own, and the state stays.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local array_of = require "gdnmeta.array_of"
local Index = require "gdnmeta.engine.prefix.index"
local must = require "gdnmeta.engine.must" "host tier"

local min = math.min
local int32s = array_of "int32_t"

local HostTier = {}
HostTier.__index = HostTier

-- Nothing copies to place `to` any more.
local function forget_copy(self, to)
  for k = 0, self.num_leaving - 1 do
    if self.to[k] == to then
      local last = self.num_leaving - 1
      ffi.copy(self.from + k * self.groups, self.from + last * self.groups, 4 * self.groups)
      self.to[k], self.num_leaving = self.to[last], last
      return
    end
  end
end

--- The state in a place has left the index.
function HostTier:give_back(place)
  forget_copy(self, place)
  self.free[self.num_free] = place
  self.num_free = self.num_free + 1
end

-- The least worth of its states leaves: is a place free then?
local function evict_least(self)
  local prefix, index = self.prefix, self.prefix.index
  if prefix.hooks then prefix.hooks:rate(index, Index.HOST) end
  local node = index:first(Index.HOST)
  if node == 0 then return false end
  self:give_back(index:drop_state(node)[0])
  prefix:lost_state(node)
  return true
end

--- A state is to leave the device. Where the cache's hook does not drop it, and a place can be had, it goes
--- there.
---@param node integer with a state that nobody reads
---@return ffi.cdata*|nil slots int32 [groups] that it had; nil: it is to be dropped
function HostTier:take_in(node)
  local hooks, places = self.prefix.hooks, self.places
  if self.num_leaving == self.most or hooks and not hooks:demotes(self.prefix.index, node) then return nil end
  if self.num_free == 0 and not evict_least(self) then return nil end
  local n = self.num_leaving -- fewer than before, where the one that made room was yet to be copied
  self.num_free = self.num_free - 1
  local place = self.free[self.num_free]
  for group = 0, self.groups - 1 do places[group] = place end
  local slots = self.prefix.index:move_state(node, Index.ON_HOST, places)
  ffi.copy(self.from + n * self.groups, slots, 4 * self.groups)
  self.to[n], self.num_leaving = place, n + 1
  return slots
end

--- Must a slot of the device be copied from before anything is written there?
---@return boolean
function HostTier:is_awaited(group, slot)
  for k = 0, self.num_leaving - 1 do
    if self.from[k * self.groups + group] == slot then return true end
  end
  return false
end

local function restore(self, i, step, row)
  local e, r, list = self.engine, self.engine.requests, step.restored
  must(lib.gdn_index_slots(self.prefix.index.handle, r.hit_node[i], self.places))
  local at = r.table_row[i] * e.states.width + step.read_column[row]
  for group = 0, self.groups - 1 do list.to[list.n * self.groups + group] = e.states.tables[group][at] end
  list.from[list.n], list.row[list.n], list.n = self.places[0], row, list.n + 1
end

--- Rows of the step begin with states that are here.
function HostTier:restore_rows(step)
  local r = self.engine.requests
  for row = step.num_decodes, step.num_rows - 1 do
    local i = step.request[row]
    if r.on_host[i] == 1 and step.seq_len[row] - step.query_len[row] == r.cached[i] then
      restore(self, i, step, row)
    end
  end
end

--- The step is built, and the host will see it.
function HostTier:tell(step)
  local n, list = self.num_leaving, step.demoted
  if n > 0 then
    ffi.copy(list.from, self.from, 4 * n * self.groups)
    ffi.copy(list.to, self.to, 4 * n)
    list.n, self.num_leaving = n, 0
  end
  self.demotions, self.restores = self.demotions + n, self.restores + step.restored.n
end

--- All of its states are lost.
function HostTier:empty()
  while evict_least(self) do end
  self.num_leaving = 0
end

--- Do places and states agree? held: how many nodes have a state in each place.
---@return string|nil problem
function HostTier:problem(held)
  local is_free = {}
  for k = 0, self.num_free - 1 do
    if is_free[self.free[k]] then return ("host slot %d is free twice"):format(self.free[k]) end
    is_free[self.free[k]] = true
  end
  for place = 0, self.slots - 1 do
    local n = held[place] or 0
    if n ~= (is_free[place] and 0 or 1) then
      return ("host slot %d has %d states, and is %s"):format(place, n, is_free[place] and "free" or "taken")
    end
  end
  for k = 0, self.num_leaving - 1 do
    if is_free[self.to[k]] then
      return ("a state is to be copied to host slot %d, which is free"):format(self.to[k])
    end
  end
end

local M = {}

-- What a step tells: n copies, `from` and `to` with a slot a group on the device, one place on the host; and
-- the row that begins with what is restored.
local function show(self, step, rows)
  step.demoted = { n = 0, from = int32s(self.most * self.groups), to = int32s(self.most) }
  step.restored = { n = 0, from = int32s(rows), to = int32s(rows * self.groups), row = int32s(rows) }
end

---@param prefix table the state cache
---@param o table options of the engine
---@return table|boolean tier false: none
function M.new(prefix, o)
  local n, groups = o.host_slots, o.config.num_groups
  if n == 0 then return false end
  local most = min(n, o.config.num_slots[0]) -- copies: of each slot one at most
  local self = setmetatable({
    prefix = prefix, engine = prefix.engine, slots = n, groups = groups, most = most,
    free = int32s(n), num_free = n, places = int32s(groups),
    from = int32s(most * groups), to = int32s(most), num_leaving = 0, demotions = 0, restores = 0,
  }, HostTier)
  for k = 0, n - 1 do self.free[k] = n - 1 - k end
  for _, step in ipairs(prefix.engine.steps) do show(self, step, o.config.max_rows) end
  return self
end

return M
