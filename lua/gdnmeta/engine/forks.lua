--- States of requests for other requests: a fork of one, a copy for another engine, a place for one that
--- comes from there. These are methods of the engine.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local change_rules = require "gdnmeta.engine.change_rules"
local commit_plan = require "gdnmeta.engine.commit_plan"
local domains = require "gdnmeta.native.domains"
local options = require "gdnmeta.native.options"
local prompt_identity = require "gdnmeta.engine.prefix.prompt_identity"
local requests = require "gdnmeta.engine.requests"
local sources = require "gdnmeta.engine.sources"
local submit = require "gdnmeta.engine.submit"

local EINVAL, ECAP = tonumber(lib.GDN_EINVAL), tonumber(lib.GDN_ECAP)

local Engine = {}

local FIELDS = {
  id = { nil, domains.where(function(value)
    return type(value) == "string" or type(value) == "number" and value == value
  end, "a number or a string"), true },
  max_tokens = { nil, domains.integer(1, args.INT32_MAX) },
}

local function number_of(self, id)
  local i = id ~= nil and self.requests.index[id]
  if i then return i end
  return nil, ("no request %s"):format(args.word(id)), EINVAL
end

-- What a request says of itself, for another that is like it.
local function description(self, i, given)
  local r = self.requests
  local like = { id = given.id, prompt_tokens = r.prompt[i], max_tokens = given.max_tokens or r.max_tokens[i],
                 user = self.users.name[r.user[i]], class = self.classes.name[r.class[i]],
                 session = r.session[i] and r.session[i].key,
                 weight = r.weight[i], priority = r.priority[i], ttft = r.ttft[i], tpot = r.tpot[i],
                 arrival = self.now, deadline = self.now + r.ttft[i], is_known = r.ids[i] ~= nil }
  return like
end

-- The state that a fork begins with: false, none, if nothing is computed.
local function source_of(self, i)
  local r = self.requests
  if r.state[i] == requests.WAITING then
    if r.flight[i] > 0 then return nil, "has a step in flight, complete it first" end
    local source = r.checkpoint[i]
    return source and sources.hold(self.states, source) or false
  end
  if r.computed[i] == 0 and r.flight[i] == 0 then return false end
  return sources.keep(self, i)
end

-- The rest of the text that the first request knows is the fork's, too.
local function join(self, like, i)
  local r = self.requests
  local known, source, problem = r.known[i], source_of(self, i)
  if source == nil then return nil, ("request %s %s"):format(args.word(r.id[i]), problem), ECAP end
  local other, message, code
  problem = source and submit.too_large(self, like, source) -- beside the block that the source has begun
  if problem then
    message, code = ("request %s: %s"):format(args.word(like.id), problem), ECAP
  else
    other, message, code = submit.add(self, like)
  end
  if other then
    r.known[other] = known
    if self.prefix then prompt_identity.copy(r, i, other, self.prefix.size) end
    if r.ids[other] then r.cross_at[other], r.last_block[other] = 0, r.last_block[i] end
    if source then sources.give(self, other, source) end
  end
  if source then sources.drop(self.states, source) end -- the fork holds it now
  return other, message, code
end

--- Another request with the text of this one, prompt and answer so far, that shares its state and its blocks:
--- nothing is computed again. It joins the queue.
---@param id any of a request that waits or runs, with no step in flight
---@param fields table id of the fork; max_tokens, default: the request's
---@return boolean|nil ok nil: no such request, the id is in use, or no memory is left for it
---@return string? message
---@return integer? code
function Engine:fork(id, fields)
  self = change_rules.change(self, "fork")
  if type(fields) ~= "table" then error("gdnmeta.Engine:fork: want a table, got " .. args.show(fields), 2) end
  local given, wrong = options.read(fields, FIELDS, "field")
  if not given then error("gdnmeta.Engine:fork: " .. wrong, 2) end
  change_rules.again(self, "fork") -- a metamethod of the fields may have closed it
  local i, problem, code = number_of(self, id)
  if not i then return nil, problem, code end
  local like = description(self, i, given)
  if like.max_tokens <= self.requests.known[i] - self.requests.prompt[i] then
    return nil, ("request %s: max_tokens = %d, want more than the %d that request %s has"):format(
      args.word(given.id), like.max_tokens, self.requests.known[i] - self.requests.prompt[i], args.word(id)),
      EINVAL
  end
  problem, code = submit.refusal(self, like)
  if problem then return nil, problem, code end
  local other
  other, problem, code = join(self, like, i)
  if not other then return nil, problem, code end
  if self.observer then self.observer:arrived(other) end
  self.hooks:event("on_arrival", other)
  commit_plan.enqueue(self, other, false)
  self.stats.waiting, self.stats.running = self.fifo.size, self.num_running
  self.hooks.guard:raise_failure()
  return true
end

--- Keep a running request's state, and say where it is: for a host that moves it elsewhere. The request goes
--- on, or may be cancelled; release() when the copy is done.
---@param id any of a running request, with no step in flight
---@return table|nil state { tokens, accepted, slots, generations, kv_blocks }: a slot a group, the blocks of
--- the tokens; accepted: for receive()
---@return string? message
---@return integer? code
function Engine:export(id)
  self = change_rules.change(self, "export")
  local i, message, code = number_of(self, id)
  if not i then return nil, message, code end
  local source, problem = sources.keep(self, i)
  if not source then return nil, ("request %s %s"):format(args.word(id), problem), ECAP end
  return sources.show(self, source)
end

--- Slots and blocks for a state of so many tokens that comes from elsewhere: the host copies it there, then
--- submits its request with `slot`, and releases it.
---@param tokens integer
---@param accepted integer|nil what export() said of the state, by which its conv window is shifted; default 1
---@return table|nil state { tokens, accepted, slots, generations, kv_blocks }
---@return string? message
---@return integer? code
function Engine:receive(tokens, accepted)
  self = change_rules.change(self, "receive")
  local most = self.token_limits.max_model_len - 2
  if not args.integer(tokens, 1, most) then
    error("gdnmeta.Engine:receive: " .. args.wrong_integer("tokens", tokens, 1, most), 2)
  end
  if accepted == nil then accepted = 1 end
  if not args.integer(accepted, 1, self.num_spec + 1) then
    error("gdnmeta.Engine:receive: " .. args.wrong_integer("accepted", accepted, 1, self.num_spec + 1), 2)
  end
  local source, problem = sources.reserve(self, tokens, accepted)
  if not source then return nil, "a state of " .. tokens .. " tokens " .. problem, ECAP end
  return sources.show(self, source)
end

return Engine
