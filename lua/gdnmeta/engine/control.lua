--- What a host may ask of an engine between steps, and its policy. These are methods of the engine.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local submit = require "gdnmeta.engine.submit"
local hooks = require "gdnmeta.engine.hooks"
local construct = require "gdnmeta.engine.construct"
local change_rules = require "gdnmeta.engine.change_rules"
local old_names = require "gdnmeta.native.old_names"
local printed = require "gdnmeta.native.printed"
local requests = require "gdnmeta.engine.requests"
local sources = require "gdnmeta.engine.sources"

local EINVAL, ENOMEM = tonumber(lib.GDN_EINVAL), tonumber(lib.GDN_ENOMEM)

local SLOTS = printed.figures("Slots", { "size", "free", "used", "peak", "churn" })
local KV = printed.figures("KvBlocks", { "size", "free", "used", "peak" })

local Engine = {}

--- Nothing waits, runs or is in flight.
---@return boolean
function Engine:idle()
  self = change_rules.look(self, "idle")
  return self.fifo.size + self.num_running + self.in_flight == 0
end

--- State slots, summed over the groups: { size, free, used, peak, churn }.
---@return table
function Engine:slots()
  self = change_rules.look(self, "slots")
  return setmetatable(self.states:slots(), SLOTS)
end

--- Attention-cache blocks: { size, free, used, peak }; nil without kv_tokens or kv_blocks.
---@return table|nil
function Engine:kv()
  self = change_rules.look(self, "kv")
  local s = self.states
  if not s.limited then return nil end
  return setmetatable({ size = s.total_kv, free = s.free_kv, used = s.total_kv - s.free_kv,
                        peak = s.peak_kv }, KV)
end

-- Names of the release before.
local OLD = { prompt = "prompt_tokens", computed = "computed_tokens" }
local snapshot = printed.figures("Request", { "id", "state", "user", "class", "prompt_tokens",
  "computed_tokens", "cached", "emitted", "max_tokens", "known", "drafts", "preemptions", "arrival",
  "deadline", "ttft", "tpot", "priority", "weight", "last_emit" })
function snapshot.__index(shown, name)
  local new = OLD[name]
  if not new then return nil end
  old_names.once("engine:request(id)." .. name, "engine:request(id)." .. new)
  return shown[new]
end

local SHOWN = { "max_tokens", "known", "cached", "drafts", "preemptions", "arrival",
                "deadline", "ttft", "tpot", "priority", "weight", "last_emit" }
local STATES = { [requests.WAITING] = "waiting", [requests.RUNNING] = "running" }

--- A live request as it stands now.
---@param id any
---@return table|nil snapshot
function Engine:request(id)
  self = change_rules.look(self, "request")
  local r, i = self.requests, id ~= nil and self.requests.index[id]
  if not i then return nil end
  local shown = { id = id, state = STATES[r.state[i]], user = self.users.name[r.user[i]],
                  class = self.classes.name[r.class[i]], emitted = r.known[i] - r.prompt[i] }
  shown.prompt_tokens, shown.computed_tokens = r.prompt[i], r.computed[i]
  for _, name in ipairs(SHOWN) do shown[name] = r[name][i] end
  return setmetatable(shown, snapshot)
end

--- Keep the state at the block boundary where a request stands, for requests that begin with the same
--- text (mode align): pass it to submit, and release it when no further request will begin with it.
---@param id any of a running request
---@return table|nil checkpoint { tokens, accepted, slots, generations }
---@return string? message
---@return integer? code
function Engine:checkpoint(id)
  self = change_rules.change(self, "checkpoint")
  local i = self.requests.index[id]
  if not i then return nil, ("no request %s"):format(args.word(id)), EINVAL end
  local pinned, problem = submit.pin(self, i)
  if not pinned then return nil, ("request %s %s"):format(args.word(id), problem), EINVAL end
  return sources.show(self, pinned)
end

--- Let go of a state that was kept. Requests that were submitted with it keep it alive for themselves.
---@param checkpoint table what checkpoint(), export() or receive() returned
function Engine:release(checkpoint)
  self = change_rules.idle(self, "release")
  local pinned = checkpoint ~= nil and self.pinned[checkpoint]
  if not pinned then
    error("gdnmeta.Engine:release: want what checkpoint(), export() or receive() of this engine gave, "
      .. "not released before", 2)
  end
  self.pinned[checkpoint] = nil
  sources.drop(self.states, pinned)
end

--- What went wrong in the policy, the latest 100, and after them in the state cache: { step, policy, hook,
--- message, traceback, request }; and which hooks of the policy failed at every call.
---@return table[] records
---@return table never how often, by hook
function Engine:failures()
  self = change_rules.look(self, "failures")
  local list = {}
  for n, record in ipairs(self.hooks.guard.records) do list[n] = record end
  for _, record in ipairs(self.prefix and self.prefix.failures or {}) do list[#list + 1] = record end
  return list, self.hooks.guard:never()
end

-- A policy that was made of `source`. Without memory for its queue nothing changes.
local function follow(self, policy, source)
  local queue = construct.queue(self, policy)
  if queue == nil then return nil, "no memory for a queue", ENOMEM end
  local records = self.hooks and self.hooks.guard.records
  self.policy, self.policy_source = policy, source
  self.policy_name, self.policy_enabled = policy.name, true
  self.hooks = hooks.new(self, self.view, policy, self.options)
  if records then self.hooks.guard.records = records end
  for _, i in pairs(self.requests.index) do
    self.announced[#self.announced + 1] = i
    self.requests.held[i], self.requests.parked[i] = 0, 0
  end
  table.sort(self.announced, function(a, b) return self.requests.tie[a] < self.requests.tie[b] end)
  for n, i in ipairs(self.announced) do
    self.hooks:event("on_arrival", i)
    if self.requests.state[i] == requests.RUNNING then self.hooks:event("on_admit", i) end
    self.announced[n] = nil
  end
  if queue then queue:fill(self.hooks) end
  self.queue, self.claimant = queue, 0
  -- A static key is computed when a request joins the queue: those that run have the old policy's.
  if policy.static and policy.key then
    for at = 0, self.num_running - 1 do self.hooks:key(self.running[at]) end
  end
  return true
end

--- Another policy from now on. It hears of the requests that are here as if they arrived
--- now, and of those that run as if they were admitted now.
---@param what string|table|function
---@return boolean|nil ok
---@return string? message
---@return integer? code
function Engine:set_policy(what)
  self = change_rules.change(self, "set_policy")
  local policy, message = construct.policy(what)
  if not policy then return nil, message, EINVAL end
  change_rules.again(self, "set_policy") -- a metamethod of the policy may have closed it
  return follow(self, policy, what)
end

--- Give the policy another chance after the breaker has tripped. A policy from a file is loaded again.
---@return boolean|nil ok nil: no memory for its queue
---@return string? message
---@return integer? code
function Engine:policy_reset()
  self = change_rules.change(self, "policy_reset")
  local policy, message = construct.policy(self.policy_source)
  if not policy then error("gdnmeta.Engine:policy_reset: " .. message, 2) end
  change_rules.again(self, "policy_reset")
  return follow(self, policy, self.policy_source)
end

--- Write the inputs of every step that is built from now on to a file, which it replaces, with checksums of
--- what they gave. It ends with close(), with the engine, or when the file has its max_bytes; steps go on.
---@param path string
---@param options table|nil max_bytes, default 64 MiB
---@return table|nil recording path, steps, bytes, stopped (why it ended early, or nil), close()
---@return string? message
---@return integer? code
function Engine:record(path, options)
  self = change_rules.change(self, "record")
  local recording, message, code = require("gdnmeta.record").start(self, path, options)
  return recording, message, code
end

--- Requests are dropped, tables and slots are gone; the builders are the host's.
function Engine:close()
  self = change_rules.idle(self, "close")
  if self.closed then return end
  self.closed = true
  if self.recording then self.recording:close() end
  construct.release(self)
end

function Engine:__tostring()
  self = self.private
  return ("gdnmeta.Engine(policy=%s, %d running, %d waiting, %d in flight%s)"):format(self.policy.name,
    self.num_running, self.fifo.size, self.in_flight, self.closed and ", closed" or "")
end

return Engine
