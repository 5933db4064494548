-- The states of the lab: a list of nodes that have one, by use for caches that value nothing, and which state
-- stands above which.
local States = {}
States.__index = States

local M = {}

local NEW = 0 / 0 -- among the values: the state was read since it was valued, or is new

---@param cache table hooks
---@param ctx table what hooks are told
---@param o table slots, batch
---@return table
function M.new(cache, ctx, o)
  return setmetatable({ cache = cache, ctx = ctx, slots = o.slots, batch = o.batch, root = { tokens = 0 },
    list = {}, rated = {}, n = 0, fresh = {}, turn = 0, candidates = {}, values = {}, made = 0, used = 0,
    evictions = 0, peak = 0 }, States)
end

-- By use: oldest first.
local function unlink(self, node)
  if node.older then node.older.newer = node.newer else self.oldest = node.newer end
  if node.newer then node.newer.older = node.older else self.newest = node.older end
  node.older, node.newer = nil, nil
end

local function link(self, node)
  node.older = self.newest
  if self.newest then self.newest.newer = node else self.oldest = node end
  self.newest = node
end

-- Under the nearest state above.
local function detach(node)
  if node.left then node.left.right = node.right else node.above.below = node.right end
  if node.right then node.right.left = node.left end
  node.left, node.right = nil, nil
end

local function attach(node, above)
  node.above, node.right = above, above.below
  if above.below then above.below.left = node end
  above.below = node
  node.parent_gap = node.tokens - above.tokens
end

local function nearest(self, node)
  local at = node.before
  while at and not at.at do at = at.before end
  return at or self.root
end

--- The last node on the path with a state, within the first `most`.
function M.match(path, most)
  for i = most, 1, -1 do
    if path[i].at then return path[i] end
  end
end

--- A prompt goes on from the node's state.
function States:read(node)
  if not node.was_read then self.used, node.was_read = self.used + 1, true end
  node.state_hits, node.state_use, node.is_new = node.state_hits + 1, self.ctx.now, true
  self.rated[node.at] = NEW
  self.fresh[#self.fresh + 1] = node
  unlink(self, node)
  link(self, node)
end

local function remove(self, node)
  local list, above = self.list, node.above
  self.evictions = self.evictions + 1
  detach(node)
  while node.below do
    local child = node.below
    detach(child)
    attach(child, above)
  end
  unlink(self, node)
  local last, rated = list[self.n], self.rated
  list[node.at], rated[node.at], last.at = last, rated[self.n], node.at
  list[self.n], rated[self.n], node.at = nil, nil, nil
  self.n = self.n - 1
end

-- Nodes to be valued: the least of all, those used since they were valued, and others in turn.
local function gather(self, least)
  local c, n, fresh, now = self.candidates, 0, self.fresh, self.ctx.now
  self.batch_number = (self.batch_number or 0) + 1
  local rated = self.rated
  local function take(node)
    if node.at and node.taken ~= self.batch_number then
      node.taken, n = self.batch_number, n + 1
      c[n], node.age, node.state_age = node, now - node.last_use, now - node.state_use
      self.values[n] = node.worth
    end
  end
  if least then take(least) end
  local i = 1
  while i <= #fresh and n < self.batch do
    local at = fresh[i].at
    if at and rated[at] ~= rated[at] then take(fresh[i]) end
    i = i + 1
  end
  local rest = {}
  for k = i, #fresh do rest[#rest + 1] = fresh[k] end
  self.fresh = rest
  for _ = 1, math.min(self.n, self.batch - n) do
    self.turn = self.turn % self.n + 1
    take(self.list[self.turn])
  end
  return n
end

local function least_of(self)
  local rated, best, value = self.rated, 0, math.huge
  for i = 1, self.n do
    if rated[i] <= value then best, value = i, rated[i] end
  end
  return self.list[best]
end

-- The node whose state goes.
local function choose(self)
  local cache, values = self.cache, self.values
  if not cache.worth then return self.oldest end
  local n = gather(self, least_of(self))
  cache.worth(self.candidates, n, values, self.ctx)
  for i = 1, n do
    local node, value = self.candidates[i], values[i]
    value = value == value and value or math.huge
    node.worth, node.is_new, self.rated[node.at] = value, false, value
  end
  return least_of(self)
end

--- Keep the state after block i of a path, where the policy wants it.
function States:publish(path, i)
  local node, cache = path[i], self.cache
  if node.at then return end
  local above = nearest(self, node)
  node.parent_gap, node.age, node.state_age = node.tokens - above.tokens, 0, 0
  local keep = true
  if cache.keep then keep = cache.keep(node, self.ctx) end
  if not keep then return end
  while self.n >= self.slots do remove(self, choose(self)) end
  self.n, self.made = self.n + 1, self.made + 1
  self.peak = math.max(self.peak, self.n)
  self.list[self.n], node.at, node.path = node, self.n, path
  node.state_use, node.worth, node.is_new, node.was_read = self.ctx.now, NEW, true, false
  self.rated[self.n] = NEW
  self.fresh[#self.fresh + 1] = node
  link(self, node)
  above = nearest(self, node)
  local other = above.below
  while other do
    local after = other.right
    if other.tokens > node.tokens and other.path[i] == node then
      detach(other)
      attach(other, node)
    end
    other = after
  end
  attach(node, above)
end

return M
