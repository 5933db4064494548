-- Who leaves for a running request that lacks memory, and for one that waits and matters more, among drawn
-- requests in drawn pools: preempt.lua against the same said by lists.
local drawer = require "spec.support.drawer"
local plans = require "gdnmeta.engine.plan"
local preempt = require "gdnmeta.engine.decide.preempt"

local PREEMPTED, STEP, WAITS = plans.PREEMPTED, 9, 20 -- WAITS: the number of the one that waits

-- Columns of n requests that run, in some order, and of one that waits.
local function requests_of(draw, n)
  local r = { score = {}, yielded = {}, yields = {}, mark = {}, flight = {}, computed = {}, tie = {},
              given = {}, held = {}, held_kv = {}, taken = {}, taken_kv = {}, growth = {}, share = {} }
  local running, numbers = {}, {}
  for i = 0, n - 1 do numbers[#numbers + 1] = i end
  for at = 0, n - 1 do running[at] = table.remove(numbers, draw(#numbers)) end
  local steady = draw(2) == 1
  for i = 0, n - 1 do
    r.given[i], r.score[i], r.computed[i] = draw(4), draw(4), draw(4)
    r.yielded[i], r.yields[i] = steady and 0 or draw(3) - 1, (steady or draw(5) > 1) and draw(8) or STEP
    r.mark[i], r.flight[i] = draw(4) == 1 and PREEMPTED or draw(3) - 1, draw(3) - 1
    for _, name in ipairs { "held", "held_kv", "taken", "taken_kv", "growth", "share" } do
      r[name][i] = draw(4) - 1
    end
  end
  r.tie[WAITS] = draw(3)
  return r, running
end

local function upkeep_of(self)
  return {
    leave = function(_, i) self.credit = self.credit + self.r.share[i] end,
    suffices = function(_, i, n, free)
      assert(i == WAITS and n == 5)
      return free + self.credit >= self.wants.upkeep
    end,
    forget = function() self.forgotten = self.forgotten + 1 end,
  }
end

local function plan_of(self, draw)
  local r, wants = self.r, self.wants
  return {
    num_victims = draw(6) == 1 and 1 or 0, has_passed = draw(8) == 1,
    admitted = draw(4) == 1 and draw(2) or 0,
    slots_left = draw(3) - 1, slots_coming = draw(2) - 1, kv_left = draw(3) - 1, kv_coming = draw(2) - 1,
    slots_free = draw(3) - 1, gives_way = "as it was", is_short = false, is_hungry = false,
    frees_memory = false, upkeep = upkeep_of(self),
    would_fit = function(_, i, n, slots, kv, spare)
      assert(i == WAITS and n == 5)
      return slots >= wants.slots and kv >= wants.kv and spare >= wants.spare
    end,
    kv_spare = function() return self.kv_spare end,
    kv_growth = function(_, i) return r.growth[i] end,
    taken = function(_, i) return r.taken[i], r.taken_kv[i] end,
    preempt = function(_, i) self.out[#self.out + 1] = i end,
    is_coming = function(_, i, tokens, drafts)
      assert(tokens == 7 and drafts == 2 and i == self.asks)
      return self.comes
    end,
  }
end

local function hooks_of(self, draw)
  local kind = draw(5)
  local policy = { preempt_for = draw(9) > 1 or nil, scores_stay = draw(2) == 1,
                   victim_kind = ({ "last", "least_computed", "most_computed" })[kind],
                   victim = kind > 3 and true or nil }
  if kind == 4 then policy.victim, policy.victim_kind = nil, nil end -- neither
  local bound, fails = draw(12) > 1 and draw(7) - 3 or nil, draw(9) == 1
  return {
    policy = policy, given_bound = bound, fails = fails,
    bound = function(_, i)
      assert(i == WAITS)
      self.asked = self.asked + 1
      return bound
    end,
    scores = function(_, running, n)
      assert(running == self.e.running and n == self.e.num_running)
      for at = 0, n - 1 do self.r.score[running[at]] = self.r.given[running[at]] end
      return not fails
    end,
  }
end

local function world(case)
  local draw = drawer(16807 * case + 11)
  local n = draw(6)
  local self = { out = {}, credit = 0, forgotten = 0, asked = 0, comes = draw(4) == 1,
                 kv_spare = draw(3) - 1 }
  local running
  self.r, running = requests_of(draw, n)
  self.wants = { slots = draw(9) - 2, kv = draw(9) - 2, spare = draw(9) - 2, upkeep = draw(16) - 2 }
  if draw(3) == 1 then self.wants.upkeep = 1000 end -- only one that is alone needs none
  if draw(6) == 1 then self.wants.spare = 1000 end
  self.asks = running[draw(n) - 1]
  self.e = {
    requests = self.r, running = running, num_running = n, max_num_seqs = n + draw(3) - 1,
    preempt_limit = draw(3), step_number = STEP, leaving = {}, admit_after_preemption = draw(2) == 1,
    roster = 5,
    claimant = draw(3), claim_roster = draw(2) + 3,
    states = { limited = draw(3) > 1, held_slots = function(_, i) return self.r.held[i] end,
               held_kv = function(_, i) return self.r.held_kv[i] end },
  }
  self.e.plan = plan_of(self, draw)
  self.hooks = hooks_of(self, draw)
  return self
end

-- Scores as the policy names them; the last running one's goes first among equals.
local function scored(self, list)
  local policy, r, e = self.hooks.policy, self.r, self.e
  local place, score = {}, {}
  for at = 0, e.num_running - 1 do
    local i = e.running[at]
    place[i] = at
    local kind = policy.victim_kind
    score[i] = policy.victim and r.given[i] or kind == "least_computed" and -r.computed[i]
      or kind == "most_computed" and r.computed[i] or 0
  end
  table.sort(list, function(a, b)
    if score[a] ~= score[b] then return score[a] > score[b] end
    return place[a] > place[b]
  end)
  return score
end

local function everyone(self)
  local list = {}
  for at = 0, self.e.num_running - 1 do list[#list + 1] = self.e.running[at] end
  return list
end

-- Does the waiting one fit once the first k of a list have left?
local function fits(self, list, k)
  local e, plan, r, wants = self.e, self.e.plan, self.r, self.wants
  local slots, kv = plan.slots_left + plan.slots_coming, plan.kv_left + plan.kv_coming
  local spare, kept = self.kv_spare + plan.kv_coming, plan.slots_free + plan.slots_coming
  for n = 1, k do
    local i = list[n]
    slots, kv = slots + r.held[i] + r.taken[i], kv + r.held_kv[i] + r.taken_kv[i]
    spare, kept = spare + r.held_kv[i] + r.growth[i], kept + r.held[i] + r.share[i]
  end
  local is_alone = k == e.num_running + plan.admitted
  return e.max_num_seqs - e.num_running - plan.admitted + k >= 1 and slots >= wants.slots and kv >= wants.kv
    and (is_alone or not e.states.limited or spare >= wants.spare) and (is_alone or kept >= wants.upkeep)
end

-- What claim() returns, who leaves, whether the policy was called, and who is not looked at again.
local function claim_model(self)
  local e, plan, hooks, r = self.e, self.e.plan, self.hooks, self.r
  local state = { claimant = e.claimant, claim_roster = e.claim_roster, gives_way = plan.gives_way, asked = 0,
                  out = {}, forgotten = 0, ok = true }
  local is_old = e.claimant == r.tie[WAITS] and e.claim_roster == e.roster
  if not hooks.policy.preempt_for or plan.num_victims > 0 or plan.has_passed or is_old
    or plan.admitted > 0 and not e.admit_after_preemption then
    return state
  end
  state.asked = 1
  if not hooks.given_bound or hooks.policy.victim and hooks.fails then
    state.ok = false
    return state
  end
  local list, any = everyone(self), false
  local score = scored(self, list)
  for k = #list, 1, -1 do
    local i = list[k]
    local may = score[i] > hooks.given_bound and r.yielded[i] < e.preempt_limit
    any = any or may
    if not may or r.yields[i] == STEP then table.remove(list, k) end
  end
  if not any then
    if hooks.policy.scores_stay then state.claimant, state.claim_roster = r.tie[WAITS], e.roster end
    return state
  end
  state.forgotten, state.gives_way = 1, false
  for k = 0, #list do
    if fits(self, list, k) then
      state.out, state.gives_way = { unpack(list, 1, k) }, k > 0
      break
    end
  end
  return state
end

describe("For one that waits", function()
  it("those leave that matter least, as few as suffice", function()
    local seen = {}
    for case = 1, 6000 do
      local self = world(case)
      local want = claim_model(self)
      local ok = preempt.claim(self.e, self.hooks, WAITS, 5)
      local e = self.e
      assert.are.same(want, { claimant = e.claimant, claim_roster = e.claim_roster, asked = self.asked,
                              gives_way = e.plan.gives_way, out = self.out, forgotten = self.forgotten,
                              ok = ok }, "case " .. case)
      seen[#self.out] = (seen[#self.out] or 0) + 1
    end
    for k = 0, 4 do assert.is_true((seen[k] or 0) > 5, k .. " leave") end
  end)
end)

-- What make() says, who leaves, and what the plan is told.
local function make_model(self)
  local plan, r, i = self.e.plan, self.r, self.asks
  local state = { is_short = false, is_hungry = false, frees_memory = false, out = {}, said = "skip" }
  if plan.admitted > 0 then
    state.is_short, state.is_hungry = true, true
    return state
  elseif self.comes then
    state.is_short = true
    return state
  elseif plan.num_victims == 0 and self.hooks.policy.victim and self.hooks.fails then
    state.said = false
    return state
  end
  local list = everyone(self)
  if plan.num_victims == 0 then
    scored(self, list)
  else -- by the scores that were asked for before
    local place = {}
    for at = 0, self.e.num_running - 1 do place[self.e.running[at]] = at end
    table.sort(list, function(a, b)
      if r.score[a] ~= r.score[b] then return r.score[a] > r.score[b] end
      return place[a] > place[b]
    end)
  end
  while r.mark[list[1]] == PREEMPTED do table.remove(list, 1) end
  if list[1] == i and r.flight[i] > 0 then
    state.is_short = true
  else
    state.out, state.frees_memory, state.said = { list[1] }, true, list[1] == i and "skip" or "again"
  end
  return state
end

describe("For a running one", function()
  it("the one leaves that the policy would lose first", function()
    local seen = {}
    for case = 1, 4000 do
      local self = world(case)
      self.r.mark[self.asks] = 0
      local want, plan = make_model(self), self.e.plan
      local said = preempt.make(self.e, self.hooks, self.asks, 7, 2)
      assert.are.same(want, { is_short = plan.is_short, is_hungry = plan.is_hungry, out = self.out,
                              frees_memory = plan.frees_memory, said = said }, "case " .. case)
      seen[tostring(said)] = true
    end
    assert.are.same({ again = true, skip = true, ["false"] = true }, seen)
  end)
end)
