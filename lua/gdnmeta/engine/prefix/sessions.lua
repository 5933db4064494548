-- Sessions: requests of one conversation. Each has a newest state, the last that one of its requests left,
-- which a host may pin: it is then not evicted, nor the blocks before it, until a newer one takes its place.
-- Parts of the object of prefix_cache.lua.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local sources = require "gdnmeta.engine.sources"

local EINVAL, ECAP = tonumber(lib.GDN_EINVAL), tonumber(lib.GDN_ECAP)
local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min

jit.off(true, true) -- no step path

-- Idle sessions that are remembered while their newest state is another's: any number of them may come to one
-- state that many read, and never return.
local MOST_GUESTS = 4096

local PrefixCache = { MOST_GUESTS = MOST_GUESTS }

-- The session's newest state is there from now on; 0: nowhere.
local function move(self, s, node)
  local at = self.newest_at
  if at[s.node] then at[s.node][s] = nil end
  s.node = node
  if node > 0 then
    at[node] = at[node] or {}
    at[node][s] = true
  end
end

local function is_idle(s) return s.live == 0 and not s.pinned end

local function forget(self, s)
  self.sessions[s.key] = nil
  if self.guests[s.place] == s then self.guests[s.place] = false end
end

-- An idle session takes the place of one that became idle so many before, and is forgotten if it still is.
local function remember_guest(self, s)
  local guests = self.guests
  local place = guests.next
  local before = guests[place]
  guests[place], s.place, guests.next = s, place, place % MOST_GUESTS + 1
  if before and before ~= s and before.place == place and is_idle(before) then
    move(self, before, 0)
    forget(self, before)
  end
end

local function forget_if_idle(self, s)
  if not is_idle(s) then return end
  if s.node == 0 then
    forget(self, s)
  elseif self.session_at[s.node] ~= s then
    remember_guest(self, s)
  end
end

--- Request i, which comes, is one of the session.
function PrefixCache:enter_session(i, key)
  local s = self.sessions[key]
  if not s then
    s = { key = key, live = 0, node = 0, pinned = false, last = self.engine.now, place = 0 }
    self.sessions = self.session_places:for_one_more(self.sessions)
    self.sessions[key] = s
  end
  s.live, s.last = s.live + 1, self.engine.now
  self.engine.requests.session[i] = s
end

--- Request i is no more.
function PrefixCache:leave_session(i)
  local s = self.engine.requests.session[i]
  s.live, s.last = s.live - 1, self.engine.now
  forget_if_idle(self, s)
end

-- The blocks of a node and those before it; of 0, the path of no blocks, none.
local function blocks_of(self, node)
  return self.index:describe(node, self.shown).tokens / self.size * self.per_block
end

-- The blocks that request i may need if those before `node` are kept, so many: it may begin there. What does
-- not come to more than `most` is not looked for.
local function need_of(self, i, node, depth, owner, most)
  local e, r = self.engine, self.engine.requests
  local longest = min(r.prompt[i] + r.max_tokens[i] - 1 + e.num_spec, e.token_limits.max_model_len - 1)
  local all = ceil(longest / e.states.kv_block)
  if all <= most then return most end
  if i == owner then return all - depth end
  if r.checkpoint[i] then return all - r.kv_shared[i] end
  if not r.ids[i] then return all end
  local hit = self.index:match(r.ids[i], r.num_ids[i], r.known[i] - 1)
  return (hit.host_node > 0 and hit.host_node or hit.state_node) == node and all - depth or all
end

local function largest_need(self, node, owner)
  local most, depth = 0, blocks_of(self, node)
  for _, i in pairs(self.engine.requests.index) do
    most = max(most, need_of(self, i, node, depth, owner, most))
  end
  return most
end

-- Pins a node where that leaves `need` blocks to requests, or where no more are pinned than with `before`.
local function pin_within(self, node, before, pinned, need)
  if self.per_block == 0 then return self.index:pin(node, -1) end
  local e = self.engine
  local others = e.states.kv_pins.n - pinned * self.per_block
  local left = e.states.total_kv - e.plan.watermark - others - need
  local bound = max(floor(left / self.per_block), 0)
  return self.index:pin(node, before > 0 and max(bound, pinned) or bound)
end

-- Keeps a node for a session in place of `before`, 0: none. owner: the request that left it.
local function keep(self, node, before, owner)
  local e = self.engine
  local pinned = self.index:stats(self.counts).pinned_blocks
  local ok, message = pin_within(self, node, before, pinned, sources.most_blocks(e))
  if not ok then ok, message = pin_within(self, node, before, pinned, largest_need(self, node, owner)) end
  if not ok then return nil, message end
  if before > 0 then self.index:unpin(before) end
  local more = self.index:stats(self.counts).pinned_blocks - pinned
  e.states.kv_pins.n = e.states.kv_pins.n + more * self.per_block
  return true
end

--- Request i has come to a node with a state. is_its: the state is the request's own.
function PrefixCache:left_state(i, node, is_its)
  local e, s = self.engine, self.engine.requests.session[i]
  self.is_tracked = true
  if is_its then
    self.session_at[node], self.user_at[node] = s or false, e.users.name[e.requests.user[i]] or false
  end
  if not s or s.node == node then return end
  s.last = e.now
  if s.pinned and not keep(self, node, s.node, i) then return end -- then the one before stays
  move(self, s, node)
end

local function lost_by(self, sessions)
  for s in next, sessions do
    s.node = 0
    forget_if_idle(self, s)
  end
end

--- A node's state has gone. What is forgotten is false, not nil: keys that come and go make LuaJIT lay out a
--- table anew, each time where as many stay as it has places, a power of two.
function PrefixCache:lost_state(node)
  local sessions = self.newest_at[node]
  self.newest_at[node], self.session_at[node], self.user_at[node] = false, false, false
  if sessions then lost_by(self, sessions) end
end

--- What a cache's hook sees of who left a node's state.
function PrefixCache:show_session(node, s, user)
  s = s and (self.sessions[s.key] or s) -- it was forgotten while nothing of it was there, and came again
  node.session, node.user = s and s.key or nil, user or nil
  node.session_age = s and max(0, self.engine.now - s.last) or nil
  node.session_requests = s and s.live or 0
end

jit.on(PrefixCache.show_session) -- of a whole batch
jit.on(PrefixCache.left_state) -- in most steps, where a cache has hooks
jit.on(PrefixCache.lost_state)

-- A pin is a promise of a state, whether there is one yet or not. A request that reads it wants slots, too.
local function crowded(self)
  local e = self.engine
  for group = 1, self.groups do
    local left = e.config.num_slots[group - 1] - 2 - e.states.pins[group].n
    if left < e.states.least_slots + 1 then
      return ("leaves %d slots of group %d to requests, want at least %d: others are kept"):format(left,
        group - 1, e.states.least_slots + 1)
    end
  end
end

local function promise(self, by)
  for group = 1, self.groups do
    local pins = self.engine.states.pins[group]
    pins.n = pins.n + by
  end
end

---@return boolean|nil ok, string? message, integer? code
function PrefixCache:pin(key)
  local s = self.sessions[key]
  if not s then return nil, ("no session %s"):format(args.word(key)), EINVAL end
  if s.pinned then return true end
  local problem = crowded(self)
  if problem then return nil, ("session %s: a pin %s"):format(args.word(key), problem), ECAP end
  if s.node > 0 then
    local ok, message = keep(self, s.node, 0)
    if not ok then return nil, ("session %s: %s"):format(args.word(key), message), ECAP end
  end
  promise(self, 1)
  s.pinned = true
  return true
end

-- A session's newest state may be evicted.
local function release(self, s)
  if s.node == 0 then return end
  local pinned = self.index:stats(self.counts).pinned_blocks
  self.index:unpin(s.node)
  local fewer = pinned - self.index:stats(self.counts).pinned_blocks
  self.engine.states.kv_pins.n = self.engine.states.kv_pins.n - fewer * self.per_block
end

--- States of pinned sessions may leave, and all will: the next ones are promised.
function PrefixCache:release_pinned()
  for _, s in next, self.sessions do
    if s.pinned then release(self, s) end
  end
end

---@return boolean|nil ok, string? message, integer? code
function PrefixCache:unpin(key)
  local s = self.sessions[key]
  if not s or not s.pinned then
    return nil, ("session %s is not pinned"):format(args.word(key)), EINVAL
  end
  release(self, s)
  promise(self, -1)
  s.pinned = false
  forget_if_idle(self, s)
  return true
end

--- Blocks that a prompt shares with a pinned one, and that it finds there whenever it comes.
---@return integer
function PrefixCache:pinned_blocks(ids, n, prompt)
  if self.per_block == 0 then return 0 end
  local hit = self.index:match(ids, n, prompt - 1)
  local node, shared = hit.state_node, hit.state_hit
  if hit.host_node > 0 then node, shared = hit.host_node, hit.host_hit end
  if node == 0 or not self.index:describe(node, self.shown).pinned then return 0 end
  return shared * self.per_block
end

--- Do sessions and pins agree with the index?
---@return string|nil problem
function PrefixCache:sessions_problem()
  local pinned, guests, at = 0, 0, {}
  for _, s in next, self.sessions do
    local node = s.node > 0 and self.index:describe(s.node, self.shown)
    if node and is_idle(s) and self.session_at[s.node] ~= s then guests = guests + 1 end
    if s.pinned and node and not at[s.node] then
      pinned, at[s.node] = pinned + (node.on_host and 0 or 1), true -- only those on the device are counted
    end
    if node and (node.state_bytes == 0 or s.pinned and not node.pinned) then
      return ("session %s: node %d has no state, or no pin"):format(args.word(s.key), s.node)
    end
    if not node and s.live == 0 and not s.pinned then
      return ("session %s is remembered for nothing"):format(args.word(s.key))
    end
  end
  if guests > MOST_GUESTS then
    return ("%d idle sessions are kept for states of others, want at most %d"):format(guests, MOST_GUESTS)
  end
  local counts = self.index:stats(self.counts)
  if counts.pinned_states ~= pinned then
    return ("%d states are pinned, want %d"):format(counts.pinned_states, pinned)
  end
  return self:held_problem()
end

--- A session as it stands now.
---@return table|nil
function PrefixCache:session(key)
  local s = self.sessions[key]
  if not s then return nil end
  return { session = key, requests = s.live, pinned = s.pinned, age = max(0, self.engine.now - s.last),
           tokens = self.index:describe(s.node, self.shown).tokens }
end

return PrefixCache
