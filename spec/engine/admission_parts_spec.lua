-- Who of a queue comes in, by admissions.lua, against the same said in one piece, of drawn queues. What the
-- policy, the plan and the state cache answer is drawn, too, and every call is noted in order.
local admissions = require "gdnmeta.engine.decide.admissions"
local chunks = require "gdnmeta.engine.decide.chunks"
local drawer = require "spec.support.drawer"
local preempt = require "gdnmeta.engine.decide.preempt"

local STEP, RUNNING, NONE = 40, 0, -1 -- those that wait have the numbers from 1 on

local function plan_of(note, draw, r)
  local p = { num_victims = draw(8) == 1 and 1 or 0, is_short = draw(12) == 1, seqs_left = draw(4) - 1,
              num_held = 0, prefill_taken = draw(2) - 1, tokens_left = draw(12) - 1,
              has_passed = draw(5) == 1, way_made_for = NONE, starved = NONE, is_cut = false }
  p.budget = p.tokens_left + p.prefill_taken + draw(9)
  local function admitted(name)
    return function(_, i, n)
      note(name, i, n)
      p.seqs_left, p.tokens_left, r.mark[i] = p.seqs_left - 1, p.tokens_left - n, 2
    end
  end
  p.admit, p.let_in = admitted "admit", admitted "let in"
  function p.reject(_, i, reason)
    note("reject", i, reason)
    r.mark[i] = -3
  end
  function p.set_aside(_, i, n)
    note("set aside", i, n)
    p.has_passed = true
  end
  function p.fits_now(_, i, n)
    note("fits now", i, n)
    return draw(5) > 1
  end
  return p
end

local function hooks_of(note, draw, many)
  local held = many and 1 or draw(3)
  local hooks = { is_built_in = draw(3) == 1, policy = {
    preempt_for = draw(3) == 1 and print or nil, chunk = draw(2) == 1 or nil,
    group = draw(3) == 1 and "user" or nil } }
  function hooks.admit(_, i)
    note("ask", i)
    local n = draw(many and 60 or 12)
    if n == 1 then return false end
    if n == 2 then return true, nil, "no\27" end
    return true, n % 3 < held
  end
  function hooks.chunk(_, i, rest)
    note("chunk", i, rest)
    return ({ false, 0, 0.5, 1, 9, 0 })[draw(many and 5 or 6) + (many and 1 or 0)]
  end
  return hooks
end

-- A queue that goes once through its numbers.
local function queue_of(note, draw, size)
  local at, fails = 0, draw(10) == 1 and draw(size + 1) or nil
  local queue = {}
  function queue.begin(_, step) note("begin", step) end
  function queue.finish() note "finish" end
  function queue.candidate(_, compares)
    note("candidate", tostring(compares))
    if at == fails then return nil end
    return at < size and at + 1 or NONE
  end
  for _, name in ipairs { "advance", "hold", "pass" } do
    queue[name] = function(_, cost)
      note(name, tostring(cost))
      at = at + 1
    end
  end
  return queue
end

local function world(case)
  local draw, log = drawer(16807 * case + 29), {}
  local function note(...) log[#log + 1] = table.concat({ ... }, " ") end
  local many = case % 25 == 0
  local size = many and 170 or draw(6) - 1
  local r = { held = {}, known = {}, computed = {}, mark = {}, flight = {}, key = {}, user = {}, id = {} }
  local e = { requests = r, fifo = { size = size }, num_running = draw(3) - 1, is_tight = draw(4) == 1,
              log = log,
              admit_after_preemption = draw(2) == 1, step_number = STEP, obeys_holds = draw(2) == 1,
              heard = draw(3) == 1 and 0 or draw(40), starved_before = NONE, max_num_batched_tokens = 64,
              is_open = false, is_opened = false }
  for i = 1, size do
    r.held[i] = draw(3) == 1 and draw(STEP) - 1 or draw(2) - 1
    r.computed[i] = draw(3) - 1
    r.known[i] = r.computed[i] + draw(9)
    r.mark[i], r.flight[i] = draw(9) == 1 and 1 or 0, draw(9) == 1 and draw(2) or 0
    r.key[i], r.user[i] = draw(3), draw(2)
  end
  r.key[RUNNING], r.user[RUNNING] = draw(4), draw(2)
  e.plan = plan_of(note, draw, r)
  e.prefix = draw(2) == 1 and {
    look = function(_, i) note("look", i) end,
    make_way = function(_, i, n)
      note("make way", i, n)
      return draw(2) == 1
    end,
  } or false
  e.token_limits = {
    chunked = draw(4) > 1, least = function() return 3 end,
    chunk = function(_, i, wanted, left)
      note("tokens", i, wanted, left)
      return left >= 3 and math.min(left, r.known[i] - r.computed[i]) or 0
    end,
  }
  e.size_of = function(given, _, i)
    assert(given == e)
    note("size", i)
    return ({ false, 0, 1, 2, 4, 9, many and 0 or 9 })[draw(many and 6 or 7) + (many and 1 or 0)] or nil
  end
  e.claim = function(given, _, i, n)
    assert(given == e)
    note("claim", i, n)
    return draw(9) > 1
  end
  local hooks = hooks_of(note, draw, many)
  if many then e.plan.seqs_left, e.plan.num_victims, e.plan.is_short, e.is_tight = 3, 0, false, false end
  return e, hooks, queue_of(note, draw, size)
end

local function may_admit(e, hooks)
  local p = e.plan
  if p.num_victims > 0 and not e.admit_after_preemption or p.is_short then return false end
  if e.is_tight and e.num_running > 0 then return false end
  return p.seqs_left >= 1 or hooks.policy.preempt_for ~= nil
end

local function held(e, i)
  e.plan.num_held, e.requests.held[i] = e.plan.num_held + 1, STEP
end

-- true: it is to come in; else the cost of looking past it, nil: the policy failed.
local function asked(e, hooks, i)
  local ok, verdict, reason = hooks:admit(i)
  if not ok then return nil end
  if verdict == false then held(e, i) return 1 end
  e.requests.held[i] = 0
  if verdict == nil then
    e.plan:reject(i, (reason:gsub("\27", "\\27")))
    return 1
  end
  return true
end

local function asked_ahead(e, hooks, i)
  if e.token_limits.chunked and hooks.policy.chunk and e.plan.prefill_taken == 0 then
    local n = hooks:chunk(i, e.requests.known[i] - e.requests.computed[i])
    if not n then return nil end
    if n < 1 then held(e, i) return 4 end
  end
  return asked(e, hooks, i)
end

-- What becomes of request i: the cost, "last" where none may come after it, "again"; nil: the policy failed.
local function treated(e, hooks, i)
  local r, p = e.requests, e.plan
  if r.mark[i] ~= 0 or r.flight[i] > 0 then return 0 end
  if e.prefix and p.way_made_for ~= i then e.prefix:look(i) end
  if hooks.is_built_in and e.obeys_holds and r.held[i] > 0 and r.held[i] >= e.heard then
    p.num_held = p.num_held + 1
    return 1
  end
  local n = e.token_limits:chunk(i, p.tokens_left, p.tokens_left)
  local first = n > 0 and n or 3
  if not p:fits_now(i, first) then
    if e.prefix and p.way_made_for ~= i and p.seqs_left > 0 then
      p.way_made_for = i
      if e.prefix:make_way(i, first) then return "again" end
    end
    local verdict = asked_ahead(e, hooks, i)
    if verdict ~= true then return verdict end
    return e.claim(e, hooks, i, first) and "last" or nil
  elseif n == 0 then
    if p.tokens_left < 1 then
      chunks.starve(e, i)
      return "last"
    end
    if p.has_passed then return 1, true end
    local verdict = asked_ahead(e, hooks, i)
    if verdict ~= true then return verdict end
    chunks.starve(e, i)
    p:set_aside(i, 3)
    return 0
  end
  local size = e.size_of(e, hooks, i)
  if not size then return nil elseif size < 1 then held(e, i) return 4 end
  local verdict = asked(e, hooks, i)
  if verdict ~= true then return verdict end
  if size == first then p:let_in(i, size) else p:admit(i, size) end
  return 0
end

local function close(e, queue)
  if e.is_open then queue:finish() end
  e.is_open = false
end

local function goes_before(e, hooks, i, running)
  local r = e.requests
  if r.key[i] ~= r.key[running] then return r.key[i] < r.key[running] end
  return hooks.policy.group == "user" and r.user[i] ~= r.user[running]
end

local function admit_model(e, hooks, queue, running)
  if e.fifo.size == 0 or e.is_opened and not e.is_open then return true end
  repeat
    if not e.is_opened then
      e.looks, e.is_opened, e.is_open = 128, true, may_admit(e, hooks)
      if e.is_open then queue:begin(STEP) end
    end
    local i = NONE
    if e.looks > 0 and may_admit(e, hooks) then i = queue:candidate(running ~= NONE) end
    if i == nil then return false end
    if i == NONE then
      close(e, queue)
      return true
    end
    if running ~= NONE and not goes_before(e, hooks, i, running) then return true end
    local cost, is_passed = treated(e, hooks, i)
    if cost == nil then return false end
    if cost == "last" then e.looks = 0 end
    if cost == 0 then queue:advance() end
    if type(cost) == "number" and cost > 0 then
      e.looks = e.looks - cost
      if is_passed then queue:pass(cost) else queue:hold(cost) end
    end
  until cost ~= "again" and (e.looks < 1 or not may_admit(e, hooks))
  return true
end

local function state(e)
  local p, held_in, marks = e.plan, {}, {}
  for i = 1, e.fifo.size do held_in[i], marks[i] = e.requests.held[i], e.requests.mark[i] end
  return { e.looks or "none", e.is_open, e.is_opened, p.num_held, p.seqs_left, p.tokens_left, p.starved,
           p.way_made_for, held_in, marks }
end

-- For some running prompts, and then for all; what a failure leaves is closed.
local function play(e, hooks, queue, admit, finish)
  local said = {}
  for n = 1, e.num_running + 1 do
    local ok = admit(e, hooks, queue, n <= e.num_running and RUNNING or NONE)
    said[n] = ok
    if not ok then break end
  end
  finish(e, queue)
  finish(e, queue)
  return { said, e.log, state(e) }
end

describe("Who waits comes in", function()
  local size, claim = chunks.size, preempt.claim
  after_each(function() chunks.size, preempt.claim = size, claim end)

  it("as far as tokens, memory, seats, looks and the policy allow", function()
    local outcomes, longest = {}, 0
    for case = 1, 4000 do
      local e, hooks, queue = world(case)
      chunks.size, preempt.claim = e.size_of, e.claim
      local got = play(e, hooks, queue, admissions.admit, admissions.close)
      local its, its_hooks, its_queue = world(case)
      assert.are.same(play(its, its_hooks, its_queue, admit_model, close), got, "case " .. case)
      for _, line in ipairs(got[2]) do outcomes[line:match "^%l+"] = true end
      longest = math.max(longest, #got[2])
    end
    for _, word in ipairs { "let", "admit", "hold", "pass", "advance", "reject", "claim", "set", "make",
                            "finish" } do
      assert.is_true(outcomes[word], word)
    end
    assert.is_true(longest > 300)
  end)
end)
