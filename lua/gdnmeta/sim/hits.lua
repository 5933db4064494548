-- What requests of a run find in the engine's state cache, added up as they begin.
local array_of = require "gdnmeta.array_of"
local share = require("gdnmeta.sim.numbers").share

local integers = array_of "int32_t"

local Hits = {}
Hits.__index = Hits

local M = {}

---@param cache gdnmeta.StateCache
---@param n integer requests
function M.new(cache, n)
  return setmetatable({
    cache = cache, n = n, cached = {}, began_before = integers(n + 1), stats = {}, asked = 0, hit = 0,
    requests = 0, with_hit = 0, resumed = 0, step_asked = 0, step_hit = 0, most_states = 0, most_host = 0,
    host_requests = 0, host_tokens = 0,
  }, Hits)
end

--- Request i, of `prompt` tokens, begins with `cached` of them. After a preemption this is counted apart.
function Hits:began(i, prompt, cached)
  if self.began_before[i] == 1 then
    self.resumed = self.resumed + cached
    return
  end
  self.began_before[i], self.cached[i] = 1, cached
  self.asked, self.hit = self.asked + prompt, self.hit + cached
  self.step_asked, self.step_hit = self.step_asked + prompt, self.step_hit + cached
  self.requests, self.with_hit = self.requests + 1, self.with_hit + (cached > 0 and 1 or 0)
end

--- A request begins with so many tokens of a state that is copied from the host.
function Hits:restored(tokens)
  self.host_requests, self.host_tokens = self.host_requests + 1, self.host_tokens + tokens
end

--- A step is planned: its facts get what its new requests asked for and found.
function Hits:step(facts)
  facts.asked, facts.hit, self.step_asked, self.step_hit = self.step_asked, self.step_hit, 0, 0
  local stats = self.cache:stats(self.stats)
  if stats.states > self.most_states then self.most_states = stats.states end
  if stats.host_states > self.most_host then self.most_host = stats.host_states end
end

-- States that were made and that no prompt went on from.
local function never_read(self, stats)
  local n = stats.evicted_unread
  for _, node in ipairs(self.cache:nodes()) do
    if node.state and node.state_hits == 0 then n = n + 1 end
  end
  return n
end

-- The earliest failure of its hooks that the engine still remembers.
local function failure_of(engine)
  local enabled, never = engine.cache:health()
  local hooks = {}
  for hook in pairs(never) do hooks[#hooks + 1] = hook end
  table.sort(hooks)
  for _, record in ipairs((engine:failures())) do
    if record.cache then
      return { step = record.step, hook = record.hook, message = tostring(record.message),
               never = #hooks > 0 and table.concat(hooks, ", ") or nil, switched_off = not enabled or nil }
    end
  end
end

-- Of a host tier; nil: there is none.
local function host_figures(self, stats, s)
  if stats.host_slots == 0 then return nil end
  return { slots = stats.host_slots, hits = self.host_requests, hit_tokens = self.host_tokens,
           demoted = stats.demoted, restored = stats.restored, most_states = self.most_host,
           copy_ms = s.copy_ms, copied_ms = s.copy_ms and s.copy_ms * (stats.demoted + stats.restored) }
end

--- Figures of the run: plain numbers and strings.
---@param s table of scenario.new
---@return table
function Hits:figures(s)
  local stats, preset, identity = self.cache:stats(), s.preset, s.identity
  for i = 1, self.n do self.cached[i] = self.cached[i] or false end
  return {
    name = self.cache.name, slots = s.o.cache_slots, block_size = identity.hash_block_size,
    prompt_tokens = self.asked, hit_tokens = self.hit, hit = share(self.hit, self.asked),
    ceiling = identity.ceiling, hit_requests = share(self.with_hit, self.requests),
    resumed_tokens = self.resumed, without_identity = identity.without,
    known_replies = identity.known_replies,
    states_made = stats.states_made, states_unread = never_read(self, stats),
    states_evicted = stats.states_evicted, blocks_evicted = stats.blocks_evicted,
    most_states = self.most_states, state_bytes = preset.state_bytes,
    most_bytes = preset.state_bytes and preset.state_bytes * self.most_states,
    host = host_figures(self, stats, s), failure = failure_of(s.engine),
  }
end

return M
