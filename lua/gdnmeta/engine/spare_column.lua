-- Where a request reads a state that is not its own: a column of its table row that no sequence reaches.
-- Parts of the object of request_memory.lua.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local must = require "gdnmeta.engine.must" "slots"

local floor = math.floor
local BELOW_ALL = -math.huge

local States = {}

local slots_read = ffi.new "int32_t[64]" -- [GDN_MAX_GROUPS]

-- The column of a table row where a state of so many tokens is read: that of its block where it ends with
-- one, else the spare.
local function source_column(self, tokens)
  local column = tokens / self.block - 1
  return self.align and column % 1 == 0 and column or self.spare
end

--- A request that comes in begins with a state of so many tokens in slots[groups]; accepted: what its row
--- says of it.
function States:read_slots(i, tokens, accepted, slots)
  local r, base, column = self.requests, self.requests.table_row[i] * self.width, source_column(self, tokens)
  must(lib.gdn_slots_share_each(self.pools, slots, self.cells, base + column))
  r.read_column[i], r.accepted[i] = column, accepted
  if column == self.spare then
    r.sourced[i], self.num_sourced = 1, self.num_sourced + 1
  else
    r.first_column[i], r.last_column[i] = column, column
  end
end

--- A request that comes in begins with a state of so many tokens that the host copies into slots of its own:
--- those that its first step writes or, in mode align, those of the block that ends there.
function States:await_copy(i, tokens, accepted)
  local r, column = self.requests, 0
  if self.align then
    column = tokens / self.block - 1
    must(lib.gdn_slots_take_each(self.pools, 1, i, self.cells, r.table_row[i] * self.width + column))
    r.first_column[i], r.last_column[i] = column, column
  end
  r.read_column[i], r.accepted[i] = column, accepted
end

--- It begins with the source.
function States:read_source(i, source)
  for group = 1, self.groups do slots_read[group - 1] = source.slots[group] end
  self:read_slots(i, source.tokens, source.accepted, slots_read)
end

--- Whole blocks are shared. Of one that the source has begun the request gets a copy, which the host makes.
function States:share_blocks(i, source, copies)
  local r, kv, whole = self.requests, self.kv, self.requests.kv_shared[i]
  kv:share(r.table_row[i], source.kv, whole)
  if whole < #source.kv then
    kv:extend(r.table_row[i], whole + 1)
    copies[#copies + 1] = { from = source.kv[whole + 1], to = kv:block(r.table_row[i], whole) }
    self.free_kv = kv:free()
  end
  r.kv_blocks[i], r.kv_reserved_to[i] = #source.kv, #source.kv * self.kv_block
end

--- The state in a column is somebody else's, too, from now on: the request reads it in the spare column, and
--- its next step writes fresh slots. Mode none has those at once, align when the step is planned.
function States:move_on(i, column)
  local r, base = self.requests, self.requests.table_row[i] * self.width
  local owner = self.align and -1 or i
  must(lib.gdn_slots_move_each(self.pools, self.cells, base + column, base + self.spare, owner))
  self:has_moved_on(i)
  if self.align then r.slots_from[i], r.slots_to[i] = BELOW_ALL, BELOW_ALL end
end

--- The slots of its state stand in the spare column.
function States:has_moved_on(i)
  local r = self.requests
  r.read_column[i], r.sourced[i], self.num_sourced = self.spare, 1, self.num_sourced + 1
end

--- The step that read the spare column is complete.
function States:drop_source(i)
  local r = self.requests
  local at = r.table_row[i] * self.width + self.spare
  must(lib.gdn_slots_drop_each(self.pools, self.cells, at))
  r.sourced[i], self.num_sourced = 0, self.num_sourced - 1
end

--- The column where sources are read: the last, where no sequence reaches it. And the slots of a group that
--- one request alone may need.
---@param o table options of the engine
function States:fit(o)
  local last, spec = self.width - 1, self.per_request - 1
  local reached = self.align and floor((o.max_model_len - 2) / self.block) + spec or spec
  self.spare = last > reached and last or -1
  self.may_correct = o.async == true
  self.least_slots = self.align and spec + 2 + (o.async and 2 or 0) or spec + 1
end

return States
