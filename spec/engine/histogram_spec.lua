-- Histograms of the simulator (percentiles of many samples) and timelines (sums over time in a bounded
-- number of bins).
local histogram = require "gdnmeta.sim.histogram"
local timeline = require "gdnmeta.sim.timeline"
local workload = require "gdnmeta.sim.workload"

describe("samples #lua", function()
  it("have the nearest-rank percentiles of the sorted list", function()
    local random = workload.random(7)
    for case = 1, 200 do
      local s, list = histogram.new(), {}
      for i = 1, 1 + math.floor(random() * 60) do
        list[i] = math.floor(random() * 20)
        s:add(list[i])
      end
      table.sort(list)
      for _, p in ipairs { 0, 1, 25, 50, 90, 95, 99, 100 } do
        local want = list[math.max(1, math.ceil(#list * p / 100))]
        local where = ("case %d: p%d of %s"):format(case, p, table.concat(list, " "))
        assert.are.equal(want, s:percentile(p), where)
      end
      assert.are.equal(list[#list], s:max())
    end
  end)

  it("count what is added many times", function()
    local s = histogram.new()
    s:add(5, 98)
    s:add(1)
    s:add(9)
    assert.are.same({ 5, 5, 9, 100, 5 }, { s:percentile(50), s:percentile(99), s:max(), s.n, s:mean() })
    assert.are.same({ 99, 0 }, { s:count_upto(5), s:count_upto(0.5) })
    s:add(0, 900) -- after a percentile was asked for
    assert.are.equal(0, s:percentile(50))
  end)

  it("sum up in another unit", function()
    local s = histogram.new()
    for i = 1, 100 do s:add(i * 1e6) end
    assert.are.same({ n = 100, mean = 50.5, p50 = 50, p90 = 90, p95 = 95, p99 = 99, max = 100 },
      s:summary(1e-6))
  end)

  it("of nothing have no percentile", function()
    local s = histogram.new()
    assert.is_nil(s:percentile(50))
    assert.is_nil(s:mean())
    assert.are.same({ n = 0 }, s:summary())
  end)
end)

describe("a timeline #lua", function()
  it("keeps the sums of a run that outgrows its bins", function()
    local t = timeline.new({ "tokens" }, 0.5)
    for i = 0, 9999 do
      local bin = t:step(i * 0.25)
      t.sums.tokens[bin] = t.sums.tokens[bin] + i % 7
    end
    local steps, sum, points = 0, 0, t:points()
    for i, p in ipairs(points) do
      steps, sum = steps + p.steps, sum + p.tokens * p.steps
      assert.is_true(i == 1 or p.t > points[i - 1].t)
    end
    local want = 0
    for i = 0, 9999 do want = want + i % 7 end
    assert.are.equal(10000, steps)
    assert.is_true(math.abs(want - sum) < 1e-6)
    assert.are.equal(16, t.width) -- 240 bins of 16 s hold 2,500 s, of 8 s they would not
    assert.are.equal(math.ceil(2500 / 16), #points)
  end)

  it("has points of single steps while it is short", function()
    local t = timeline.new({ "rows" }, 1)
    for _, at in ipairs { 0.5, 2.5 } do
      local bin = t:step(at)
      t.sums.rows[bin] = t.sums.rows[bin] + at
    end
    assert.are.same({ { t = 0.5, steps = 1, rows = 0.5 }, { t = 2.5, steps = 1, rows = 2.5 } }, t:points())
  end)
end)
