--- The device that held the states is gone, or starts anew. This is a method of the engine.
local change_rules = require "gdnmeta.engine.change_rules"
local commit_plan = require "gdnmeta.engine.commit_plan"
local complete_step = require "gdnmeta.engine.complete_step"
local kept_states = require "gdnmeta.engine.kept_states"
local requests = require "gdnmeta.engine.requests"
local sources = require "gdnmeta.engine.sources"

jit.off(true, true) -- no step path

local Engine = {}

-- Back into the queue, in front and in the order in which they ran.
local function send_back_all(self, lost)
  local r, told = self.requests, {}
  for at = self.num_running - 1, 0, -1 do
    local i = self.running[at]
    if r.state[i] == requests.RUNNING then
      commit_plan.send_back(self, i)
      table.insert(lost, 1, r.id[i])
      table.insert(told, 1, i)
    end
  end
  commit_plan.compact_running(self)
  return told
end

-- Steps in flight will never be complete.
local function abandon_steps(self)
  for _, step in ipairs(self.steps) do
    if step.in_flight then
      complete_step.abandon(self, step)
      kept_states.abandon(self, step)
      step.in_flight = false
    end
  end
  self.in_flight, self.oldest, self.newest, self.has_fixes = 0, false, false, false
end

-- Nobody begins with a state any more: prompts are computed from their first token on.
local function drop_sources(self)
  local r = self.requests
  for _, i in pairs(r.index) do
    local source = r.checkpoint[i]
    if source then sources.drop(self.states, source) end
    if r.hit_node[i] > 0 then self.prefix:let_go(i) end
    r.checkpoint[i], r.kv_shared[i], r.cached[i], r.computed[i] = nil, 0, 0, 0
    r.matched[i], r.junction[i], r.keep_at[i], r.kept[i] = -1, 0, 0, requests.NONE
  end
  for _, source in pairs(self.pinned) do
    if not source.is_awaited then source.is_lost = true end
  end
end

local function empty_cache(self)
  local prefix = self.prefix
  if not prefix then return end
  local hooks = prefix.hooks
  prefix:release_pinned()
  prefix.hooks = false -- there is nothing to choose
  prefix.index:advance(self.now) -- what the last step left may leave from the next one on
  local tier = prefix.host
  if tier then tier:empty() end
  prefix.host = false
  while prefix:evict_state() do end
  while prefix:evict_leaf() do end
  prefix.hooks, prefix.host = hooks, tier
end

--- All states and all attention cache are lost, as when a worker has died. Steps in flight are over and
--- cannot be completed; requests that ran wait again, in front of the queue and in their order, and are
--- computed from the first token of their text; what they have said stays said. The state cache is empty, and
--- states that were kept for others are good for nothing: release them.
---@return any[] ids of the requests that ran
function Engine:lose_states()
  self = change_rules.change(self, "lose_states")
  local lost = {}
  local told = send_back_all(self, lost)
  abandon_steps(self)
  drop_sources(self)
  empty_cache(self)
  self.stats.waiting, self.stats.running = self.fifo.size, self.num_running
  for _, i in ipairs(told) do self.hooks:event("on_preempt", i) end
  self.hooks.guard:raise_failure()
  return lost
end

return Engine
