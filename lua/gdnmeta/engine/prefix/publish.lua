-- States that requests leave for others: where a chunk ends with a block, its state joins the index, and the
-- request moves on to fresh slots. Parts of the object of prefix_cache.lua.
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

-- What request i has published is there: has a state of its own joined?
local function has_joined(self, i, published, accepted)
  local r, node, is_its = self.engine.requests, published.node, published.state_taken == 1
  r.node[i] = node
  if self.hooks or r.session[i] then self:left_state(i, node, is_its) end
  if is_its then self.accepted[node] = accepted end
  return is_its
end

-- The first n blocks of request i join the index, with the state in place `at` of the cells at their end. It
-- moves to place `to`, -1: it stays.
local function keep(self, i, n, cells, at, to)
  local r, states = self.engine.requests, self.engine.states
  local kv = states.kv
  local published = self.index:keep(r.ids[i], n, kv and kv.kv or nil, r.table_row[i], states.pools, cells, at,
                                    to, i, r.node[i], self:is_plain() and self.at_once or 0, self.gone)
  if kv then states.free_kv = kv:free() end
  return published
end

-- States and leaves make room, as the cache's hooks want it. A loop that seldom runs is a function of its
-- own, or LuaJIT gives up the function that it stands in.
local function keep_at_last(self, i, n, cells, at, to)
  if to >= 0 and self.engine.states:free_slots() < 1 then
    self:evict_state()
    if self.engine.states:free_slots() < 1 then return nil end
  end
  local published = keep(self, i, n, cells, at, to)
  while not published and self:evict_leaf() do published = keep(self, i, n, cells, at, to) end
  return published
end

--- The first n blocks of request i join the index, with the state at their end that it holds for its answer.
---@param accepted integer of the row that left the state, as sources say it
---@return boolean has the state joined?
function PrefixCache:join(i, n, accepted)
  local cells, at = self.held_cells, self.engine.requests.table_row[i] * self.groups
  local published = keep(self, i, n, cells, at, -1) or keep_at_last(self, i, n, cells, at, -1)
  return published and has_joined(self, i, published, accepted) or false
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
  local moves, states = not e.align and column ~= e.states.spare, e.states
  local n, base = tokens / self.size, r.table_row[i] * states.width
  local at, to = base + column, moves and base + states.spare or -1
  local published = keep(self, i, n, states.cells, at, to) or keep_at_last(self, i, n, states.cells, at, to)
  if not published or not has_joined(self, i, published, 1) then return end
  if self.hooks then self.hooks:kept(r.node[i], priority) end
  if moves then states:has_moved_on(i) end
end

--- Request i runs no longer: others keep what it has left, or it goes.
function PrefixCache:leave(i)
  local r = self.engine.requests
  if r.node[i] > 0 then self.index:unlock(r.node[i]) end
  r.node[i] = 0
end

return PrefixCache
