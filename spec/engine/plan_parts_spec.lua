-- Every operation of a step's plan, drawn one after the other over pools and requests that are drawn, too:
-- what it asks of them, what it gives back, and all that the plan then holds, against a checksum of
-- spec/goldens/texts. All numbers are small, so that each limit is met from both sides and exactly.
local drawer = require "spec.support.drawer"
local golden = require "spec.support.golden"
local plans = require "gdnmeta.engine.plan"
local texts = require "spec.support.step_texts"

local SERIES, OPERATIONS, REQUESTS = 400, 60, 6

-- What stands around a plan: it answers by chance, and notes what it is asked.
local function surroundings(draw, note)
  local function answers(name, ...)
    local most = { ... }
    return function(_, ...)
      note(name)
      for n = 1, select("#", ...) do
        local value = select(n, ...)
        note(type(value) == "table" and "the plan" or value)
      end
      local given = {}
      for n, upto in ipairs(most) do
        if upto == true then given[n] = draw(2) == 1 else given[n] = draw(upto) - 1 end
      end
      return unpack(given)
    end
  end
  local states = { align = draw(2) == 1, limited = draw(3) > 1, per_request = draw(3), free_kv = draw(9),
                   needs = answers("needs", 6, 4), held_slots = answers("held slots", 4),
                   held_kv = answers("held kv", 4), behind = answers("behind", 3),
                   window = answers("window", 5, 5), missing_kv = answers("missing kv", 4),
                   free_slots = answers("free slots", 9),
                   prefix = draw(2) == 1 and { make_way = answers("make way", true) } or nil }
  local needs = states.needs
  function states.needs(...) -- of a step that never changes, the same
    local slots, kv = needs(...)
    return slots, states.limited and kv or 0
  end
  local outlook = { is_alone = answers("is alone", true), promised = answers("promised", 3),
                    promised_to_all = answers("promised to all", 3), lack = answers("lack", 4),
                    blocks = answers("blocks", 5) }
  local upkeep = { begin = answers "upkeep begins", forget = answers "forget", add = answers "add",
                   unplanned = answers("unplanned", 3), suffices = answers("suffices", true) }
  return states, outlook, upkeep
end

local function requests_of(draw)
  local r = { mark = {}, computed = {}, known = {}, flight = {}, kv_blocks = {} }
  for i = 0, REQUESTS - 1 do
    r.mark[i], r.computed[i], r.known[i] = 0, draw(5), draw(9)
    r.flight[i], r.kv_blocks[i] = draw(2) - 1, draw(4)
  end
  return r
end

-- Objects that an operation leaves as they are.
local APART = { requests = true, states = true, outlook = true, upkeep = true }

local function look(plan, r, note)
  local names = {}
  for name, value in pairs(plan) do
    local is_plain = type(value) == "number" or type(value) == "boolean"
    if not APART[name] and is_plain then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    note(name)
    note(plan[name])
  end
  for p = 0, plan.num_decodes - 1 do note(plan.decodes[p] * 100 + plan.drafts[p]) end
  for p = 0, plan.num_chunks - 1 do note(plan.chunks[p] * 100 + plan.tokens[p]) end
  for p = 0, plan.num_victims - 1 do note(plan.victims[p]) end
  for n = 1, plan.num_skipped do note(plan.skipped[n]) end
  for n = 1, plan.num_rejects do
    note(plan.rejects[n])
    note(plan.reasons[n])
  end
  for i = 0, REQUESTS - 1 do note(r.mark[i]) end
end

local OPERATIONS_OF = {
  put_decode = { 0, 3, true }, put_chunk = { 0, 4 }, is_coming = { 0, 9, 3 }, taken = { 0 }, preempt = { 0 },
  skip = { 0 }, reject = { 0, 9 }, close = {}, is_empty = {}, kv_spare = {}, fits = { 0, 4 },
  fits_now = { 0, 4 }, has_more = { 3, 3 }, would_fit = { 0, 4, 4, 4, 4 }, kv_growth = { 0 },
  admit = { 0, 4 }, let_in = { 0, 4 }, set_aside = { 0, 4 }, begin = { 9, 4, 4, 5, 3, 3 },
}
local WRITES = { put_decode = true, put_chunk = true, skip = true, reject = true, admit = true,
                 let_in = true }
local CHUNKS = { put_chunk = true, admit = true, let_in = true }
local NAMES = {}
for name in pairs(OPERATIONS_OF) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)
-- More often than others: what entries that were taken back leave to those that wait.
for _, name in ipairs { "preempt", "is_coming", "is_coming", "is_coming" } do NAMES[#NAMES + 1] = name end

-- Arguments: 0 is a request, true a yes or no, n a number below n.
local function arguments(draw, kinds)
  local list = {}
  for n, kind in ipairs(kinds) do
    if kind == true then list[n] = draw(2) == 1
    elseif kind == 0 then list[n] = draw(REQUESTS) - 1
    else list[n] = draw(kind) - 1 end
  end
  return list
end

local function play(case, note)
  local draw = drawer(48271 * case + 1)
  local states, outlook, upkeep = surroundings(draw, note)
  local r = requests_of(draw)
  local plan = plans.new(r, states, REQUESTS, draw(3) - 1, outlook, upkeep)
  look(plan, r, note)
  plan:begin(unpack(arguments(draw, OPERATIONS_OF.begin)))
  local done = 0
  for _ = 1, OPERATIONS do
    local name = NAMES[draw(#NAMES)]
    if name == "begin" and draw(4) > 1 then name = "close" end
    local list = arguments(draw, OPERATIONS_OF[name])
    local is_new = not WRITES[name] or r.mark[list[1]] == 0
    if CHUNKS[name] then list[2] = list[2] + 1 end
    if name == "preempt" and r.mark[list[1]] < 0 then is_new = false end
    if is_new then
      note(name)
      local a, b = plan[name](plan, unpack(list))
      note(a)
      note(b)
      look(plan, r, note)
      done = done + 1
    end
  end
  plan:begin(unpack(arguments(draw, OPERATIONS_OF.begin)))
  for i = 0, REQUESTS - 1 do assert.are.equal(0, r.mark[i]) end
  look(plan, r, note)
  return done
end

-- So many plans are sooner done than compiled.
describe("The operations of a plan", function()
  setup(jit.off)
  teardown(jit.on)

  it("come to these sums", function()
    local lines, sum, total = {}, 7, 0
    local function note(value) sum = texts.sum(sum, value) end
    for case = 1, SERIES do
      total = total + play(case, note)
      if case % 40 == 0 then
        lines[#lines + 1] = ("%d: %d operations: %.0f"):format(case, total, sum)
        sum, total = 7, 0
      end
    end
    golden("plan-parts", table.concat(lines, "\n") .. "\n")
  end)
end)
