-- How decodes are found, cut, paused and taken, by decodes.lua, against the same said by lists, of drawn
-- requests. What the plan and preemption answer is drawn, too.
local decodes = require "gdnmeta.engine.decide.decodes"
local drawer = require "spec.support.drawer"
local preempt = require "gdnmeta.engine.decide.preempt"

local max, min = math.max, math.min
local REQUESTS, BUDGET = 9, 64

-- Answers that are drawn, the same ones each time they are asked for from the start.
local function script(draw, list)
  local answers, at = {}, 0
  for n = 1, 60 do answers[n] = list[draw(#list)] end
  return { rewind = function() at = 0 end, next = function()
    at = at + 1
    return answers[at]
  end }
end

local function world(case)
  local draw = drawer(16807 * case + 5)
  local r = { allowed = {}, drafts = {}, known = {}, placeholders = {}, computed = {}, prompt = {}, mark = {},
              may_run = {} }
  local e = { requests = r, running = {}, items = {}, work = {}, num_running = draw(REQUESTS) - 1,
              num_spec = max(draw(5) - 2, 0), has_paused = draw(2) == 1, starved_before = draw(3) - 2,
              pause_turn = draw(40) - 1, max_num_batched_tokens = BUDGET,
              plan = { tokens_left = draw(20) - 1 } }
  for i = 0, REQUESTS - 1 do
    r.prompt[i], r.computed[i] = draw(4), draw(6) - 1
    r.known[i], r.placeholders[i] = max(r.prompt[i], r.computed[i] + draw(2) - 1), draw(2) - 1
    r.drafts[i], r.allowed[i] = draw(e.num_spec + 1) - 1, draw(e.num_spec + 2) - 2
    r.mark[i], r.may_run[i] = draw(5) == 1 and draw(3) - 2 or 0, draw(5) > 1
    e.items[i], e.work[i] = i, -5
  end
  local first = draw(REQUESTS)
  for at = 0, REQUESTS - 1 do e.running[at] = (first + at) % REQUESTS end -- beyond num_running: who ran once
  for k = 0, REQUESTS - 1 do e.items[k] = (5 * k + first) % REQUESTS end
  e.wants_text, e.share, e.least_drafts = draw(3) > 1, draw(12), draw(5) - 2
  e.token_limits = {
    may_run = function(_, i)
      e.looked_at = i
      return r.may_run[i]
    end,
    wants_text = function(_, i) return i == e.starved_before and e.wants_text end,
    share = function(_, i, budget) return i == e.starved_before and budget == BUDGET and e.share end,
    drafts = function(_, _, drafts, left) return min(drafts, e.least_drafts, left - 1) end,
  }
  e.puts = script(draw, { "ok", "ok", "ok", "slots", "slots", "kv" })
  e.makes = script(draw, { "again", "again", "again", "skip", "skip", false })
  return e, draw
end

local function columns(r)
  local copy = {}
  for name, values in pairs(r) do
    copy[name] = {}
    for i = 0, REQUESTS - 1 do copy[name][i + 1] = values[i] end
  end
  return copy
end

describe("Drafts that decodes may use", function()
  it("are those proposed, as far as the policy leaves them", function()
    for case = 1, 1500 do
      local e, draw = world(case)
      local r, want, where = e.requests, {}, "case " .. case
      local policy = { drafts_limit = draw(3) > 1 and draw(4) - 1 or nil, drafts = draw(2) == 1 or nil }
      local answer, asked = draw(2) == 1, 0
      local hooks = { policy = policy, drafts = function(_, running, n)
        assert(running == e.running and n == e.num_running)
        asked = asked + 1
        return answer
      end }
      for i = 0, REQUESTS - 1 do want[i] = r.allowed[i] end
      local is_set = e.num_spec > 0 or e.has_paused
      for at = 0, is_set and e.num_running - 1 or -1 do
        local i = e.running[at]
        want[i] = e.num_spec > 0 and min(r.drafts[i], policy.drafts_limit or e.num_spec) or 0
      end
      local is_asked = e.num_spec > 0 and policy.drafts
      local ok = decodes.limit(e, hooks)
      assert.are.same({ is_asked and 1 or 0, not is_asked or answer, false },
                      { asked, ok, e.has_paused }, where)
      for i = 0, REQUESTS - 1 do assert.are.equal(want[i], r.allowed[i], where) end
    end
  end)
end)

describe("The running list", function()
  it("is split into decodes and prompts, in order", function()
    for case = 1, 1500 do
      local e = world(case)
      local r, want, text = e.requests, {}, {}
      for at = 0, e.num_running - 1 do
        local i = e.running[at]
        local rest = max(r.known[i] + r.placeholders[i] - r.computed[i] - 1, r.prompt[i] - r.computed[i])
        if rest > 0 then text[#text + 1] = i else want[#want + 1] = i end
      end
      local n, m = decodes.split(e)
      assert.are.same({ #want, #text }, { n, m }, "case " .. case)
      for k = 1, n do assert.are.equal(want[k], e.items[k - 1]) end
      for k = 1, m do assert.are.equal(text[k], e.work[k - 1]) end
    end
  end)
end)

-- What is left of the drafts, by number, and who pauses.
local function trim_model(e, n)
  local r, allowed, running = e.requests, {}, {}
  for i = 0, REQUESTS - 1 do allowed[i] = e.requests.allowed[i] end
  local state = { allowed = allowed, pause_turn = e.pause_turn, has_paused = e.has_paused }
  local keeps = e.starved_before >= 0 and e.wants_text
  local cap = e.plan.tokens_left - (keeps and min(e.share, e.plan.tokens_left) or 0)
  state.is_easy = n * (1 + e.num_spec) <= cap -- then nobody is looked at
  if state.is_easy then return state end
  for k = 0, n - 1 do
    local i = e.items[k]
    if r.mark[i] == 0 and r.may_run[i] then running[#running + 1] = i end
  end
  local function tokens_with(most)
    local sum = 0
    for _, i in ipairs(running) do sum = sum + 1 + min(r.allowed[i], most) end
    return sum
  end
  local most = e.num_spec
  while most > 0 and tokens_with(most) > cap do most = most - 1 end
  for k = 0, n - 1 do allowed[e.items[k]] = min(allowed[e.items[k]], most) end
  if tokens_with(most) <= cap then return state end
  local first, count = e.pause_turn % #running, #running - cap
  for k = 0, count - 1 do allowed[running[(first + k) % #running + 1]] = -1 end
  state.pause_turn, state.has_paused = (first + count) % #running, true
  return state
end

describe("Where decodes are too many for a step", function()
  it("drafts are cut evenly, and some pause in turn", function()
    local pauses = 0
    for case = 1, 3000 do
      local e, draw = world(case)
      local n, r = draw(REQUESTS + 1) - 1, e.requests
      for i = 0, REQUESTS - 1 do r.allowed[i] = max(r.allowed[i], 0) end
      local want = trim_model(e, n)
      decodes.trim(e, n)
      local where = "case " .. case
      assert.are.same({ want.pause_turn, want.has_paused }, { e.pause_turn, e.has_paused }, where)
      if want.is_easy then assert.is_nil(e.looked_at, where) end
      for i = 0, REQUESTS - 1 do
        assert.are.equal(want.allowed[i], r.allowed[i], where)
        if want.allowed[i] < 0 then pauses = pauses + 1 end
      end
    end
    assert.is_true(pauses > 300)
  end)
end)

-- One decode after the other; what is called is noted. false: the policy failed.
local function take_model(e, i, log)
  local drafts = e.token_limits:drafts(i, e.requests.allowed[i], e.plan.tokens_left)
  if drafts < 0 then return true end
  while true do
    log[#log + 1] = ("put %d %d %s"):format(i, drafts, tostring(drafts > 0))
    local why = e.puts.next()
    if why == "ok" then return true end
    if why == "slots" and drafts > 0 then
      drafts = drafts - 1
    else
      log[#log + 1] = ("make %d %d %d"):format(i, e.requests.computed[i] + 1 + drafts, drafts)
      local todo = e.makes.next()
      if todo ~= "again" then return todo end
    end
  end
end

local MODELS = {
  take_all = function(e, log)
    for k = 0, e.num_running - 1 do
      local i = e.items[k]
      if e.requests.mark[i] == 0 and e.requests.may_run[i] and not take_model(e, i, log) then return false end
    end
    return true
  end,
  resume = function(e, log)
    for at = 0, e.num_running - 1 do
      local i = e.running[at]
      if e.requests.allowed[i] < 0 and e.requests.mark[i] == 0 then
        e.requests.allowed[i] = 0
        if not take_model(e, i, log) then return false end
      end
    end
    return true
  end,
}

describe("A decode is taken", function()
  local make = preempt.make
  after_each(function() preempt.make = make end)

  for name, model in pairs(MODELS) do
    it("with fewer drafts before another request has to leave: " .. name, function()
      for case = 1, 2000 do
        local e, log, hooks = world(case), {}, {}
        function e.plan:put_decode(i, drafts, is_modest)
          assert(self == e.plan)
          log[#log + 1] = ("put %d %d %s"):format(i, drafts, tostring(is_modest))
          local why = e.puts.next()
          if why == "ok" then return true end
          return nil, why
        end
        function preempt.make(given, its, i, tokens, drafts)
          assert(given == e and its == hooks)
          log[#log + 1] = ("make %d %d %d"):format(i, tokens, drafts)
          return e.makes.next()
        end
        local ok = decodes[name](e, hooks, e.num_running)
        local got, after = log, columns(e.requests)
        e, log = world(case), {}
        local want = model(e, log)
        assert.are.same({ not not want, log, columns(e.requests) }, { not not ok, got, after },
                        "case " .. case)
      end
    end)
  end
end)
