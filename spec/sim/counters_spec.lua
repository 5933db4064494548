-- What a run adds up, fed by hand with every kind of event, whole against spec/goldens/texts; and figures
-- that are worked out here.
local ffi = require "ffi"
local counters = require "gdnmeta.sim.counters"
local noted = require "spec.support.noted"

local notes = noted.new "sim-"
local note, check = notes.note, notes.check

local MS = 1e6 -- ns

local ARRAYS = { "arrival", "first", "last", "start", "got", "done", "waits", "stall", "attained" }

-- All fields: samples by their figures, arrays as lists.
local function note_all(c)
  local names = {}
  for name in pairs(c) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = c[name]
    if type(value) == "table" and value.summary then
      note(name, value.sum, value.counts)
    elseif type(value) == "cdata" then
      note(name .. "'s bytes", ffi.sizeof(value))
    elseif name ~= "user" and name ~= "class_itl" and name ~= "timeline" then
      note(name, value)
    end
  end
  for _, name in ipairs(ARRAYS) do
    local list = {}
    for i = 0, c.n do list[i + 1] = c[name][i] end
    note(name, list)
  end
  for k, samples in ipairs(c.class_itl) do note("class " .. k, samples.sum, samples.counts) end
  note("timeline", c.timeline:points())
  note("fairness", c.fairness:figures(10, c.ended))
end

local function facts(k, has_cache)
  return { kind = counters.KINDS[k % 3 + 1], rows = 3 + k % 4, tokens = 20 + 7 * k % 11, padded = 40 + k % 2,
           prefill = 11 * k % 17, decode = 5 * k % 7, waiting = 3 * k % 5, running = k % 4, slots = 9 - k,
           asked = has_cache and 30 * k or nil, hit = has_cache and 10 * k or nil }
end

-- Six requests: the second is preempted, the fourth turned away while it waits, the fifth while it runs, the
-- sixth never runs.
local function play(c, has_cache)
  for i = 1, 6 do
    c:arrive(i, { prompt = 10 * i, user = i % 3 > 0 and "u" .. i % 3 or nil, weight = i % 3 + 1 }, i * MS)
  end
  for i = 1, 3 do c:admit(i, { prompt = 10 * i }, (6 + 3 * i) * MS) end
  c:admit(5, { prompt = 50 }, 20 * MS)
  c:reject(4, 21 * MS, "first reason")
  for k = 1, 8 do
    local now = (20 + 5 * k) * MS
    c:step(facts(k, has_cache), now, k * MS)
    if k == 3 then c:preempt(2, now) end
    if k == 5 then c:admit(2, { prompt = 20 }, now) end
    c:emit(1, k % 3 + 1, now)
    if k < 3 or k > 5 then c:emit(2, 1, now) end
    if k % 2 == 0 then c:emit(3, 1, now) end
    if k < 4 then c:emit(5, 2, now) end
    if k > 2 then c:speculate(k, k - 2) end
  end
  c:reject(5, 61 * MS, "second reason")
  c:finish(1, 60 * MS, 30 * MS, 5 * MS)
  c:finish(2, 60 * MS, 30 * MS, 20 * MS, 14 * MS)
  c:finish(3, 60 * MS, 12 * MS, 20 * MS)
  c:close(70 * MS, 5 * MS)
end

describe("What a run adds up #lua", function()
  before_each(notes.clear)

  it("is this, of classes and a cache and without", function()
    local classes = { names = { "a", "b" }, of = { 1, 2, 1, 2, 1, 2 } }
    for _, has_cache in ipairs { false, true } do
      local c = counters.new(6, has_cache and classes or nil, has_cache)
      play(c, has_cache)
      note("with " .. tostring(has_cache))
      note_all(c)
    end
    check "counters"
  end)

  it("counts gaps by how many tokens a step gave, up to 64 drafts and one", function()
    local c = counters.new(1)
    c:arrive(1, { prompt = 1 }, 0)
    c:admit(1, { prompt = 1 }, 0)
    c:emit(1, 1, 100)
    c:emit(1, 65, 100 + 6500)
    c:emit(1, 64, 100 + 13000)
    c:finish(1, 13100, 100, 6500)
    c:close(13100)
    assert.are.same({ [6500] = 2 }, c.itl.counts)
    assert.are.same({ [100] = 65, [6500 / 64] = 64 }, c.itl_token.counts)
    assert.are.same({ 1, 1, 0 }, { c.finished, c.met, c.stalled })
    assert.are.same({ 66 + 64, 100, 13100 / 130 }, { c.emitted, c.ttft:max(), c.normalised:max() })
  end)

  it("has a target met at the target, and missed one past it", function()
    local function met(ttft, tpot, gap, first, later)
      local c = counters.new(1)
      c:arrive(1, { prompt = 1 }, 0)
      c:admit(1, { prompt = 1 }, 0)
      c:emit(1, 1, first)
      c:emit(1, 2, first + later)
      c:finish(1, first + later, ttft, tpot, gap)
      return { c.met, c.stalled }
    end
    assert.are.same({ 1, 0 }, met(50, 100, nil, 50, 200))
    assert.are.same({ 0, 0 }, met(49, 100, nil, 50, 200))
    assert.are.same({ 0, 0 }, met(50, 99, nil, 50, 200))
    assert.are.same({ 1, 0 }, met(50, 100, 200, 50, 200))
    assert.are.same({ 0, 1 }, met(50, 100, 199, 50, 200))
    assert.are.same({ 0, 0 }, met(50, 20, nil, 50, 200)) -- ten times the mean's target
    assert.are.same({ 0, 1 }, met(50, 19.9, nil, 50, 200))
  end)

  it("keeps the time of the last token of a request that began and is turned away", function()
    for start = 0, 1 do
      local c = counters.new(2)
      for i = 1, 2 do c:arrive(i, { prompt = 1 }, 0) end
      c:admit(1, { prompt = 1 }, start)
      c:emit(1, 1, 5)
      for i = 1, 2 do c:reject(i, 9, "why") end
      c:close(20, 1)
      assert.are.same({ 5, 9 }, { c.last[1], c.last[2] })
      assert.are.same({ 9, 2 }, { c.longest_wait, c.longest_waiter })
      c = counters.new(1)
      c:arrive(1, { prompt = 1 }, 0)
      c:admit(1, { prompt = 1 }, start)
      c:emit(1, 1, 5)
      c:close(20, 1)
      assert.are.equal(start, c.longest_wait)
    end
  end)

  it("has waited too long past ten times the first token's target", function()
    for _, case in ipairs { { 1000, 0 }, { 1001, 1 } } do
      local c = counters.new(2)
      c:arrive(1, { prompt = 1 }, 0)
      c:admit(1, { prompt = 1 }, case[1])
      c:close(2000, 100)
      assert.are.same({ case[2], case[1], 1 }, { c.starved, c.longest_wait, c.longest_waiter })
    end
  end)
end)
