-- Hooks of a cache as the engine calls them: guarded as a policy's are. Where one fails the built-in cache
-- goes on: a state at the last full block and at the junction, used longest ago first out.
local call_cache_hooks = require "gdnmeta.engine.hooks.call_cache_hooks"
local guards = require "gdnmeta.engine.hooks.guard"
local args = require "gdnmeta.native.args"
local hook_tables = require "gdnmeta.engine.prefix.hook_tables"
local no_field = require "gdnmeta.engine.hooks.no_field"
local positions = require "gdnmeta.engine.prefix.positions"
local priorities_of = require "gdnmeta.engine.prefix.priorities"
local uncompiled = require "gdnmeta.policy.contained.uncompiled"
local views = require "gdnmeta.engine.hooks.view"

local piece = require("gdnmeta.native.trace_cuts").piece
local floor = math.floor

-- The first of values[1 .. n] that is no number. Compiled in every case: it calls nothing of the cache's.
local function bad_value(values, n)
  for k = 1, n do
    local value = rawget(values, k)
    if type(value) ~= "number" or value ~= value then return k end
  end
end

local CacheHooks = {}
CacheHooks.__index = CacheHooks

local function complete_nodes(prefix, priorities, nodes, n)
  for k = 1, n do
    local node = nodes[k]
    priorities:show(node)
    prefix:show_session(node, prefix.session_at[node.id], prefix.user_at[node.id])
  end
end

-- A node as a hook may keep it.
local function shown(self, index, node)
  local prefix, t = self.engine.prefix, index:describe(node)
  self.priorities:show(t)
  prefix:show_session(t, prefix.session_at[node], prefix.user_at[node])
  return t
end

--- Does the state of a node go to the host, rather than nowhere? Where the hook fails it does.
---@return boolean
function CacheHooks:demotes(index, node)
  if not self.cache.demote or self.guard.disabled then return true end
  local ok, verdict = self.guard:call(self.calls.demote, shown(self, index, node))
  return not ok or verdict == "host"
end

--- Positions in (from, to] where request i is to leave states, ascending; nil: as the built-in cache.
---@param cuts number[] to be filled
---@return number[]|nil cuts
CacheHooks.checkpoints = piece(function(self, i, from, to, cuts)
  if self.guard.disabled then return nil end
  self.from, self.to, self.blocks_end = from, to, floor(to / self.size) * self.size
  local ok = self.guard:call(self.calls.checkpoints, i, to, cuts)
  return ok and cuts or nil
end)

local function ask_keep(self, i, tokens, is_answer)
  local e = self.engine
  local before = e.prefix.index:state_before(e.requests.node[i])
  local node = hook_tables.coming(tokens, tokens - before, e.now, is_answer or false)
  e.prefix:show_session(node, e.requests.session[i], e.users.name[e.requests.user[i]])
  local ok, verdict = self.guard:call(self.calls.keep, i, node)
  return not ok or verdict
end

--- Is the state of request i at `tokens` kept? A number is, and says how dearly.
---@return boolean|number
---@param is_answer boolean|nil it is at the end of an answer
function CacheHooks:keeps(i, tokens, is_answer)
  if not self.cache.keep or self.guard.disabled then return true end
  local verdict = ask_keep(self, i, tokens, is_answer)
  return verdict
end

--- A node of the index has a state now; `priority` is what keep() said.
function CacheHooks:kept(node, priority)
  self.priorities:set(node, priority)
end

--- Rate what may be evicted.
function CacheHooks:rate(index, kind)
  if self.guard.disabled then return end
  if not self.cache.worth then return self.priorities:rate(index, kind) end
  local nodes, n, values = index:candidates(kind)
  complete_nodes(self.engine.prefix, self.priorities, nodes, n)
  if n > 0 and self.guard:call(self.calls.worth, nodes, n, values) then index:rate(kind, n, values) end
end

jit.off(CacheHooks.rate) -- compiled it takes 70 of the 512 KB that LuaJIT keeps

-- The first list of a call is that of the call before: steps leave no garbage.
local function list_for(self)
  if self.is_lent then return nil end
  self.list, self.is_lent = hook_tables.plain(self.list), true
  return self.list
end

local M = {}

local function context(self, slots)
  local fields = {
    block_size = function() return self.size end, slots = function() return slots end,
    host_slots = function() return self.engine.options.host_slots end,
    now = function() return self.engine.now end, from = function() return self.from end,
    to = function() return self.to end, blocks_end = function() return self.blocks_end end,
  }
  local function every(n)
    return positions.every(n, self.from, self.blocks_end, self.size, positions.MOST, list_for(self))
  end
  fields.every, fields.flops = function() return every end, function() return positions.flops end
  return views.read_only("ctx", function(_, name)
    local field = fields[name]
    if not field then error(no_field("ctx", name, fields), 2) end
    return field()
  end)
end

---@param cache gdnmeta.Cache
function M.new(engine, cache, options, size)
  local self = setmetatable({ engine = engine, view = engine.view, cache = cache, size = size, from = 0,
                              to = 0, blocks_end = 0, list = {}, is_lent = true,
                              looks = positions.looks(), priorities = priorities_of.new() }, CacheHooks)
  self.ctx = context(self, options.config.num_slots[0] - 1)
  local named = { name = "cache " .. cache.name, trusted = cache.trusted, hooks = cache }
  self.guard = guards.new(engine, engine.view.cursor, named,
    { policy_budget = options.policy_budget, breaker = options.breaker, on_policy_error = "fallback",
      policy_seconds = options.policy_seconds, stopwatch = options.stopwatch, is_cache = true })
  self.guard.records = engine.prefix.failures -- they outlive the cache
  local factory = cache.trusted and call_cache_hooks or uncompiled.copy(call_cache_hooks)
  self.calls = factory(self, args, positions, bad_value)
  return self
end

return M
