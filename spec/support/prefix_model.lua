-- A prefix cache as lists: which prefixes are known, which have states, who holds what. No tree, nothing
-- shared with the core. A prefix is the text of its ids.
local M = {}
M.__index = M

function M.new()
  return setmetatable({ blocks = {}, states = {}, locks = {}, pins = {}, step = 1, count = 0, unused = 0 }, M)
end

-- keys(ids)[k] is the prefix of k blocks.
function M.keys(ids)
  local keys, text = {}, ""
  for k, id in ipairs(ids) do
    text = text .. id .. ","
    keys[k] = text
  end
  return keys
end

local function full(state)
  for _, slot in ipairs(state.slots) do
    if slot < 0 then return false end
  end
  return true
end

function M:match(ids, most)
  local keys, hit = M.keys(ids), { kv = 0, state = 0, host = 0 }
  for k = 1, math.min(#ids, most) do
    local block = self.blocks[keys[k]]
    if not block or block.step == self.step then break end
    hit.kv = k
    local state = self.states[keys[k]]
    local is_seen = state and state.step < self.step and state.moved < self.step
    if is_seen and full(state) then hit[state.host and "host" or "state"] = k end
  end
  if hit.host <= hit.state then hit.host = 0 end
  return hit
end

function M:publish(ids, kv, slots)
  local keys, known = M.keys(ids), 0
  while known < #ids and self.blocks[keys[known + 1]] do known = known + 1 end
  for k = known + 1, #ids do
    self.blocks[keys[k]] = { kv = kv[k], step = self.step, depth = k }
    self.count = self.count + 1
  end
  local key = keys[#ids]
  local taken = slots and not self.states[key]
  if taken then
    self.states[key] = { slots = slots, step = self.step, moved = 0, depth = #ids, reads = 0, used = false }
  end
  return known, taken and 1 or 0
end

-- Those of a list that go through a prefix: their path is it, or goes on from it.
local function through(list, key)
  local n = 0
  for _, held in ipairs(list) do
    if held:sub(1, #key) == key then n = n + 1 end
  end
  return n
end

function M:refs(key) return through(self.locks, key) end

local function at(list, key)
  for _, held in ipairs(list) do
    if held == key then return true end
  end
  return false
end

function M:pinned(key) return at(self.pins, key) end

-- Prefixes that nothing known goes on from.
function M:ends()
  local list = {}
  for key in pairs(self.blocks) do list[key] = true end
  for key in pairs(self.blocks) do
    local before = key:match "^(.*,)%d+,$"
    if before then list[before] = nil end
  end
  return list
end

--- How many leaves wait to be evicted.
function M:leaves()
  local n = 0
  for key in pairs(self:ends()) do
    local state = self.states[key]
    local kept = state and (state.reads > 0 or state.step == self.step)
    kept = kept or self:refs(key) > 0 or self:pinned(key)
    if not kept and self.blocks[key].step < self.step then n = n + 1 end
  end
  return n
end

--- How many states wait.
function M:waiting(host)
  local n = 0
  for key, state in pairs(self.states) do
    local here = (state.host or false) == host
    if here and state.reads == 0 and state.step < self.step and not self:pinned(key) then n = n + 1 end
  end
  return n
end

--- Blocks that pins keep.
function M:pinned_blocks()
  local n = 0
  for key in pairs(self.blocks) do
    if through(self.pins, key) > 0 then n = n + 1 end
  end
  return n
end

--- Depth of the last prefix before `key` with a whole state.
function M:state_above(key)
  local depth = 0
  for other, state in pairs(self.states) do
    local is_before = #other < #key and key:sub(1, #other) == other
    if is_before and full(state) then depth = math.max(depth, state.depth) end
  end
  return depth
end

--- A state leaves.
function M:drop(key)
  if self.states[key] and not self.states[key].used then self.unused = self.unused + 1 end
  self.states[key] = nil
end

--- The last n blocks of a path leave. Returns their kv, and the slots of the state at its end.
function M:evict(ids, n)
  local keys, kv = M.keys(ids), {}
  local state = self.states[keys[#ids]]
  for k = #ids - n + 1, #ids do
    kv[#kv + 1] = self.blocks[keys[k]].kv
    self.blocks[keys[k]] = nil
    self:drop(keys[k])
    self.count = self.count - 1
  end
  return kv, state and state.slots
end

return M
