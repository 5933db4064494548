-- Pictures of many series: those that one plot would hide behind each other stand in a plot each.
local cache_charts = require "gdnmeta.report.cache_charts"
local gnuplot = require "gdnmeta.report.gnuplot"
local golden = require "spec.support.golden"

-- Replays of n caches.
local function replays(n)
  local runs = {}
  for i = 1, n do
    runs[i] = { name = "cache " .. i, slots = 16, hit = i / 20, over_time = {} }
    for k = 1, 9 do runs[i].over_time[k] = { at = 100 * k, hit = (i + k) / 40 } end
  end
  return runs
end

describe("A picture of many series", function()
  local svg = gnuplot.svg
  after_each(function() gnuplot.svg = svg end)

  it("has a plot for each on axes that they share, with its name and one size for all", function()
    local seen = {}
    gnuplot.svg = function(_, script, size)
      seen[#seen + 1] = { script = script, width = size and size[1], height = size and size[2] }
      return "<svg>"
    end
    local notes = {}
    for _, n in ipairs { 7, 8, 12 } do
      notes[#notes + 1] = cache_charts.over_trace(replays(n), 0.9).note
      local script = seen[#seen].script
      assert.are.equal(n == 7 and 0 or n, select(2, script:gsub("\nset title \"cache %d+, 16 slots\"", "")))
      assert.are.equal(n == 7 and 1 or n + 1, select(2, script:gsub("\n?plot %$d", "")))
    end
    assert.is_nil(seen[1].height)
    assert.is_true(seen[3].height - seen[2].height == 2 * 132 and seen[2].height > 4 * 82)
    assert.is_nil(notes[1]:find "grey")
    local texts = {}
    for k, picture in ipairs(seen) do
      texts[k] = ("%s x %s\n%s"):format(picture.width, picture.height, picture.script)
    end
    golden("many-lines", table.concat(texts, "\n\n") .. "\n")
    assert.matches("Each alone, on the same axes; grey is the first%.$", notes[3])
  end)

  it("has the points of a line in their order", function()
    local script
    gnuplot.svg = function(_, text) script = text return "<svg>" end
    local runs = {}
    for i, slots in ipairs { 64, 16, 256, 32 } do runs[i] = { name = "c", slots = slots, hit = i / 8 } end
    cache_charts.by_slots(runs, 0.9)
    assert.is_truthy(script:find("$d1 << EOD\n16 25\n32 50\n64 12.5\n256 37.5\nEOD\n", 1, true), script)
  end)

  if gnuplot.available() then
    it("is drawn: twelve names, each once", function()
      local runs = replays(12)
      for _, figure in ipairs { cache_charts.over_trace(runs, 0.9), cache_charts.by_slots(runs, 0.9) } do
        for i = 1, 12 do
          local name = "cache " .. i
          assert.are.equal(1, select(2, figure.svg:gsub(">" .. name .. "[,<]", "")), name)
        end
        assert.is_nil(figure.svg:find "rgb%(")
      end
    end)
  end
end)
