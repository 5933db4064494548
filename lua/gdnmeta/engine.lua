--- The engine: requests in, steps out. It never reads a clock, so that production and simulation run the
-- same code: time is an argument.
local args = require "gdnmeta.native.args"
local build_step = require "gdnmeta.engine.build_step"
local check_arguments = require "gdnmeta.engine.check_arguments"
local results_in = require "gdnmeta.engine.results_in"
local submit = require "gdnmeta.engine.submit"
local commit_plan = require "gdnmeta.engine.commit_plan"
local control = require "gdnmeta.engine.control"
local cache_control = require "gdnmeta.engine.cache_control"
local budget = require "gdnmeta.policy.contained.budget"
local lib = require "gdnmeta.native"
local construct = require "gdnmeta.engine.construct"
local change_rules = require "gdnmeta.engine.change_rules"
local forks = require "gdnmeta.engine.forks"
local main_thread = require "gdnmeta.policy.contained.main_thread"
local lost_states = require "gdnmeta.engine.lost_states"
local idle_step = require "gdnmeta.engine.idle_step"
local schedule = require "gdnmeta.engine.decide.schedule"
local methods = require "gdnmeta.native.methods"
local old_names = require "gdnmeta.native.old_names"
local session_pins = require "gdnmeta.engine.session_pins"
local verify_engine = require "gdnmeta.engine.verify_engine"
local complete_step = require "gdnmeta.engine.complete_step"
local show_cache = require "gdnmeta.engine.show_cache"
local watch = require "gdnmeta.engine.stopwatch"
local trace_cuts = require "gdnmeta.native.trace_cuts"

local joint, piece = trace_cuts.joint, trace_cuts.piece
local step_begins, step_ends = joint(), joint()
local completion_begins, completion_ends = joint(), joint()
local begin_step, damage_of = methods.Step.begin, methods.Step.damage
local change = change_rules.change
local EINVAL, ECAP, EGUARD = tonumber(lib.GDN_EINVAL), tonumber(lib.GDN_ECAP), tonumber(lib.GDN_EGUARD)

---@class gdnmeta.Engine
---@field builder gdnmeta.Builder
---@field num_spec integer S, drafts per row at most
---@field step_number integer steps so far
---@field stats table<string, integer> counters since the start, and waiting and running now
---@field policy gdnmeta.Policy
---@field policy_name string
---@field policy_enabled boolean false: it failed too often in a row, and the built-in policy plans
---@field async boolean the option
---@field mixed_capture_sizes table[] buckets, { rows, tokens } each, ascending; empty where steps are none
---@field max_kv_blocks integer columns of step.kv_table; 0 without kv_blocks
---@field recording gdnmeta.Recording|boolean false: none
---@field cache gdnmeta.StateCache|boolean false: none, as without hash_block_size
local Engine = methods.Engine
local PUBLIC = { builder = true, num_spec = true, step_number = true, stats = true, policy = true,
                 policy_name = true, policy_enabled = true, async = true, mixed_capture_sizes = true,
                 recording = true, max_kv_blocks = true, cache = true }
methods.strict("Engine", Engine, nil, {
  policy_disabled = { "policy_enabled", function(self) return not self.policy_enabled end },
}, PUBLIC)
local private = {} -- metatable of what an engine keeps to itself, and its parts work on
methods.strict("Engine.private", private)
for name, method in pairs(control) do Engine[name] = method end
for name, method in pairs(idle_step) do Engine[name] = method end
for name, method in pairs(forks) do Engine[name] = method end
for name, method in pairs(session_pins) do Engine[name] = method end
for name, method in pairs(verify_engine) do Engine[name] = method end
for name, method in pairs(lost_states) do Engine[name] = method end
for name, method in pairs(cache_control) do Engine[name] = method end

local bury_one = piece(function(self, i)
  self.hooks:event("on_finish", i)
  submit.forget(self, i)
end)

-- Announce the requests that left, then let go of them.
local function bury(self)
  local gone = self.gone
  for n = 1, #gone do
    bury_one(self, gone[n])
    gone[n] = nil
  end
end

local function count(self)
  self.stats.waiting, self.stats.running = self.fifo.size, self.num_running
end

--- A request joins the queue. Fields: id, prompt_tokens, max_tokens; arrival, user, class, weight,
--- priority, ttft, tpot, deadline, checkpoint, computed, slot, blocks, tokens, salt, session.
---@param request table
---@return boolean|nil ok nil when it is too large for this engine, or its id is in use
---@return string? message
---@return integer? code
function Engine:submit(request)
  self = change_rules.change(self, "submit")
  local problem
  request, problem = submit.read(request)
  if not request then error("gdnmeta.Engine:submit: " .. problem, 2) end
  change_rules.again(self, "submit") -- a metamethod of the request may have closed it
  local observer, i = self.observer, nil
  local refusal, code = submit.refusal(self, request)
  if not refusal then i, refusal, code = submit.add(self, request) end
  if not i then
    if observer then observer:refused(request.class) end
    return nil, refusal, code
  end
  if observer then observer:arrived(i) end
  self.hooks:event("on_arrival", i)
  commit_plan.enqueue(self, i, false)
  count(self)
  self.hooks.guard:raise_failure()
  return true
end

--- Take a request out, wherever it is. Rows of it in flight are computed, and their results
-- are dropped.
---@param id any
---@return boolean|nil ok nil when there is no such request
---@return string? message
---@return integer? code
function Engine:cancel(id)
  self = change_rules.change(self, "cancel")
  local i = self.requests.index[id]
  if not i then return nil, ("no request %s"):format(args.word(id)), EINVAL end
  submit.cancel(self, i)
  if self.observer then self.observer:cancelled(i) end
  self.gone[1] = i
  bury(self)
  count(self)
  self.hooks.guard:raise_failure()
  return true
end

-- `told`: admitted ones that the step has from a build that failed.
local function announce(self, step, told)
  local plan, hooks, index = self.plan, self.hooks, self.requests.index
  for v = 0, plan.num_victims - 1 do hooks:event("on_preempt", plan.victims[v]) end
  for n = told + 1, #step.admitted do hooks:event("on_admit", index[step.admitted[n]]) end
  for n = 1, plan.num_rejects do
    if self.observer then self.observer:rejected(plan.rejects[n]) end
    self.gone[n] = plan.rejects[n]
  end
  bury(self)
  return step
end

--- Decide, commit and build the next step. It is empty (num_rows = 0) when nothing can run.
---@param now number seconds
---@param stream ffi.cdata*|lightuserdata|nil CUDA stream
---@return table|nil step reused: valid until the next one (async: the second next)
---@return string? message
---@return integer? code
function Engine:step(now, stream)
  self = change(self, "step", step_begins)
  check_arguments.now("step", now)
  check_arguments.stream(stream)
  if self.in_flight >= #self.steps then
    return nil, ("step %d is in flight, complete it first"):format(self.oldest.number), ECAP
  end
  self.now, self.step_number = now, self.step_number + 1
  local step, stats, stopwatch = self.steps[self.turn], self.stats, self.stopwatch
  begin_step(step, self.step_number, now)
  local bare = stopwatch and main_thread.is_bare(self)
  local before = stopwatch and watch.read(stopwatch, self.view.cursor, bare)
  if self.prefix then self.prefix:begin(now, step) end
  step.fallback = schedule.plan(self)
  if stopwatch then step.policy_seconds = watch.since(stopwatch, self.view.cursor, before, bare) end
  local told = #step.admitted
  commit_plan.commit(self, step)
  announce(self, step, told)
  count(self)
  stats.steps = stats.steps + 1
  local guard = self.hooks.guard
  guard:step_done()
  self.policy_enabled = not guard.disabled
  if self.plan:is_empty() then
    stats.empty_steps = stats.empty_steps + 1
  else
    local built, message, code = build_step.build(self, step, stream)
    if not built then return nil, message, code end
  end
  if self.observer then self.observer:planned(step) end
  step_ends()
  return step
end

--- A step has run. results: nil, and the step's arrays accepted_drafts, stop and next_drafts count as they
--- stand; or { [id] = { accepted_drafts = those the model agreed with, stop = true or which of its tokens,
--- next_drafts = drafts of the next step } }. For the state cache tokens = the row's tokens, in place of
--- accepted_drafts, or blocks = ids of blocks that they fill.
---@param step table
---@param now number seconds
---@param results table|nil
---@return boolean|nil ok
---@return string? message
---@return integer? code
function Engine:complete(step, now, results)
  self = change(self, "complete", completion_begins)
  if type(results) == "number" and type(now) ~= "number" then
    old_names.once("engine:complete(step, results, now)", "engine:complete(step, now, results)")
    now, results = results, now
  end
  check_arguments.now("complete", now)
  if results_in.is_step_of(self, step) and step.num_rows == 0 then return true end
  check_arguments.step(self, step)
  local damage = damage_of(step)
  if damage then return nil, damage, EGUARD end
  if results ~= nil and type(results) ~= "table" then
    error("gdnmeta.Engine:complete: " .. args.wrong("results", results, "a table or nil"), 2)
  end
  local numbers, problem
  if results then
    local number = step.number
    numbers, problem = results_in.read(step, results, self.default_drafts, self.text)
    -- Metamethods of the results may have closed or completed something, and the object may be that of a
    -- later step by now.
    change_rules.again(self, "complete")
    check_arguments.step(self, step, number)
  end
  problem = problem or results_in.problem(step, numbers, self.num_spec)
    or numbers and self.text:problem(self, step, numbers)
  if problem then error("gdnmeta.Engine:complete: " .. problem, 2) end
  if numbers then results_in.write(step, numbers) end
  self.now = now
  step.in_flight, self.in_flight = false, self.in_flight - 1
  self.oldest = self.in_flight > 0 and self.newest
  if numbers then self.text:extend(self, step) end
  complete_step.apply(self, step)
  if self.observer then self.observer:completed(step) end
  self.hooks:emitted(step.request, step.emitted, step.num_rows)
  if #self.gone > 0 then bury(self) end
  count(self)
  local ok, message, code = true, nil, nil
  if self.has_fixes then ok, message, code = build_step.correct(self, self.oldest) end
  self.hooks.guard:raise_failure()
  completion_ends()
  return ok, message, code
end

budget.protect(Engine)

--- gdn.engine: make an engine. docs/engine.md lists the options.
---@param options table builder, and what differs from the defaults
---@return table|nil engine
---@return string? message
---@return integer? code
---@function engine
local function engine(options)
  local parsed, problem = construct.options(options)
  if not parsed then error("gdnmeta.engine: " .. problem, 2) end
  local self, message, code = construct.state(parsed)
  if not self then return nil, message, code end
  -- What every step calls is found without a call of __index.
  local made = setmetatable({ private = setmetatable(self, private), step = Engine.step,
                              complete = Engine.complete }, Engine)
  if self.prefix then self.cache = show_cache.new(made, parsed.hash_block_size) end
  local ok
  ok, message, code = made:set_policy(parsed.policy)
  if not ok then
    construct.release(self)
    return nil, message, code
  end
  return made
end

return engine
