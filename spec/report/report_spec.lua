-- Comparisons of runs, and reports as text and as pages.
local compare = require "gdnmeta.report.compare"
local charts = require "gdnmeta.report.charts"
local html = require "gdnmeta.report.pages"
local metrics_table = require "gdnmeta.report.metrics_table"
local pages = require "gdnmeta.report.html"
local gnuplot = require "gdnmeta.report.gnuplot"
local report = require "gdnmeta.report.text"
local sim = require("gdnmeta").sim
local stylesheet = require "gdnmeta.report.stylesheet"

local function run(opts)
  local o = { preset = "constant-20ms", measure = false, workload = { requests = 40, rate = 8 } }
  for name, value in pairs(opts or {}) do o[name] = value end
  return assert(sim.run(o))
end

describe("a comparison #lua", function()
  local function with(ttft, e2e)
    return { requests = #ttft, policy = "p", per_request = { ttft = ttft, e2e = e2e } }
  end

  it("pairs the requests of two runs", function()
    local d = assert(compare.pair(with({ 10, 20, 30, false }, { 50, 60, 70, false }),
      with({ 12, 15, 30, 9 }, { 50, 61, 72, 9 })))
    assert.are.same({ n = 3, better = 1, worse = 1, mean = -1, p10 = -5, p50 = 0, p90 = 2 }, d.ttft)
    assert.are.same({ n = 3, better = 0, worse = 2, mean = 1, p10 = 0, p50 = 1, p90 = 2 }, d.e2e)
  end)

  it("refuses runs of different workloads", function()
    assert.are.same({ nil, "1 requests against 2: not one workload" },
      { sim.compare { with({ 1 }, { 1 }), with({ 1, 2 }, { 1, 2 }) } })
  end)
end)

describe("a report #lua", function()
  it("marks the best of several, and none where all are alike", function()
    local section = { "S", { "x", "ms", function(r) return r.x end, tostring, better = "low" },
                      { "y", "", function(r) return r.y end, tostring, better = "high" },
                      { "z", "", function(r) return r.z end, tostring } }
    assert.are.same({
      { label = "x", unit = "ms", texts = { "1", "2", "1" }, best = { true, false, true } },
      { label = "y", unit = "", texts = { "5", "5", "5" }, best = { false, false, false } },
    }, metrics_table.filled(section, { { x = 1, y = 5 }, { x = 2, y = 5 }, { x = 1, y = 5 } }))
  end)

  it("has one scale a line, and one a column of a sweep", function()
    local section = { "S", { "x", "ms", function(r) return r.x end, require("gdnmeta.sim.numbers").number,
                             better = "low" } }
    assert.are.same({ { label = "x", unit = "ms", texts = { "9.99", "1,234.00", "-" },
                        best = { true, false, false } } },
      metrics_table.filled(section, { { x = 9.99 }, { x = 1234 }, {} }))
    local a, b = run { rate = 2 }, run { rate = 40 }
    local texts = report.sweep_texts { a, b }
    assert.are.same({ "2.00", "40.00" }, { texts[1][1], texts[2][1] })
    assert.matches("\nfcfs +2%.00 .*\n +40%.00 ", report.sweep({ a, b }, 0.9))
  end)

  it("says what was run, and the figures line by line", function()
    local r = run { requests = { { arrival = 0, prompt = 3, output = 3 },
                                 { arrival = 0, prompt = 1, output = 1 } } }
    r.setup.workload = "two"
    local text = report.report(r)
    assert.matches("^workload   two, 2 requests, seed 1\nstep cost  constant%-20ms %(", text)
    for _, line in ipairs {
      "  time to first token, p50                        ms  20.0",
      "  gap between tokens, p99                         ms  20.0",
      "  steps                                                  3",
      "fcfs: 6 tokens scheduled = 6 (prompt + output - 1 of each); 4 emitted = all outputs",
    } do
      assert.is_truthy(text:find("\n" .. line, 1, true), line .. "\nin\n" .. text)
    end
  end)

  it("says what a policy did wrong", function()
    local r = run { policy = { name = "faulty", chunk = function() return 0/0 end } }
    assert.are.equal(40, r.finished)
    assert.matches("\nfaulty failed: the built%-in policy made [%d,]+ steps; step 1, chunk: chunk returned",
      report.report(r))
  end)

  it("says how many were turned away, and why the first was", function()
    local text = report.report(run { kv_tokens = 16, workload = { requests = 20 } })
    assert.matches("\nfcfs turned 20 of 20 requests away, the first was request 1: "
      .. "needs %d+ blocks of attention cache, want at most 1\n", text)
  end)

  it("has a line of names and a line of units above a sweep", function()
    local text = report.sweep({ run { rate = 2 } }, 0.9)
    assert.matches("^ +rate +within targets +goodput [^\n]+\n +1/s +%% +1/s +ms +ms +ms *\nfcfs +2.00 ", text)
  end)

  it("says what came from a cache where one of the runs has one", function()
    local with, without = run { workload = { kind = "agents", sessions = 2 }, cache = true }, run()
    for wanted, lists in pairs { [true] = { { with }, { without, with }, { with, without } },
                                 [false] = { { without }, { without, without } } } do
      for _, runs in ipairs(lists) do
        local columns = report.sweep_columns(runs)
        assert.are.equal(wanted, columns[#columns][1] == "from the cache")
      end
    end
  end)

  it("names the rates where they differ", function()
    assert.are.same({ "fcfs" }, report.names { run() })
    assert.are.same({ "fcfs @ 2.00/s", "fcfs @ 4.00/s" }, report.names { run { rate = 2 }, run { rate = 4 } })
  end)
end)

describe("a page #lua", function()
  it("escapes what stands in names and commands", function()
    local r = run()
    r.policy = "<script>alert(1)</script>"
    local page = html.simulate({ r }, "gdnmeta simulate --policy '<script>' & \"so\"")
    assert.is_nil(page:find("<script", 1, true))
    assert.is_truthy(page:find("--policy '&lt;script&gt;' &amp; &quot;so&quot;</pre>", 1, true))
  end)

  it("names the pictures that it lacks, by reason", function()
    local tokens, slots = charts.tokens, charts.slots
    charts.tokens = function(_, name) return nil, "gnuplot: <no>", "Tokens per step: " .. name end
    charts.slots = function() return nil, "no data", "State slots" end
    local page = html.simulate({ run(), run() }, "x")
    charts.tokens, charts.slots = tokens, slots
    local missing = "(gnuplot: &lt;no&gt;): Tokens per step: fcfs, Tokens per step: fcfs."
    assert.is_truthy(page:find(missing, 1, true))
    assert.is_truthy(page:find("(no data): State slots.", 1, true))
    assert.are.equal(gnuplot.available(), page:find("<figure>", 1, true) ~= nil)
  end)

  it("of runs without a rate has no curves over the rates", function()
    local page = html.sweep({ run { workload = { requests = 1 } } }, 0.9, "x")
    assert.is_truthy(page:find "%(no data%): [^.]*Goodput, Within the targets")
    assert.is_truthy(page:find("fcfs", page:find "<table", true)) -- the first run stands for those at a rate
  end)

  it("is whole: every element that is opened is closed", function()
    local a, b = run { rate = 4 }, run { rate = 9 }
    for _, page in ipairs { html.simulate({ a, b }, "x"), html.sweep({ a, b }, 0.9, "x") } do
      for _, tag in ipairs { "main", "table", "tr", "td", "th", "figure", "figcaption", "dl", "div", "svg",
                             "g", "text" } do
        local _, opened = page:gsub("<" .. tag .. "[%s>]", "")
        local _, closed = page:gsub("</" .. tag .. ">", "")
        assert.are.equal(opened, closed, tag)
      end
    end
  end)
end)

if gnuplot.available() then
  describe("a picture", function()
    it("has its colours from the page, and labels on both axes", function()
      local r = run { rate = 30 }
      for _, figure in ipairs { charts.ttft({ r, r }, { "a", "b" }), charts.itl({ r }, { "a" }),
                                charts.tokens(r, "a"), charts.slots({ r }, { "a" }),
                                charts.goodput({ r }, 0.9), charts.attainment({ r }, 0.9) } do
        assert.is_nil(figure.svg:find "rgb%(", figure.title)
        assert.is_nil(figure.svg:find "='black'", figure.title)
        assert.is_nil(figure.svg:find('fill="black"', 1, true), figure.title)
        assert.is_nil(figure.svg:find(" id=", 1, true), "an id that other pictures may have")
        assert.is_truthy(figure.svg:find("var(--s1)", 1, true), figure.title)
        assert.is_truthy(figure.svg:find "rotate%(270%)", "no label on the y axis")
        assert.is_truthy(figure.svg:find('aria-label="' .. figure.title, 1, true))
      end
    end)

    it("takes any name for a series", function()
      local r = run()
      local figure = assert(charts.slots({ r }, { [[a"b'c\d$e`f_g {/h}]] }))
      assert.is_truthy(figure.svg:find("a b'c d e f_g {/h}", 1, true))
    end)

    it("that cannot be drawn gives gnuplot's reason", function()
      local svg, message = gnuplot.svg("x", "plot nothing_of_the_kind")
      assert.is_nil(svg)
      assert.matches("^gnuplot: ", message)
    end)
  end)
end

describe("The table of a page #lua", function()
  it("tells runs apart by the colours that its style has, in turn", function()
    local runs, seen = {}, {}
    for i = 1, 10 do runs[i] = run { workload = { requests = 2, rate = 8, seed = i } } end
    for n in pages.table(runs):gmatch "background:var%(%-%-s(%d+)%)" do seen[#seen + 1] = tonumber(n) end
    assert.are.same({ 1, 2, 3, 4, 5, 6, 7, 8, 1, 2 }, seen)
    for n = 1, 8 do assert.is_truthy(stylesheet:find("--s" .. n .. ":", 1, true), n) end
  end)

  it("stands below pictures, of which there may be none", function()
    for n = 0, 2 do
      local figures = {}
      for i = 1, n do figures[i] = { title = "T" .. i, note = "N", svg = "<svg/>" } end
      local page = pages.html { title = "t", runs = { run { workload = { requests = 2, rate = 8 } } },
                                figures = figures, missing = {}, command = "c", facts = {} }
      local _, pictures = page:gsub("<figure>", "")
      local charts_at = page:find("<h2>Charts</h2>", 1, true)
      local numbers_at = page:find("<h2>Numbers</h2>", 1, true)
      assert.are.same({ n, n > 0, true }, { pictures, charts_at ~= nil, (charts_at or 0) < numbers_at })
    end
  end)
end)
