-- Policies of every make, drawn at random: which hooks there are, what they look at and what they return.
-- What a hook says depends on what it sees alone, so a policy does the same in every run.
local M = {}

local random = math.random
local SHIPPED = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }
local OF_REQUEST = { "max_tokens", "known", "preemptions", "weight", "priority", "arrival", "deadline",
                     "ttft", "tpot", "last_emit", "prompt_tokens", "computed_tokens", "id", "user", "class",
                     "want", "is_decode", "age", "emitted", "slots", "cached_prefix", "user_waiting",
                     "user_requests", "session", "junction", "prompt_end", "cached_tokens", "hit" }
local NUMBERS = { "max_tokens", "known", "preemptions", "priority", "arrival", "prompt_tokens",
                  "computed_tokens", "id", "want", "age", "emitted", "slots", "cached_prefix", "user_waiting",
                  "user_requests" }
local OF_STEP = { "aging", "rekey_limit", "max_drafts", "chunk_multiple", "now", "step", "tokens_left",
                  "prefill_taken", "requests_left", "slots_left", "kv_left", "running", "waiting",
                  "min_slack" }

local function chance(p) return random() < p end
local function pick(list) return list[random(#list)] end

-- A number below n, from whole numbers.
local function mix(n, ...)
  local sum = 12345
  for k = 1, select("#", ...) do sum = (sum * 1103 + select(k, ...) * 7919 + 12821) % 2147483647 end
  return sum % n
end

-- Some fields, weighted.
local function blend()
  local a, b, x, y = pick(NUMBERS), pick(NUMBERS), random(-3, 3), random(-3, 3)
  return function(r) return x * r[a] + y * r[b] end
end

local function reader(names, log)
  return function(what)
    for _, name in ipairs(names) do log(what[name]) end
  end
end

-- Hooks of levels 0 and 1. `fails`: one call in so many.
local function hooks(log, fails)
  local see_r, see_ctx = reader(OF_REQUEST, log), reader(OF_STEP, log)
  local function guarded(salt, hook)
    return function(r, a, b)
      local ctx = b or a
      if fails > 0 and mix(fails, salt, r.id, ctx.step) == 0 then error("on purpose", 0) end
      return hook(r, a, ctx)
    end
  end
  local p = { decode_first = chance(0.7), static = chance(0.3) }
  p.group = pick { "user", "class", false, false } or nil
  if chance(0.3) then
    p.order = pick(SHIPPED)
    p.decode_first, p.static, p.group = nil, nil, nil
  elseif chance(0.9) then
    p.key = guarded(1, blend())
  end
  if chance(0.4) then
    p.admit = guarded(2, function(r, _, ctx)
      local n = mix(60, r.id, ctx.step)
      if n == 0 then return nil, "not today" end
      return n > 20
    end)
  end
  local form = random(6)
  if form == 1 then p.chunk = 16 + random(20) elseif form == 2 then
    p.chunk = guarded(3, function(r, want, ctx)
      if mix(5, r.id, ctx.step, 3) == 0 then return 0 end
      return math.max(mix(want + 1, r.id, ctx.step), ctx.chunk_multiple)
    end)
  elseif form == 3 then p.chunk = function(_, want) return mix(2, want) == 0 and math.huge or want end end
  form = random(5)
  if form == 1 then p.drafts = random(0, 3) elseif form == 2 then
    p.drafts = guarded(4, function(r, most, ctx) return mix(most + 1, r.id, ctx.step) end)
  end
  form = random(3)
  if form == 1 then p.victim = pick { "last", "least_computed", "most_computed" } elseif form == 2 then
    p.victim = guarded(5, blend())
  end
  form = random(4)
  if form == 1 and type(p.victim) == "function" then p.preempt_for = true elseif form == 2 then
    p.preempt_for = guarded(6, blend())
  elseif form == 3 then p.preempt_for = false end
  for salt, name in ipairs { "on_admit", "on_arrival", "on_finish", "on_preempt" } do
    if chance(0.5) then
      p[name] = guarded(10 + salt, function(r, _, ctx)
        log(salt)
        see_r(r)
        see_ctx(ctx)
      end)
    end
  end
  if chance(0.5) then
    p.on_emit = function(r, n, ctx)
      log(n)
      see_r(r)
      log(ctx.now)
    end
  end
  return p
end

local METHODS = { "take", "take", "take", "take", "admit", "admit", "admit", "skip", "preempt", "reject" }

-- Level 2: what it proposes depends on the request and the step.
local function whole_step(log, fails)
  local see_r, see_ctx = reader(OF_REQUEST, log), reader(OF_STEP, log)
  local salt, fills, reads = random(1000), chance(0.7), chance(0.5)
  return function(view, plan)
    local step = view.step
    see_ctx(view)
    if fails > 0 and mix(fails, salt, step) == 0 then error("on purpose", 0) end
    local function act(i)
      local r = view:request(i)
      if reads then see_r(r) end
      local method = METHODS[mix(#METHODS, salt, r.id, step) + 1]
      local n = mix(4, salt, r.id, step, 1) == 0 and mix(r.want + 1, r.id, step) or nil
      if mix(9, salt, r.id, step, 2) == 0 or (method == "preempt" or method == "reject")
        and mix(6, salt, r.id, step, 4) > 0 then method = "take" end
      if method == "reject" then n = "not today" end
      local granted, why = plan[method](plan, i, n, method == "take" and n and mix(3, r.id, step) or nil)
      log(granted)
      log(why)
    end
    for i in view:running() do act(i) end
    for i in view:waiting() do act(i) end
    if fills or mix(3, step) == 0 then
      plan:fill()
      local tokens, seats, slots, kv = plan:left()
      for _, left in ipairs { tokens, seats, slots, kv } do log(left) end
    end
  end
end

--- A policy, and a word for it. log(value) hears what it is shown.
---@return table|string|function policy
---@return string kind
function M.draw(log)
  local kind, fails = random(10), chance(0.2) and random(20, 60) or 0
  if kind <= 2 then
    local name = pick(SHIPPED)
    return name, name
  end
  if kind == 3 then return { step = whole_step(log, fails), trusted = chance(0.5) or nil }, "a whole step" end
  local p = hooks(log, fails)
  p.trusted = chance(0.5) or nil
  local names = {}
  for name, value in pairs(p) do
    if type(value) == "function" then names[#names + 1] = name end
  end
  table.sort(names)
  return p, (p.group and "by " .. p.group .. " " or "") .. (p.order or "") .. " " .. table.concat(names, " ")
end

return M
