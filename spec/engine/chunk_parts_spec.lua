-- How much of a request's text a step takes, and what the next step owes it, by chunks.lua, against the same
-- said step by step, of drawn requests. What the policy, the plan and preemption answer is drawn, too.
local chunks = require "gdnmeta.engine.decide.chunks"
local drawer = require "spec.support.drawer"
local preempt = require "gdnmeta.engine.decide.preempt"

local min = math.min
local I, BUDGET, BLOCK = 0, 64, 4

-- An engine whose answers are noted; the same draw gives the same ones.
local function world(case)
  local draw, log = drawer(16807 * case + 17), {}
  local computed = draw(5) - 1
  local step = ({ 1, 10, 40 })[draw(3)]
  local held = math.max(({ 0, 1, step - 15, step - 16, step - 17, step })[draw(6)], 0)
  local e = { requests = { held = { [I] = held }, known = { [I] = computed + draw(14) },
                           computed = { [I] = computed }, id = { [I] = "me" } },
              step_number = step, starved_before = draw(3) == 1 and 0 or -1, block = BLOCK, log = log,
              max_num_batched_tokens = BUDGET }
  local taken, left = draw(2) == 1 and 0 or draw(5) - 1, draw(9) - 1
  local p = { starved = draw(4) == 1 and 0 or -1, is_cut = draw(4) == 1, is_tried = draw(3) == 1,
              prefill_taken = taken, tokens_left = left, budget = taken + left + draw(7) - 1 }
  e.plan = p
  local least, share, zero = draw(8), draw(10), draw(3) == 1
  e.token_limits = {
    chunked = draw(8) > 1, limit = draw(3) == 1 and draw(10) or math.huge,
    least = function(_, i)
      assert(i == I)
      return least
    end,
    share = function(_, i, budget)
      assert(i == I and budget == BUDGET)
      return share
    end,
    chunk = function(_, i, wanted, tokens)
      log[#log + 1] = ("fits %d %g %d"):format(i, wanted, tokens)
      local n = min(wanted, tokens)
      return (n < least or zero and n == wanted) and 0 or n
    end,
  }
  function p:put_chunk(i, n)
    log[#log + 1] = ("put %d %d"):format(i, n)
    return self == p and draw(2) == 1 or nil
  end
  local hooks = { guard = {} }
  function hooks.guard.fail(_, hook, message, stack, id)
    log[#log + 1] = ("%s %s %s %s"):format(hook, message, tostring(stack), id)
  end
  function hooks.chunk(_, i, rest)
    log[#log + 1] = ("ask %d %d of %d after %d"):format(i, rest, p.tokens_left, p.prefill_taken)
    local n = draw(14) - 2
    return n >= 0 and n or nil
  end
  e.make = function(given, its, i, tokens, drafts)
    assert(given == e and its == hooks)
    log[#log + 1] = ("make %d %d %d"):format(i, tokens, drafts)
    return ({ "again", "again", "skip", false })[draw(4)]
  end
  return e, hooks
end

local M = {}

function M.starve(e)
  local p, held = e.plan, e.requests.held[I]
  local is_owed = p.starved < 0 and e.starved_before < 0 and not p.is_cut
    and (held == 0 or e.step_number - held > 16)
  local by_decodes = p.budget - p.prefill_taken - p.tokens_left
  local fits = e.token_limits:least(I) <= p.tokens_left + by_decodes
  if is_owed and by_decodes > 0 and fits then p.starved = I end
end

function M.size(e, hooks)
  local limits, p = e.token_limits, e.plan
  local rest, least = e.requests.known[I] - e.requests.computed[I], limits:least(I)
  if not limits.chunked then return rest end
  local limit = hooks:chunk(I, rest)
  if limit == nil or limit < 1 then return limit end
  local n, wanted = limits:chunk(I, limit, p.tokens_left), min(limit, rest, limits.limit)
  if n > 0 or limit >= least then
    if wanted > p.tokens_left and n < limits:share(I, BUDGET) then M.starve(e) end
    p.is_cut = p.is_cut or wanted > p.tokens_left
    return n
  end
  if p.is_tried then return 0 end
  p.is_tried = true
  if p.prefill_taken > 0 then -- what would it give in an empty step?
    local taken, left = p.prefill_taken, p.tokens_left
    p.prefill_taken, p.tokens_left = 0, p.budget
    limit = hooks:chunk(I, rest)
    p.prefill_taken, p.tokens_left = taken, left
  end
  if limit and limit >= least then return 0 end
  if limit then
    local message = "chunk gives %d tokens, want 0 or at least ctx.chunk_multiple = 4"
    hooks.guard:fail("chunk", message:format(limit), nil, "me")
  end
  return nil
end

function M.take(e, hooks)
  local p = e.plan
  if e.token_limits:chunk(I, p.tokens_left, p.tokens_left) == 0 then
    M.starve(e)
    return true
  end
  local n = M.size(e, hooks)
  if n == nil then return false elseif n < 1 then return true end
  while not p:put_chunk(I, n) do
    local todo = e.make(e, hooks, I, e.requests.computed[I] + n, 0)
    if todo ~= "again" then return todo end
  end
  return true
end

local function left(e)
  local p = e.plan
  return { p.starved, p.is_cut, p.is_tried, p.prefill_taken, p.tokens_left, p.budget, e.requests.held[I] }
end

describe("Of a request's text a step takes what it can", function()
  local make = preempt.make
  after_each(function() preempt.make = make end)

  for name, model in pairs(M) do
    it("or owes it to the next: " .. name, function()
      local seen = {}
      for case = 1, 3000 do
        local e, hooks = world(case)
        preempt.make = e.make
        local got = chunks[name](e, name == "starve" and I or hooks, I)
        local its, its_hooks = world(case)
        local want = model(its, its_hooks)
        assert.are.same({ tostring(want), its.log, left(its) }, { tostring(got), e.log, left(e) },
                        "case " .. case)
        seen[tostring(got)] = true
      end
      if name == "take" then assert.are.same({ ["true"] = true, ["false"] = true, skip = true }, seen) end
    end)
  end
end)
