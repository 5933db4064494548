-- Policies that misbehave at random, in every hook and in every way that comes to mind.
local M = {}

local NAN = 0 / 0

local function pick(list, draw) return list[draw(#list)] end

-- Things that no hook may do. Each returns what the hook returns, if it returns.
local WRONGS = {
  function() error "plain" end,
  function() error { message = "a table" } end,
  function() error() end,
  function() error(setmetatable({}, { __tostring = function() while true do end end })) end,
  function() return NAN end,
  function() return math.huge end,
  function() return -math.huge end,
  function() return -1 end,
  function() return 0.5 end,
  function() return 1e300 end,
  function() return "a string" end,
  function() return {} end,
  function() return nil end,
  function() while true do end end,
  function() while true do pcall(function() while true do end end) end end,
  function() pcall(pcall, function() while true do end end) return 1 end,
  function() local function deeper() return 1 + deeper() end return deeper() end,
  function() for i = 1, math.huge do if i < 0 then return i end end end,
  function() return coroutine.wrap(function() while true do end end)() end,
  function() return ("x"):rep(1e6):find(("x?"):rep(20) .. ("x"):rep(20)) end,
  function(r) r.known = 1 end,
  function(r, ctx) ctx.now = r end,
  function(r) return r.no_such_field end,
  function(r) return rawset(r, "known", 1) and 0 end,
  function(_, ctx) return ctx.cost.predict("?") end,
  function(_, ctx) return ctx.pad({}) end,
}

local function sometimes(draw, right)
  return function(...)
    if draw(30) > 1 then return right(...) end
    return pick(WRONGS, draw)(...)
  end
end

--- Level 1. draw(n): a random integer in 1 .. n.
function M.hooks(draw)
  return {
    name = "chaos", decode_first = draw(2) == 1, group = draw(3) == 1 and "user" or nil,
    key = sometimes(draw, function(r) return r.arrival end),
    chunk = sometimes(draw, function(_, want) return draw(3) == 1 and draw(want) or want end),
    drafts = sometimes(draw, function(_, k) return draw(k + 1) - 1 end),
    admit = sometimes(draw, function()
      local n = draw(20)
      if n == 1 then return nil, "chaos" end
      return n > 4
    end),
    victim = sometimes(draw, function(r) return r.computed_tokens end),
    on_arrival = sometimes(draw, function() end), on_emit = sometimes(draw, function() end),
    on_finish = sometimes(draw, function() end), on_preempt = sometimes(draw, function() end),
  }
end

local function any_request(view, draw)
  local list = {}
  for i in view:running() do list[#list + 1] = i end
  for i in view:waiting() do list[#list + 1] = i end
  return pick(list, draw) or 0
end

-- Proposals, most of them nonsense.
local PROPOSALS = {
  function(view, plan, draw) return plan:take(any_request(view, draw)) end,
  function(view, plan, draw) return plan:take(any_request(view, draw), draw(1000) - 1, draw(9) - 1) end,
  function(view, plan, draw) return plan:admit(any_request(view, draw)) end,
  function(view, plan, draw) return plan:admit(any_request(view, draw), draw(50)) end,
  function(view, plan, draw) return plan:skip(any_request(view, draw)) end,
  function(view, plan, draw) return draw(4) == 1 and plan:preempt(any_request(view, draw)) end,
  function(view, plan, draw) return draw(20) == 1 and plan:reject(any_request(view, draw), "chaos") end,
  function(_, plan) return plan:fill() end,
  function(_, plan) return plan:left() end,
  function(view, _, draw) return view:request(any_request(view, draw)).known end,
}

local MISTAKES = {
  function(_, plan) plan:take(1e6) end,
  function(_, plan) plan:take(-1) end,
  function(_, plan) plan:take "1" end,
  function(_, plan) plan:take(0, 1.5) end,
  function(_, plan) plan:take(0, -3) end,
  function(_, plan) plan:reject(0) end,
  function(_, plan) plan.count = 7 end,
  function(_, plan) plan:no_such_method() end,
  function(view) view.now = 0 end,
  function(view) return view:request(12345) end,
}

--- Level 2.
function M.step(draw)
  return function(view, plan)
    for _ = 1, draw(12) do pick(PROPOSALS, draw)(view, plan, draw) end
    if draw(25) == 1 then pick(MISTAKES, draw)(view, plan) end
    if draw(40) == 1 then pick(WRONGS, draw)(view, plan) end
    if draw(3) > 1 then plan:fill() end
  end
end

return M
