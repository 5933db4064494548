-- Parts of the simulator by themselves, over grids of small inputs: what comes of each, against
-- spec/goldens/texts.
local identical_runs = require "gdnmeta.report.identical_runs"
local compare = require "gdnmeta.report.compare"
local cost = require "gdnmeta.sim.cost"
local fairness = require "gdnmeta.sim.fairness"
local fit = require "gdnmeta.sim.fit"
local numbers = require "gdnmeta.sim.numbers"
local noted = require "spec.support.noted"
local max_rate = require "gdnmeta.report.max_rate"
local nnls = require "gdnmeta.sim.nnls"
local histogram = require "gdnmeta.sim.histogram"
local sweep = require "gdnmeta.report.sweep"
local timeline = require "gdnmeta.sim.timeline"
local workload = require "gdnmeta.sim.workload"

local notes = noted.new "sim-"
local note, check = notes.note, notes.check

-- Steps as a server would log them, from a planted model.
local function logged(planted, n, noise, attends)
  local random, model, steps = workload.random(n), cost.new(planted), {}
  for k = 1, n do
    local seqs = math.floor(random() * 40)
    local prefill = random() < 0.5 and 0 or math.floor(random() * 3000)
    local tokens, context = seqs + prefill + math.floor(random() * 8), math.floor(seqs * random() * 3000)
    local attention = attends and prefill * prefill / 2 or 0
    local ms = model:device_ms(tokens, prefill, seqs, context, attention, 0, false)
    steps[k] = { tokens_padded = tokens, prefill_tokens = prefill, seqs = seqs, ctx_sum = context,
                 att_sum = attention, ms = ms * (1 + noise * (random() - 0.5)) }
  end
  return steps
end

describe("Of the simulator #lua", function()
  before_each(notes.clear)

  it("the fit of step costs", function()
    local models = {
      { c0 = 2, c_w = 8, c_tok = 0.02, c_pf = 0.05, c_seq = 0.1, c_ctx = 1e-5 }, { c0 = 5 },
      { c0 = 2, c_w = 10, c_tok = 0.07, c_seq = 0.12, c_ctx = 2e-5, overlap = 1 },
      { c0 = 1, c_tok = 0.01, c_att = 1e-6, overlap = 1 }, { c0 = 0.1, c_pf = 0.1, c_att = 1e-7, c_seq = 1 },
    }
    for i, planted in ipairs(models) do
      for _, n in ipairs { 8, 30, 90 } do
        for _, noise in ipairs { 0.1, 0.6 } do
          local result = fit.steps(logged(planted, n, noise, i > 3))
          -- Of the digits, those that no machine's libm changes.
          for name, value in pairs(result.coefficients) do
            result.coefficients[name] = tonumber(("%.4g"):format(value))
          end
          for _, b in ipairs(result.by_batch) do
            for _, name in ipairs { "mean_ms", "mean_error_ms", "mape" } do
              b[name] = tonumber(("%.3f"):format(b[name]))
            end
          end
          result.mape = tonumber(("%.3f"):format(result.mape))
          note(("model %d of %d steps, noise %g:"):format(i, n, noise), result)
        end
      end
    end
    for n = 1, 6 do -- columns; the last depends on the first
      local random, rows, b = workload.random(n), {}, {}
      for k = 1, 9 do
        rows[k], b[k] = {}, random() - 0.2
        for i = 1, n do rows[k][i] = random() - 0.4 end
        if n > 3 then rows[k][n] = 2 * rows[k][1] end
      end
      local x = nnls.solve(rows, b)
      for i = 1, n do x[i] = tonumber(("%.6g"):format(x[i])) end
      note("least squares", x)
    end
    check "fits"
  end)

  it("the search for the highest rate", function()
    for _, good in ipairs { false, 4, 5 } do
      for _, bad in ipairs { false, 5, 8 } do
        for _, tried in ipairs { 1, 10, 11 } do
          if good or bad then
            note("next", good, bad, tried,
              max_rate.next({ good = good or nil, bad = bad or nil }, 0.25, tried))
          end
        end
      end
    end
    local runs = {}
    for i = 1, 12 do -- in no order, some at no rate
      local rate = i % 5 ~= 0 and i * 7 % 12 or nil
      runs[i] = { policy = i % 3 == 0 and "b" or "a", setup = { rate = rate },
        attainment = rate and 1 - rate / 20 or 1 }
    end
    for _, share in ipairs { 0.45, 0.6, 0.9, 1, 1.1 } do
      for _, policy in ipairs(max_rate.policies(runs)) do
        local b = max_rate.bracket(runs, policy, share)
        note("bracket", share, policy, b.good, b.bad, b.run and b.run.setup.rate)
      end
    end
    max_rate.sort(runs)
    for _, run in ipairs(runs) do note("sorted", run.policy, run.setup.rate) end
    for _, width in ipairs { 0.5, 0.02, 1e-4 } do
      for _, limit in ipairs { 0.3, 7.3, 40, 1e9 } do
        local said, rates = {}, limit == 40 and { 3 } or { 2, 8 }
        local found = assert(sweep.search({ "p", "p", "q" }, rates, 0.9, width, function(cells)
          assert.is_true(#cells > 0)
          local list = {}
          for i, cell in ipairs(cells) do
            said[#said + 1] = ("%s@%.6g"):format(cell.policy, cell.rate)
            list[i] = { policy = "x", setup = { rate = cell.rate },
              attainment = cell.rate <= limit and 0.9 or 0.8 }
          end
          return list
        end))
        note("search", width, limit, table.concat(said, " "))
        for i, run in ipairs(found) do said[i] = ("%s@%.6g"):format(run.policy, run.setup.rate) end
        note("in order", table.concat(said, " ", 1, #found))
      end
    end
    local rounds = 0
    assert(sweep.search({ "p" }, { 2, 8 }, 0.9, 1e-12, function(cells)
      local list = {}
      for i, cell in ipairs(cells) do
        list[i] = { policy = "x", setup = cell, attainment = cell.rate <= 7.3 and 0.9 or 0.8 }
      end
      rounds = rounds + 1
      return list
    end))
    note("rounds", rounds)
    note("refused", sweep.search({ "p" }, { 1 }, 0.9, 0.1, function() return nil, "why" end))
    note("labels", sweep.labels({ "a/x.lua", "b/x.lua", "y", "c/z.lua" },
      { { policy = "x" }, { policy = "x" }, { policy = "y" }, { policy = "z" } }))
    local two = { {}, {} }
    local label = sweep.labels(two, { { policy = "x" }, { policy = "x" } })
    note("labels", label[two[1]], label[two[2]])
    note("own rates", sweep.own_rates { requests = { { arrival = 0, prompt = 1, output = 1 },
                                                     { arrival = 4, prompt = 1, output = 1 } } })
    note("own rates", sweep.own_rates { requests = { { arrival = 4, prompt = 1, output = 1 } } })
    check "search"
  end)

  -- All lists of up to four runs: three alike, below the share and with tokens, need no lower rate.
  it("where no lower rate will do", function()
    local SHARES = { 0.5, 0.75, 0.9 }
    local TTFTS = { false, { p50 = 1, p90 = 2 }, { p50 = 1, p90 = 3 }, { p50 = 2, p90 = 2 } }
    local kinds = #SHARES * #TTFTS
    for n = 0, 4 do
      for which = 0, kinds ^ n - 1 do
        local runs, of = {}, {}
        for i = 1, n do
          of[i] = math.floor(which / kinds ^ (i - 1)) % kinds
          runs[i] = { policy = "p", setup = { rate = i }, attainment = SHARES[of[i] % #SHARES + 1],
                      ttft = TTFTS[math.floor(of[i] / #SHARES) + 1] or nil }
        end
        local is_settled = n > 2 and of[1] == of[2] and of[2] == of[3] and runs[1].attainment < 0.75
          and runs[1].ttft ~= nil
        local found = max_rate.bracket(runs, "p", 0.75).settled
        if found ~= (is_settled or nil) then assert.are.same({ is_settled or nil }, { found }, which) end
      end
    end
  end)

  it("the comparison of runs", function()
    local function run(list, other)
      return { policy = "p", requests = #list, per_request = list[1] ~= nil and { ttft = list,
        e2e = other or list } }
    end
    local one, two = {}, {}
    for i = 1, 101 do one[i], two[i] = i, i + i * 37 % 101 - 50 end
    note("pair", compare.pair(run(one), run(two)))
    note("pair", compare.pair(run { 1, 2, 3, 4, 5, 6, 7 }, run { 2, 2, 2, 2, 9, 9, 9 }))
    note("pair", compare.pair(run { false, 1 }, run { 1, false }))
    note("pair", compare.pair(run { 1 }, run { 1, 2 }))
    note("pair", compare.pair(run { 1 }, run {}))
    note("pair", compare.pair(run {}, run { 1 }))
    note("pair", compare.pair(run {}, run {}))
    note("sentences", compare.sentences { run { 1, 2 }, run { 2, 2 }, run { false, false }, run { 1, 1 },
      run { 1 } })
    -- Every figure that is compared, other in one of two runs.
    local function figures(field, point)
      local r = { setup = { rate = 1, distinct = { users = 1, classes = 2, priorities = 1 } }, timeline = {} }
      for _, name in ipairs { "steps", "seconds", "scheduled", "emitted", "preemptions", "rejected",
        "finished" } do
        r[name] = name == field and 2 or 1
      end
      for _, name in ipairs { "ttft", "itl", "e2e", "queue" } do
        r[name] = {}
        for _, p in ipairs { "n", "mean", "p50", "p90", "p99", "max" } do
          r[name][p] = name == field and p == point and 2 or 1
        end
      end
      if field == "rate" then r.setup.rate = 2 end
      return r
    end
    for _, field in ipairs { "none", "rate", "steps", "seconds", "scheduled", "emitted", "preemptions",
      "rejected",
                             "finished" } do
      note("same but " .. field, identical_runs.same(figures(), figures(field)))
    end
    for _, field in ipairs { "ttft", "itl", "e2e", "queue" } do
      for _, point in ipairs { "n", "mean", "p50", "p90", "p99", "max", "p95" } do
        note(("same but %s.%s"):format(field, point), identical_runs.same(figures(), figures(field, point)))
      end
    end
    local list = { figures(), figures "steps", figures(), figures "steps", figures(), figures "rate" }
    note("twins", identical_runs.twins(list))
    note("names", identical_runs.names(list, { "a", "b", "c", "d", "a", "f" }))
    note("sentences", identical_runs.sentences(list, { "a", "b", "c", "d", "e", "f" }))
    list[1].timeline[1] = { waiting = 0 }
    list[2].timeline = { { waiting = 0 }, { waiting = 3 } }
    note("sentences", identical_runs.sentences(list, { "a", "b", "c", "d", "e", "f" }))
    list[1].setup.distinct, list[2].setup.distinct = nil, { users = 2, classes = 2, priorities = 2 }
    list[1].timeline = nil
    note("sentences", identical_runs.sentences(list, { "a", "b", "c", "d", "e", "f" }))
    check "comparison"
  end)

  it("samples, bins, numbers and shares of service", function()
    for _, n in ipairs { 0, 1, 2, 3, 10, 100, 101 } do
      local s = histogram.new()
      for i = 1, n do s:add(i * 7 % 13, i % 3 + 1) end
      local list = {}
      for _, p in ipairs { 0, 1, 33, 50, 66, 90, 99, 100 } do list[#list + 1] = tostring(s:percentile(p)) end
      note("samples " .. n, table.concat(list, " "), s:mean(), s:max(), s:count_upto(6), s:summary(2))
      s:add(-5)
      note("samples and one", s:percentile(0), s:summary())
    end
    for _, ends in ipairs { 0, 0.4, 2.39, 2.4, 2.41, 30 } do
      local t = timeline.new({ "x", "y" }, 0.01)
      for at = 0, ends, 0.1 do
        local bin = t:step(at)
        t.sums.x[bin], t.sums.y[bin] = t.sums.x[bin] + at, t.sums.y[bin] + 1
      end
      local points = t:points()
      note("bins " .. ends, #points, points[1], points[2], points[#points], t.width, t.last)
    end
    note("bin", timeline.new({}).width)
    for _, x in ipairs { 0, 0.0123, 0.0999, 0.1, 0.5, 9.994, 9.995, 9.996, 99.94, 99.95, 100, 999.5, 1234.5,
      1e6, -0.001,
                         -0.0004, -7, -12345.678, 1e12 } do
      note("number", x, numbers.count(x), numbers.count(x, 2), numbers.number(x), numbers.number(x, 1),
        numbers.percent(x),
        numbers.percent(x / 100), numbers.percent(x, 3))
    end
    note("none", numbers.number(nil), numbers.number(0 / 0), numbers.percent(nil))
    note("alike", numbers.alike(numbers.number, { 1, nil, 0.01, 1234 }, 5),
      numbers.alike(numbers.count, {}, 1))
    note("columns", numbers.columns { { "a", "bb" }, { "heading that is long" }, { "ccc", "d", "e" }, {} })
    note("html", numbers.html 'a<b>&"c"\n')
    local f = fairness.new()
    local a, b, c = f:user("a"), f:user("b", 2), f:user "c"
    note("account", a, f:user("a", 9) == a)
    for t = 0, 40 do
      if t % 5 == 0 then f:wait(a, t) end
      if t % 7 == 1 then f:wait(b, t) end
      if t == 3 or t == 30 then f:wait(c, t) end
      if t % 3 == 0 then fairness.serve(a, t, 2, t) end
      if t % 4 == 0 then fairness.serve(b, 10, 1, t) end
      f:observe()
      if t % 5 == 4 then f:leave(a, t) end
      if t % 7 == 6 then f:leave(b, t) end
      if t == 20 then f:leave(c, t) end
      if t % 8 == 0 then note("fairness at " .. t, f:figures(10, t)) end
    end
    check "numbers"
  end)
end)
