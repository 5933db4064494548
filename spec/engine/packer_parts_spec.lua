-- In which order a step is packed, by packer.lua, against the same said in one piece, of drawn requests. What
-- the parts of the packer and the policy answer is drawn, too, and every call is noted in order.
local admissions = require "gdnmeta.engine.decide.admissions"
local array_of = require "gdnmeta.array_of"
local chunks = require "gdnmeta.engine.decide.chunks"
local decodes = require "gdnmeta.engine.decide.decodes"
local drawer = require "spec.support.drawer"
local packer = require "gdnmeta.engine.decide.packer"

local REQUESTS, STEP, NONE = 6, 40, -1
local doubles, int32s = array_of "double", array_of "int32_t"
local PARTS = { [admissions] = { "admit", "close" }, [chunks] = { "take" },
                [decodes] = { "limit", "split", "trim", "take", "take_all", "resume" } }

-- An engine whose answers are noted; the same draw gives the same ones.
local function world(case)
  local draw, log = drawer(16807 * case + 23), {}
  local function note(...) log[#log + 1] = table.concat({ ... }, " ") end
  local r = { key = doubles(REQUESTS), mark = {}, may_run = {}, is_decode = {} }
  local e = { requests = r, running = {}, work = int32s(REQUESTS), places = int32s(REQUESTS),
              fifo = { size = draw(3) - 1 }, is_hungry = draw(4) == 1, num_running = draw(REQUESTS + 1) - 1,
              step_number = STEP, changes = draw(2) - 1, has_paused = draw(2) == 1,
              plan = { tokens_left = draw(3) - 1 }, log = log, is_open = "open", is_opened = "opened" }
  local first = draw(REQUESTS)
  for i = 0, REQUESTS - 1 do
    e.running[i] = (first + i) % REQUESTS
    r.mark[i], r.may_run[i], r.is_decode[i] = draw(5) == 1 and 1 or 0, draw(6) > 1, draw(2) == 1
    r.key[i] = draw(4)
  end
  e.token_limits = { may_run = function(_, i) return r.may_run[i] end,
                     is_decode = function(_, i) return r.is_decode[i] end }
  local fails = draw(3) == 1 and 8 or 1e9 -- one call in so many
  local function answer() return draw(fails) > 1 end
  local hooks = { policy = { key = draw(3) > 1 or nil, static = draw(3) == 1, decode_first = draw(2) == 1 } }
  function hooks.keys(_, items, n, step)
    note("keys", n, step, items == e.work and items[0] or "?")
    for k = 0, n - 1 do r.key[items[k]] = draw(4) end
    return answer()
  end
  local queue, parts = {}, {}
  local function part(name, takes_queue, after)
    return function(given, its, a, b)
      assert(given == e)
      if name ~= "close" and name ~= "trim" and name ~= "split" then assert(its == hooks) end
      if takes_queue then assert(a == queue or its == queue) end
      note(name, tostring(takes_queue and b or a or ""), tostring(e.is_open), tostring(e.is_opened))
      if after then after(takes_queue and b or a) end
      return answer()
    end
  end
  local function marks(i) -- it comes in, or another leaves for it
    local other = draw(REQUESTS + 3) - 1
    if other < REQUESTS and i ~= nil then r.mark[other] = draw(3) - 2 end
  end
  for _, name in ipairs { "limit", "resume", "take_all", "take" } do
    parts[name] = part(name, false, marks)
  end
  parts.take_chunk = part("take chunk", false, marks)
  parts.admit, parts.close = part("admit", true, marks), part("close", true)
  function parts.trim(given, n)
    assert(given == e)
    note("trim", n)
  end
  function parts.split(given)
    assert(given == e)
    local n, m = 0, 0
    for at = 0, e.num_running - 1 do
      local i = e.running[at]
      if r.is_decode[i] then n = n + 1 else e.work[m], m = i, m + 1 end
    end
    note("split", n, m)
    return n, m
  end
  return e, hooks, queue, parts
end

-- A prompt's turn: those of the queue that go before it, then itself.
local function chunk_turn(e, hooks, queue, parts, i, merges)
  if merges and not parts.admit(e, hooks, queue, i) then return false end
  return e.requests.mark[i] ~= 0 or not e.requests.may_run[i] or parts.take_chunk(e, hooks, i)
end

local function pack_running(e, hooks, queue, parts)
  local r, policy = e.requests, hooks.policy
  local n, m = parts.split(e)
  parts.trim(e, n)
  local merges = policy.key and e.fifo.size > 0 and not e.is_hungry
  local function keyed() return policy.static or hooks:keys(e.work, m, STEP) end
  if m > 0 and not policy.decode_first then
    if merges and not keyed() then return false end
    for at = 0, e.num_running - 1 do
      local i = e.running[at]
      if r.mark[i] == 0 and r.may_run[i] then
        if r.is_decode[i] then
          if not parts.take(e, hooks, i) then return false end
        else
          if merges and not parts.admit(e, hooks, queue, i) then return false end
          if r.mark[i] == 0 and not parts.take_chunk(e, hooks, i) then return false end
        end
      end
    end
    return true
  end
  if not parts.take_all(e, hooks, n) then return false end
  local list = {}
  if m > 0 and policy.key and (m > 1 or merges) and not keyed() then return false end
  for k = 1, m do list[k] = e.work[k - 1] end
  if policy.key then
    local place = {}
    for k, i in ipairs(list) do place[i] = k end
    table.sort(list, function(a, b)
      if r.key[a] ~= r.key[b] then return r.key[a] < r.key[b] end
      return place[a] < place[b]
    end)
  end
  for _, i in ipairs(list) do
    if not chunk_turn(e, hooks, queue, parts, i, merges) then return false end
  end
  return true
end

local function fill_model(e, hooks, queue, parts)
  e.is_open, e.is_opened = false, false
  local ok = parts.limit(e, hooks) and pack_running(e, hooks, queue, parts)
    and parts.admit(e, hooks, queue, NONE)
  parts.close(e, queue)
  if ok and e.has_paused and e.plan.tokens_left > 0 then ok = parts.resume(e, hooks) end
  return ok
end

describe("A step is packed", function()
  local kept = {}
  before_each(function()
    for module, names in pairs(PARTS) do
      for _, name in ipairs(names) do kept[#kept + 1] = { module, name, module[name] } end
    end
  end)
  after_each(function()
    for _, entry in ipairs(kept) do entry[1][entry[2]] = entry[3] end
  end)

  it("in the policy's order, and no further than it answers", function()
    local outcomes = {}
    for case = 1, 4000 do
      local e, hooks, queue, parts = world(case)
      for module, names in pairs(PARTS) do
        for _, name in ipairs(names) do module[name] = parts[name] end
      end
      chunks.take = parts.take_chunk
      local ok = packer.fill(e, hooks, queue)
      local its, its_hooks, its_queue, its_parts = world(case)
      local want = fill_model(its, its_hooks, its_queue, its_parts)
      assert.are.same({ not not want, its.log }, { not not ok, e.log }, "case " .. case)
      outcomes[tostring(not not ok)] = (outcomes[tostring(not not ok)] or 0) + 1
    end
    assert.is_true(outcomes["true"] > 1000 and outcomes["false"] > 400)
  end)

  it("without a policy decodes first, with all that a prompt wants, and everybody comes in", function()
    local hooks = packer.BUILT_IN
    assert.are.same({ true, "built-in", true }, { hooks.is_built_in, hooks.policy.name,
                                                  hooks.policy.decode_first })
    assert.are.equal(7, hooks:chunk(1, 7))
    assert.are.same({ true, true }, { hooks:admit(1) })
  end)
end)
