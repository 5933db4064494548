-- Reports, whole: tables, sentences, pages and the scripts of their pictures, against spec/goldens/texts.
local charts = require "gdnmeta.report.charts"
local golden = require "spec.support.golden"
local html = require "gdnmeta.report.pages"
local gnuplot = require "gdnmeta.report.gnuplot"
local text = require "gdnmeta.report.text"
local sim = require("gdnmeta").sim

-- Not the host's time; and little that a change of some policy would change: what is of interest is the text.
local function run(options)
  local o = { measure = false, seed = 3 }
  for name, value in pairs(options) do o[name] = value end
  return assert(sim.run(o))
end

local function workload(requests, rate)
  return { requests = requests, rate = rate, prompt_median = 200, prompt_max = 900, output_median = 20,
           output_max = 60 }
end

describe("Reports #lua", function()
  local one, several, rates, poor
  local svg = gnuplot.svg

  setup(function()
    several, rates = {}, {}
    for i, name in ipairs { "fcfs", "second", "a third" } do
      several[i] = run { rate = 6, workload = workload(24, 6), num_speculative_tokens = 2,
                         max_num_seqs = 2 * i }
      several[i].policy = name
    end
    one = { several[1] }
    for n, name in ipairs { "first", "second" } do
      for _, rate in ipairs { 1, 8, 2000 } do
        rates[#rates + 1] = run { rate = rate, workload = workload(16, rate), max_num_seqs = 4 * n }
        rates[#rates].policy = name
      end
    end
    poor = { run { kv_tokens = 640, workload = workload(20, 50), max_num_seqs = 1 },
             run { policy = { name = "faulty", chunk = function() return 0 / 0 end },
                   workload = workload(20, 50), kv_tokens = 640, max_num_seqs = 1 } }
    -- A picture is the script that draws it.
    gnuplot.svg = function(title, script, size)
      return ("<pre>%s %s\n%s</pre>"):format(title, size and table.concat(size, "x") or "nil", script)
    end
  end)
  teardown(function() gnuplot.svg = svg end)

  it("of one run and of several", function()
    local texts = { text.report(one), text.report(several), text.report(poor) }
    golden("reports", table.concat(texts, "\n\n") .. "\n")
  end)

  it("of rates", function()
    golden("sweeps", text.sweep(rates, 0.9) .. "\n\n" .. text.sweep({ rates[3] }, 0.5) .. "\n\n"
      .. text.sweep(one, 0.99) .. "\n")
  end)

  it("as pages, with the scripts of their pictures", function()
    local pages = { html.simulate(one, "gdnmeta simulate"), html.simulate(several, "simulate <several>"),
                    html.simulate(poor, "poor"), html.sweep(rates, 0.9, "gdnmeta sweep") }
    for i, page in ipairs(pages) do
      pages[i] = page:gsub("<style>.-</style>", ""):gsub("gdnmeta [%d.]+, LuaJIT [^.]+[%d.]*", "VERSION")
    end
    golden("pages", table.concat(pages, "\n") .. "\n")
  end)

  it("of runs with state caches and without, as a text and a page", function()
    local runs = {}
    for i, cache in ipairs { false, "gdsf", "last_block" } do
      runs[i] = run { requests = sim.dialogues.generate { kind = "synthetic", sessions = 30, seed = 5 },
                      cache = cache or nil, cache_slots = cache and 4 * i or nil, max_num_seqs = 4 }
      runs[i].policy = cache or "none"
    end
    golden("caches", text.report(runs) .. "\n\n" .. text.report { runs[2] } .. "\n")
    local page = html.simulate(runs, "gdnmeta simulate --cache")
    golden("cache-pages", (page:gsub("<style>.-</style>", ""):gsub("gdnmeta [%d.]+, LuaJIT [^.]+[%d.]*",
      "VERSION")))
  end)

  it("with a picture of hits where any run of the picture has a cache", function()
    local function pictures(page)
      local list = {}
      for title in page:gmatch "<pre>(.-) nil\n" do list[#list + 1] = title end
      return list
    end
    local HITS, kinds = "Prompt tokens from the state cache", {}
    for i, cache in ipairs { false, "gdsf" } do
      kinds[i] = run { workload = { kind = "conversation", sessions = 4 }, rate = 2,
                       max_num_seqs = 4, cache = cache or nil, cache_slots = cache and 16 or nil }
      kinds[i].policy = "p" .. i
    end
    for _, case in ipairs { { 1 }, { 2 }, { 1, 2 }, { 2, 1 } } do
      local runs = {}
      for i, kind in ipairs(case) do runs[i] = kinds[kind] end
      local page = pictures(html.simulate(runs, "simulate"))
      local rates_page = pictures(html.sweep(runs, 0, "sweep"))
      local first = pictures(html.sweep({ runs[1] }, 2, "sweep")) -- at no rate are enough served: the first
      assert.are.equal(case[1] == 2 and HITS or nil, first[5])
      assert.are.equal("Gaps between tokens", first[4])
      local has_cache = case[1] == 2 or case[2] == 2
      assert.are.equal(has_cache, page[3] == HITS)
      assert.are.same({ "Goodput", "Within the targets", "Time to first token", "Gaps between tokens",
        has_cache and HITS or nil }, rates_page)
    end
  end)

  it("that lack pictures say which, for each reason", function()
    local draws, drawn = gnuplot.svg, nil
    finally(function() gnuplot.svg = draws end)
    gnuplot.svg = function(title)
      if title == drawn then return "<pre></pre>" end
      return nil, title:find "o" and "one with an o" or "another"
    end
    local WHY = "Missing charts (%s): %s. The tables have the numbers."
    for _, only in ipairs { "none of them", "Goodput", "Gaps between tokens" } do
      drawn = only
      local page, said = html.sweep(rates, 0.9, "sweep"), {}
      for sentence in page:gmatch '<p class="note">(Missing.-)</p>' do said[#said + 1] = sentence end
      local with, without = {}, {}
      for _, title in ipairs { "Goodput", "Within the targets", "Time to first token",
                               "Gaps between tokens" } do
        local list = title:find "o" and with or without
        if title ~= only then list[#list + 1] = title end
      end
      local lines = {}
      if with[1] then lines[1] = WHY:format("one with an o", table.concat(with, ", ")) end
      if without[1] then lines[#lines + 1] = WHY:format("another", table.concat(without, ", ")) end
      table.sort(lines)
      table.sort(said)
      assert.are.same(lines, said)
      assert.are.equal(only ~= "none of them", page:find("<h2>Charts</h2>", 1, true) ~= nil)
    end
  end)

  it("with names as long as a legend has room for, and longer", function()
    local runs, names = {}, {}
    for i, n in ipairs { 43, 44, 45, 46, 90, 199, 200, 201, 400 } do
      runs[i], names[i] = several[1], ("abcdefghij"):rep(40):sub(1, n - 3) .. "end"
    end
    names[10], runs[10] = ("\27[31m"):rep(20) .. "<tag> & \"quote\" $d `x`", several[1]
    names[11], runs[11] = ("\195\164"):rep(40), several[1]
    local lines = {}
    for title in charts.slots(runs, names).svg:gmatch '\' title "([^\n]-)" noenhanced' do
      lines[#lines + 1] = title
    end
    assert.are.equal(11, #lines)
    golden("legends", table.concat(lines, "\n") .. "\n")
  end)

  it("with more series than colours", function()
    local runs, names = {}, {}
    for i = 1, 18 do runs[i], names[i] = several[i % 3 + 1], "run " .. i end
    local scripts = charts.ttft(runs, names).svg .. "\n" .. charts.slots(runs, names).svg .. "\n"
    golden("series", (scripts:gsub("[^\n]-<<[^\n]+\n.-\nEOD\n", "")))
  end)
end)
