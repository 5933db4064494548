-- What policies see: `r`, one request at a time, and `ctx`, the step. Both are empty tables that read
-- the engine's columns on access and refuse writing; no cdata ever leaves them.
local args = require "gdnmeta.native.args"
local no_field = require "gdnmeta.engine.hooks.no_field"
local old_names = require "gdnmeta.native.old_names"
local bit = require "bit"

local NONE = require("gdnmeta.engine.requests").NONE
local leave = require("gdnmeta.native.trace_cuts").last_joint()
local huge, min = math.huge, math.min

-- An object without contents: reader(name) finds the value, text() what it prints as, by default its name.
local function read_only(what, reader, text)
  return setmetatable({}, {
    __index = reader,
    __tostring = text or function() return what end,
    __newindex = function(_, name) error(("%s is read-only, cannot set %s"):format(what, args.word(name)),
                                         2) end,
    __metatable = false,
  })
end

-- Names of the release before.
local OLD_R = { prompt = "prompt_tokens", computed = "computed_tokens" }
local OLD_CTX = { budget_left = "tokens_left", seqs_left = "requests_left", free_slots = "slots_left",
                  k = "max_drafts", block = "chunk_multiple" }

-- What a field of an old name is called now, or nil.
local function renamed(what, old, name)
  local new = old[name]
  if new then old_names.once(what .. "." .. name, what .. "." .. new) end
  return new
end

-- The field of an old name, or nil. From then on it is one like the others, at no cost to a step.
local function old_field(what, fields, old, name)
  local new = renamed(what, old, name)
  if not new then return nil end
  fields[name] = fields[new]
  return fields[name]
end

local PLAIN = { "max_tokens", "known", "preemptions", "weight", "priority", "arrival",
                "deadline", "ttft", "tpot", "last_emit" }

-- Functions of a request's number.
local function request_fields(e)
  local r, fields = e.requests, {}
  for _, name in ipairs(PLAIN) do fields[name] = function(i) return r[name][i] end end
  function fields.prompt_tokens(i) return r.prompt[i] end
  function fields.computed_tokens(i) return r.computed[i] end
  function fields.id(i) return r.id[i] end
  function fields.user(i) return e.users.name[r.user[i]] end
  function fields.session(i) return r.session[i] and r.session[i].key end
  function fields.class(i) return e.classes.name[r.class[i]] end
  function fields.want(i)
    local want = r.known[i] + r.placeholders[i] - r.computed[i]
    return e.token_limits:is_decode(i) and want + r.drafts[i] or want
  end
  function fields.is_decode(i) return e.token_limits:is_decode(i) end
  function fields.age(i) return e.now - r.arrival[i] end
  function fields.emitted(i) return r.known[i] - r.prompt[i] end
  function fields.slots(i) return e.states:held_slots(i) end
  function fields.cached_prefix(i) return r.cached[i] end
  function fields.hit(i) return r.cached[i] end
  function fields.cached_tokens(i) return r.cached[i] end
  function fields.junction(i) return e.prefix and r.junction[i] or 0 end
  function fields.prompt_end(i)
    return e.prefix and math.floor(r.prompt[i] / e.prefix.size) * e.prefix.size or r.prompt[i]
  end
  function fields.user_waiting(i) return e.users.waiting[r.user[i]] end
  function fields.user_requests(i) return e.users.holders[r.user[i]] end
  return fields
end

-- Seconds until the first running decode misses its time between tokens.
local function min_slack(e)
  local r, slack = e.requests, huge
  for at = 0, e.num_running - 1 do
    local i = e.running[at]
    if e.token_limits:is_decode(i) then slack = min(slack, r.last_emit[i] + r.tpot[i] - e.now) end
  end
  return slack
end

-- A small linear generator: the same numbers in every run, whatever else draws random numbers.
local function random_numbers(seed)
  local state = bit.tobit(seed)
  return function()
    state = bit.tobit(bit.band(state, 0xffff) * 25173 + 13849 + bit.rol(state, 13))
    return bit.rshift(bit.bxor(state, bit.rol(state, 7)), 8) / 2^24
  end
end

-- The host's functions. tokens_within defaults to the requests that run.
local function cost_of(e, given)
  local functions = { predict = given.predict }
  function functions.tokens_within(seconds, rows, most)
    return given.tokens_within(seconds, rows or e.num_running, most)
  end
  return read_only("ctx.cost", function(_, name) return functions[name] end)
end

local function step_fields(e, options)
  local plan, fields = e.plan, {}
  local constants = {
    aging = options.aging, rekey_limit = options.rekey_limit, max_drafts = e.num_spec, counters = {},
    chunk_multiple = e.states.align and e.states.block or 1, random = random_numbers(options.seed),
    pad = e.pad, cost = cost_of(e, options.cost),
  }
  for name, value in pairs(constants) do fields[name] = function() return value end end
  function fields.now() return e.now end
  function fields.step() return e.step_number end
  function fields.tokens_left() return plan.tokens_left end
  function fields.prefill_taken() return plan.prefill_taken end
  function fields.requests_left() return plan.seqs_left end
  function fields.slots_left() return math.max(plan.slots_left - plan.slots_aside, 0) end
  function fields.kv_left() return math.max(plan.kv_left - plan.kv_aside, 0) end
  function fields.running() return e.num_running end
  function fields.waiting() return e.fifo.size end
  -- A hook that asks does so for every chunk; nothing that it depends on changes within a step.
  local seen, slack
  function fields.min_slack()
    if seen ~= e.step_number then seen, slack = e.step_number, min_slack(e) end
    return slack
  end
  return fields
end

-- Run once an engine: closures made in a loop do not compile, and need not.
jit.off(request_fields)
jit.off(cost_of)
jit.off(step_fields)

local M = { read_only = read_only }

--- For an `r` of the lab: what an old name is called now, or nil.
function M.renamed_of_r(name) return renamed("r", OLD_R, name) end

--- cursor.i is the number of the request that `r` shows, NONE: none; cursor.hook the running hook, or false.
---@return table view { r, ctx, cursor, requests }
function M.new(e, options)
  local cursor = { i = NONE, hook = false }
  local of_request, of_step = request_fields(e), step_fields(e, options)
  local r = read_only("r", function(_, name)
    local field, i = of_request[name] or old_field("r", of_request, OLD_R, name), cursor.i
    if not field then error(no_field("r", name, of_request), 2) end
    if i < 0 then error("r shows a request only while its hook runs", 2) end
    return field(i)
  end, function()
    if cursor.i < 0 then return "r(no request)" end
    return ("r(id=%s)"):format(args.word(e.requests.id[cursor.i]))
  end)
  local ctx = read_only("ctx", function(_, name)
    local field = of_step[name] or old_field("ctx", of_step, OLD_CTX, name)
    if not field then error(no_field("ctx", name, of_step), 2) end
    return field()
  end)
  local function step_field(name) return of_step[name] or old_field("ctx", of_step, OLD_CTX, name) end
  return { r = r, ctx = ctx, cursor = cursor, requests = e.requests, step_field = step_field,
           step_fields = of_step, leave = leave }
end

return M
