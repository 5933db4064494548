-- States that requests leave for others: where a chunk ends with a block, its state joins the index, and the
-- request moves on to fresh slots. Parts of the object of prefix_cache.lua.
local lib = require "gdnmeta.native"
local must = require "gdnmeta.engine.must" "publish"

local ECAP = tonumber(lib.GDN_ECAP)

local PrefixCache = {}

--- Two steps in flight, mode none: the next chunk of request i would overwrite the state that it is to leave.
function PrefixCache:spare_state(i)
  local e, r = self.engine, self.engine.requests
  if e.align or r.flight[i] == 0 or r.keep_at[i] ~= r.computed[i] or r.sourced[i] == 1 then return end
  self:move_aside(i)
end

--- Request i's current state, which a step in flight makes, goes to the spare column, if there is a slot.
function PrefixCache:move_aside(i)
  local e, r = self.engine, self.engine.requests
  local plan, free = e.plan, e.states:free_slots()
  if plan.slots_left > 0 then -- the others are promised
    plan.slots_left = plan.slots_left - 1
  elseif not self:evict_state() or e.states:free_slots() == free then
    return
  end
  e.states:move_on(i, r.read_column[i])
  r.kept[i] = r.computed[i]
end

-- The column where the state at `tokens` lies that nothing overwrites any more; nil: there is none.
local function column_of(self, i, tokens)
  local e, r = self.engine, self.engine.requests
  if e.align then
    local column = tokens / e.block - 1
    return e.states.tables[0][r.table_row[i] * e.states.width + column] ~= 0 and column or nil
  elseif r.flight[i] == 0 then
    return r.read_column[i]
  end
  return r.kept[i] == tokens and r.sourced[i] == 1 and e.states.spare or nil
end

-- The index has no room: leaves make it. A loop that seldom runs is a function of its own, or LuaJIT gives up
-- the function that it stands in.
local function join_at_last(self, i, n, kv, slots)
  local e, r = self.engine, self.engine.requests
  local published, _, code = nil, nil, ECAP
  while code == ECAP and self:evict_leaf() do
    published, _, code = self.index:join(r.ids[i], n, kv, r.table_row[i], e.states.pools, slots, r.node[i])
  end
  return published
end

--- The first n blocks of request i join the index, with a state at their end.
---@param slots ffi.cdata* of the state, int32 [groups]
---@param accepted integer of the row that left the state, as sources say it
---@return boolean has the state joined?
function PrefixCache:join(i, n, slots, accepted)
  local e, r = self.engine, self.engine.requests
  local kv = e.states.kv and e.states.kv.kv or nil
  local row, pools = r.table_row[i], e.states.pools
  local published, _, code = self.index:join(r.ids[i], n, kv, row, pools, slots, r.node[i])
  if code == ECAP then published = join_at_last(self, i, n, kv, slots) end
  if not published then return false end
  r.node[i] = published.node
  if self.hooks or r.session[i] then self:left_state(i, published.node, published.state_taken == 1) end
  if published.state_taken == 0 then return false end
  self.accepted[published.node] = accepted
  return true
end

--- A chunk of request i is complete that ends with a block: its state joins the cache, and the request moves
--- on.
function PrefixCache:publish(i, tokens)
  local e, r = self.engine, self.engine.requests
  r.keep_at[i] = 0
  local priority = not self.hooks or self.hooks:keeps(i, tokens)
  if not priority then return end
  local column = column_of(self, i, tokens)
  if not column or column < 0 then return end
  local moves = not e.align and column ~= e.states.spare
  if moves and e.states:free_slots() < 1 then
    self:evict_state()
    if e.states:free_slots() < 1 then return end
  end
  local at = r.table_row[i] * e.states.width + column
  must(lib.gdn_slots_copy_each(e.states.pools, e.states.cells, at, self.work))
  if not self:join(i, tokens / self.size, self.work, 1) then return end
  if self.hooks then self.hooks:kept(r.node[i], priority) end
  if moves then e.states:move_on(i, column) end
end

--- Request i runs no longer: others keep what it has left, or it goes.
function PrefixCache:leave(i)
  local r = self.engine.requests
  if r.node[i] > 0 then self.index:unlock(r.node[i]) end
  r.node[i] = 0
end

return PrefixCache
