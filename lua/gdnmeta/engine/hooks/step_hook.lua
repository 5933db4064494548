-- What a level 2 policy gets: `view`, the step with its running and waiting requests, and `plan`, to
-- choose what runs. Requests are numbers; a method of plan grants, or returns nil and the reason as a word.
local args = require "gdnmeta.native.args"
local no_field = require "gdnmeta.engine.hooks.no_field"
local packer = require "gdnmeta.engine.decide.packer"
local requests = require "gdnmeta.engine.requests"
local views = require "gdnmeta.engine.hooks.view"
local old_names = require "gdnmeta.native.old_names"
local foreign_text = require "gdnmeta.native.foreign_text"

local RUNNING, WAITING = requests.RUNNING, requests.WAITING

local M = {}

local function whole(value) return type(value) == "number" and value >= 0 and value % 1 == 0 end

-- A policy may keep `plan` and reach for it in another hook, when the plan is proven or carried out.
local function check_step(e, method)
  if e.view.cursor.hook ~= "step" then error(("plan:%s: want it within step"):format(method), 3) end
end

local function number_of(r, i) return whole(i) and i < r.used end

-- Mistakes that no batch can be made of fail the policy; level 3 is its own line.
local function checked(e, method, i, wanted)
  local r = e.requests
  local state = number_of(r, i) and r.state[i] or requests.FREE
  if state ~= RUNNING and state ~= WAITING then
    error(("plan:%s: no request %s"):format(method, args.word(i)), 3)
  end
  if wanted and state ~= wanted then return nil, state == WAITING and "waiting" or "running" end
  local mark = r.mark[i]
  if mark > 0 then return nil, "taken" end
  if mark < 0 then return nil, "decided" end
  return true
end

local function check_amount(method, name, value)
  if value ~= nil and not whole(value) then
    error(("plan:%s: %s = %s, want a whole number"):format(method, name, args.show(value)), 3)
  end
end

local function take_decode(e, i, n, drafts)
  local offered = e.requests.drafts[i]
  drafts = math.min(drafts or n and n - 1 or offered, offered)
  local granted, why = e.token_limits:drafts(i, drafts, e.plan.tokens_left)
  if granted < 0 then return nil, why end
  local ok, short = e.plan:put_decode(i, granted)
  if not ok then return nil, short end
  return 1 + granted
end

local function take_chunk(e, i, n)
  local plan, r = e.plan, e.requests
  local granted, why = e.token_limits:chunk(i, n or r.known[i] - r.computed[i], plan.tokens_left)
  if granted == 0 then return nil, why end
  local ok
  if r.state[i] == WAITING then ok, why = plan:admit(i, granted) else ok, why = plan:put_chunk(i, granted) end
  if not ok then return nil, why end
  return granted
end

local function methods_of_plan(e)
  local plan, r, methods = e.plan, e.requests, {}

  -- A running request: all it wants, or n tokens. A decode takes all its drafts, or the given number.
  function methods.take(_, i, n, drafts)
    check_step(e, "take")
    check_amount("take", "n", n)
    check_amount("take", "drafts", drafts)
    local ok, why = checked(e, "take", i, RUNNING)
    if not ok then return nil, why end
    if n == 0 then return nil, "budget" end
    if not e.token_limits:may_run(i) then return nil, "in flight" end
    if e.token_limits:is_decode(i) then return take_decode(e, i, n, drafts) end
    return take_chunk(e, i, n)
  end

  function methods.admit(_, i, n)
    check_step(e, "admit")
    check_amount("admit", "n", n)
    local ok, why = checked(e, "admit", i, WAITING)
    if not ok then return nil, why end
    if n == 0 then return nil, "budget" end
    if r.flight[i] > 0 then return nil, "in flight" end
    if plan.num_victims > 0 and not e.admit_after_preemption then return nil, "preempted" end
    return take_chunk(e, i, n)
  end

  function methods.skip(_, i)
    check_step(e, "skip")
    local ok, why = checked(e, "skip", i)
    if not ok then return nil, why end
    plan:skip(i)
    if r.state[i] == WAITING then plan.num_held, r.held[i] = plan.num_held + 1, e.step_number end
    return 0
  end

  function methods.preempt(_, i)
    check_step(e, "preempt")
    local ok, why = checked(e, "preempt", i, RUNNING)
    if not ok and why ~= "taken" then return nil, why end
    plan:preempt(i)
    return 0
  end

  function methods.reject(_, i, reason)
    check_step(e, "reject")
    if type(reason) ~= "string" then error("plan:reject: want a reason", 2) end
    local ok, why = checked(e, "reject", i, WAITING)
    if not ok then return nil, why end
    plan:reject(i, foreign_text.message(reason))
    return 0
  end

  --- Tokens, requests, slots per group and attention-cache blocks that are left.
  function methods.left() return plan.tokens_left, plan.seqs_left, plan.slots_left, plan.kv_left end

  --- The name of the release before.
  function methods.room()
    old_names.once("plan:room()", "plan:left()")
    return methods.left()
  end

  --- The rest by the built-in policy.
  function methods.fill()
    check_step(e, "fill")
    e.obeys_holds = false -- it says itself whom it holds
    packer.fill(e, packer.BUILT_IN, e.fifo)
  end

  return methods
end

-- Iterators need no closure: the control variable is the request's number. A policy can call them with any.
local function methods_of_view(e, cursor, r_proxy)
  local methods = {}

  local function after(column, i, first)
    if i == -1 then return first end
    if not number_of(e.requests, i) then error("view: no request " .. args.word(i), 3) end
    return e.requests[column][i]
  end

  local function next_running(_, i)
    local at = after("place", i, -1) + 1
    if at < e.num_running then return e.running[at] end
  end
  function methods.running()
    for at = 0, e.num_running - 1 do e.requests.place[e.running[at]] = at end
    return next_running, nil, -1
  end

  local function next_waiting(_, i)
    local following = after("next", i, e.fifo.head)
    if following >= 0 then return following end
  end
  function methods.waiting() return next_waiting, nil, -1 end

  function methods.request(_, i)
    checked(e, "request", i)
    cursor.i = i
    return r_proxy
  end
  return methods
end

--- view: of view.lua.
---@return table see, table plan
function M.new(e, view)
  local see_methods, plan_methods = methods_of_view(e, view.cursor, view.r), methods_of_plan(e)
  local see = views.read_only("view", function(_, name)
    if see_methods[name] then return see_methods[name] end
    local field = view.step_field(name)
    if not field then error(no_field("view", name, see_methods, view.step_fields), 2) end
    return field()
  end)
  local plan = views.read_only("plan", function(_, name)
    return plan_methods[name] or error("plan has no method " .. args.word(name), 2)
  end)
  return see, plan
end

return M
