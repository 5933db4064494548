-- A policy's hooks as the engine calls them: guarded, with a default for each hook that is not there.
-- Results that start with nil or false mean: the policy failed, and that has been recorded.
local guards = require "gdnmeta.engine.hooks.guard"
local call_hooks = require "gdnmeta.engine.hooks.call_hooks"
local uncompiled = require "gdnmeta.policy.contained.uncompiled"

local INFINITY = math.huge
local NONE = require("gdnmeta.engine.requests").NONE -- a key that is of no step

local Hooks = {}
Hooks.__index = Hooks

local function enabled(self)
  return not self.guard.disabled
end

--- The key of a request that joins the queue of a policy with keys. A bad one puts it last; nothing else can
--- fail then.
function Hooks:key(i)
  local key, r = self.policy.key, self.requests
  if not enabled(self) or not self.guard:call(self.loops.one_key, key, i, NONE) then
    r.key[i], r.keyed[i] = INFINITY, NONE
  end
end

--- Of one request, as of a step.
---@return boolean ok
function Hooks:key_now(i, step)
  return (self.guard:call(self.loops.one_key, self.policy.key, i, step))
end

function Hooks:keys(items, n, step)
  return self.guard:call(self.loops.keys, self.policy.key, items, n, step)
end

function Hooks:scores(items, n)
  return self.guard:call(self.loops.scores, self.policy.victim, items, n)
end

function Hooks:drafts(items, n)
  return self.guard:call(self.loops.drafts, self.policy.drafts, items, n)
end

--- Tokens of a chunk, at most `want`.
---@return integer|nil n
function Hooks:chunk(i, want)
  local policy = self.policy
  if policy.chunk_limit and want > policy.chunk_limit then want = policy.chunk_limit end
  if not policy.chunk then return want end
  local ok, n = self.guard:call(self.loops.chunk, policy.chunk, i, want)
  if not ok then return nil end
  return n < want and n or want
end

--- ok, then true to admit, false to hold, nil and the reason to reject.
function Hooks:admit(i)
  local admit = self.policy.admit
  if not admit then return true, true end
  return self.guard:call(self.loops.admit, admit, i)
end

--- Running requests with a higher score than this may be evicted for the waiting request i; nil: it failed.
function Hooks:bound(i)
  local ok, bound = self.guard:call(self.loops.bound, self.policy.preempt_for, i)
  return ok and bound or nil
end

--- Something happened to a request: name is a policy's field on_*.
function Hooks:event(name, i)
  local handler = self.policy[name]
  if handler and enabled(self) then self.guard:call(self.loops.event, name, handler, i) end
end

--- Tokens came out: amounts[n] of the requests items[n].
function Hooks:emitted(items, amounts, n)
  local handler = self.policy.on_emit
  if handler and enabled(self) then self.guard:call(self.loops.emitted, handler, items, amounts, n) end
end

--- Level 2.
function Hooks:full(see, plan)
  return self.guard:call(self.loops.full, self.policy.step, see, plan)
end

local M = {}

function M.new(engine, view, policy, options)
  local factory = policy.trusted and call_hooks or uncompiled.copy(call_hooks)
  return setmetatable({
    policy = policy, requests = engine.requests, loops = factory(view),
    guard = guards.new(engine, view.cursor, policy, options),
  }, Hooks)
end

return M
