-- What requests own: a row of the state tables, state slots in every cache group, and blocks of
-- the attention cache. Only a commit takes, so that a proposal that is thrown away leaks nothing.
-- All groups hold blocks in the same columns: group 0 answers for all of them.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local spare_column = require "gdnmeta.engine.spare_column"
local NONE = require("gdnmeta.engine.requests").NONE
local array_of = require "gdnmeta.array_of"
local must = require "gdnmeta.engine.must" "slots"

local floor, ceil, min, max = math.floor, math.ceil, math.min, math.max
local BELOW_ALL = -math.huge
local int32s, pointers = array_of "int32_t", array_of "int32_t *"
local pools_t = ffi.typeof "gdn_slots *[1]"
local stats_t = ffi.typeof "gdn_slots_stats"

-- Anchors `lib`: cdata finalizers may run after every other reference to the library is gone.
local function slots_free(pools) lib.gdn_slots_free(pools) end

local States = {}
States.__index = States
for name, method in pairs(spare_column) do States[name] = method end

--- Slots that the poorest group has left.
---@return integer
function States:free_slots()
  local least = lib.gdn_slots_least(self.pools)
  return least -- not `return` of the call itself: that would not be compiled
end

--- Columns that a step writes which ends at `tokens` with `drafts`. Where drafts of a step in flight may
--- still be rejected, the window may come to lie one column lower: that column is held already, for the
--- state of the tokens that are sure lies in it or above, and num_spec < block; or window_of() takes it.
function States:window(tokens, drafts)
  local first = floor((tokens - 1) / self.block)
  return first, first + drafts
end

-- The same for request i in mode align. Where two steps may be in flight and the first one drafts, the
-- second may be built again without those drafts: it writes the column after the tokens that are sure, which
-- is empty where the slots of that column went to a fork or an answer's state.
local function window_of(self, i, tokens, drafts)
  local r, first, last = self.requests, self:window(tokens, drafts)
  if drafts > 0 and self.may_correct and r.flight[i] == 0 then
    first = min(first, floor(r.computed[i] / self.block))
  end
  return first, last
end

--- Slots a group that the request lacks for such a step.
function States:missing_slots(i, tokens, drafts)
  local table_row = self.requests.table_row[i]
  if not self.align then return self.per_request * max(NONE * table_row, 0) end -- all, where it has no row
  local first, last = window_of(self, i, tokens, drafts)
  if table_row < 0 then return last - first + 1 + self.requests.on_host[i] end
  local cells, base, missing = self.tables[0], table_row * self.width, 0
  for column = first, last do
    if cells[base + column] == 0 then missing = missing + 1 end
  end
  return missing
end

--- Attention-cache blocks that the request lacks to hold `tokens`.
function States:missing_kv(i, tokens)
  if not self.limited then return 0 end
  local r = self.requests
  return max(ceil(tokens / self.kv_block) - max(r.kv_blocks[i], r.kv_shared[i]), 0)
end

--- Blocks of attention cache that come back when the request leaves.
---@return integer
function States:held_kv(i)
  local r = self.requests
  if not self.kv or r.table_row[i] == NONE then return r.kv_blocks[i] end
  return self.kv:held(r.table_row[i])
end

--- Does what the request holds suffice for a step that ends at `tokens` with `drafts`? A quick look: it may
--- say no where it does. Without a branch: all are numbers of tokens, or infinite.
---@return integer 1: it does, 0
function States:covers(i, tokens, drafts)
  local r = self.requests
  local left = min(r.kv_reserved_to[i] - tokens + 1, tokens - r.slots_from[i],
                   r.slots_to[i] - tokens + 1 - drafts * self.block)
  return max(0, min(1, left))
end

--- What such a step takes of the pools.
---@return integer slots per group, integer blocks of attention cache
function States:needs(i, tokens, drafts)
  if self.align and self:covers(i, tokens, drafts) == 1 then return 0, 0 end -- mode none has no branch
  return self:missing_slots(i, tokens, drafts), self:missing_kv(i, tokens)
end

--- Slots a group that come back when the request leaves.
function States:held_slots(i)
  local r = self.requests
  if r.table_row[i] == NONE then return 0 end
  if not self.align then return self.per_request end
  local cells, base, held = self.tables[0], r.table_row[i] * self.width, 0
  for column = r.first_column[i], r.last_column[i] do
    if lib.gdn_slots_holders(self.pools, 0, cells[base + column]) == 1 then held = held + 1 end
  end
  return held
end

--- Of these, those in columns below `column`; of a request that runs.
---@return integer
function States:behind(i, column)
  local r = self.requests
  local cells, base, held = self.tables[0], r.table_row[i] * self.width, 0
  for at = r.first_column[i], min(column - 1, r.last_column[i]) do
    if lib.gdn_slots_holders(self.pools, 0, cells[base + at]) == 1 then held = held + 1 end
  end
  return held
end

--- A table row, and what a request holds whatever it does: mode none all of its slots, and its source.
--- copies: of blocks, that the host is to make before the step.
function States:enter(i, copies)
  local r, top = self.requests, self.free_table_rows - 1
  local table_row = self.table_rows[top]
  self.free_table_rows = top
  r.table_row[i], r.last_column[i] = table_row, NONE
  local base, source = table_row * self.width, r.checkpoint[i]
  if not self.align then must(lib.gdn_slots_take_each(self.pools, self.per_request, i, self.cells, base)) end
  r.slots_from[i], r.slots_to[i] = BELOW_ALL, self.align and BELOW_ALL or math.huge
  r.kv_reserved_to[i] = self.limited and 0 or math.huge
  r.read_column[i], r.accepted[i] = -1, 1
  if source then
    self:read_source(i, source)
    if self.kv then self:share_blocks(i, source, copies) end
  elseif r.hit_node[i] > 0 then
    self.prefix:begin_at(i)
  end
end

--- Everything that a step needs which ends at `tokens`.
function States:reserve(i, tokens, drafts)
  local r = self.requests
  local blocks = self:missing_kv(i, tokens)
  if blocks > 0 then
    r.kv_blocks[i] = r.kv_blocks[i] + blocks
    if self.kv then self.kv:extend(r.table_row[i], r.kv_blocks[i]) end
    self.free_kv = self.free_kv - blocks
    r.kv_reserved_to[i] = r.kv_blocks[i] * self.kv_block
    self.peak_kv = max(self.peak_kv, self.total_kv - self.free_kv)
  end
  if not self.align then return end
  local first, last = window_of(self, i, tokens, drafts)
  local base = r.table_row[i] * self.width
  for column = first, last do
    if self.tables[0][base + column] == 0 then
      must(lib.gdn_slots_take_each(self.pools, 1, i, self.cells, base + column))
    end
  end
  if r.last_column[i] == NONE then r.first_column[i] = first end
  r.first_column[i] = min(r.first_column[i], first)
  r.last_column[i] = max(r.last_column[i], last)
  while last < r.last_column[i] and self.tables[0][base + last + 1] ~= 0 do last = last + 1 end
  r.slots_from[i], r.slots_to[i] = first * self.block, (last + 1) * self.block
end

local function drop(self, at) must(lib.gdn_slots_drop_each(self.pools, self.cells, at)) end

--- Drop the blocks below the next window that no step reads any more. `tokens` are computed for sure.
function States:settle(i, tokens)
  local r, cells, next_window = self.requests, self.tables[0], floor(tokens / self.block)
  local base, first = r.table_row[i] * self.width, next_window
  local read, before = r.read_column[i], r.flight[i] > 0 and r.read_before[i] or NONE
  for column = r.first_column[i], min(next_window - 1, r.last_column[i]) do
    if cells[base + column] ~= 0 then
      if column == read or column == before then
        first = min(first, column)
      else
        drop(self, base + column)
      end
    end
  end
  r.first_column[i] = min(first, r.last_column[i])
end

-- The slots of a request that may have several in a group.
local function drop_all(self, i)
  local r = self.requests
  local base, last = r.table_row[i] * self.width, self.align and r.last_column[i] or self.per_request - 1
  for column = self.align and r.first_column[i] or 0, last do
    if self.tables[0][base + column] ~= 0 then drop(self, base + column) end
  end
end

--- Give everything back.
function States:leave(i)
  local r = self.requests
  local table_row = r.table_row[i]
  if table_row == NONE then return end
  if r.sourced[i] == 1 then self:drop_source(i) end
  if self.prefix then self.prefix:leave(i) end
  if self.align or self.per_request > 1 then
    drop_all(self, i)
  elseif self.tables[0][table_row * self.width] ~= 0 then
    drop(self, table_row * self.width)
  end
  if self.kv then
    self.kv:clear(table_row)
    self.free_kv = self.kv:free()
  else
    self.free_kv = self.free_kv + r.kv_blocks[i]
  end
  r.kv_blocks[i], r.kv_reserved_to[i] = 0, 0
  r.table_row[i] = NONE
  self.table_rows[self.free_table_rows] = table_row
  self.free_table_rows = self.free_table_rows + 1
end

--- Sums over the groups.
---@return table
function States:slots()
  local stats, sum = stats_t(), { size = 0, free = 0, used = 0, peak = 0, churn = 0 }
  for group = 0, self.groups - 1 do
    lib.gdn_slots_describe(self.pools, group, stats)
    sum.size, sum.free, sum.used = sum.size + stats.size, sum.free + stats.available, sum.used + stats.used
    sum.peak, sum.churn = sum.peak + stats.peak, sum.churn + tonumber(stats.taken)
  end
  return sum
end

local M = {}

--- config: gdn_config of the builder; tables: their state tables; total_kv: blocks of attention cache, nil
--- for no limit; kv: of kv_blocks.lua, false where they are only counted. fit() says the rest.
---@return table|nil states, string? message, integer? code
function M.new(requests, config, tables, total_kv, kv_block, kv)
  local out = pools_t()
  local status = lib.gdn_slots_new(config.num_groups, config.num_slots, out)
  if status ~= 0 then return nil, ffi.string(lib.gdn_strstatus(status)), tonumber(status) end
  local num_table_rows = config.max_requests
  local self = setmetatable({
    requests = requests, pools = ffi.gc(out[0], slots_free), tables = tables, groups = config.num_groups,
    width = config.max_blocks_per_row, align = config.mamba_cache_mode == lib.GDN_CACHE_ALIGN,
    block = config.mamba_block_size, per_request = config.num_speculative_tokens + 1,
    table_rows = int32s(num_table_rows), free_table_rows = num_table_rows,
    limited = total_kv ~= nil, kv = kv, kv_block = kv_block, total_kv = total_kv or 0,
    free_kv = total_kv or 0, peak_kv = 0, num_sourced = 0, prefix = false,
    cells = pointers(config.num_groups), -- the tables as C has them
    pins = {}, kv_pins = { n = 0 },
  }, States)
  for group = 0, config.num_groups - 1 do
    self.cells[group], self.pins[group + 1] = tables[group], { n = 0 }
  end
  for n = 0, num_table_rows - 1 do self.table_rows[n] = num_table_rows - 1 - n end
  return self
end

return M
