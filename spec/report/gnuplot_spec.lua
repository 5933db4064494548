-- Drawing with gnuplot, where a shell that is made up says whether there is one, what it was asked and what
-- it drew.
local golden = require "spec.support.golden"

local DRAWN = [[
<?xml version="1.0" encoding="utf-8"  standalone="no"?>
<svg width="560" height="330" viewBox="0 0 560 330" xmlns:xlink="http://www.w3.org/1999/xlink">
<title>Gnuplot</title>
<desc>Produced by GNUPLOT</desc>
<g id="gnuplot_canvas">
<defs><circle id='gpPt6'/></defs>
<path stroke='rgb(250, 250, 250)' stroke-dasharray='2,4' class="gridline" d='M1,2'/>
<path stroke = 'rgb(251,251,251)' d='M3,4'/><path fill='rgb( 8, 8, 8)' d='M5,6'/>
<use xlink:href='#gpPt6' transform='translate(7.5,8) scale(2.25)' color='rgb(1, 1, 1)'/>
<text fill="black" stroke='black' font-family="sans-serif">x</text>
<g color="white"> </g>
</g>
</svg>
]]

describe("gnuplot #lua", function()
  local asked, answers, gnuplot, shell
  before_each(function()
    asked, answers = {}, {}
    shell = stub(io, "popen", function(command)
      local path = command:match "^gnuplot '([^']*)' 2>&1$"
      local file = path and io.open(path, "rb")
      asked[#asked + 1] = file and file:read "*a" or command
      if file then file:close() end
      local answer = table.remove(answers, 1)
      return answer and { read = function() return answer[1] end, close = function() end }
    end)
    package.loaded["gdnmeta.report.gnuplot"] = nil
    gnuplot = require "gdnmeta.report.gnuplot"
  end)
  after_each(function()
    shell:revert()
    package.loaded["gdnmeta.report.gnuplot"] = nil
  end)

  it("is there where it says its version, and is asked once", function()
    for _, case in ipairs { { "gnuplot 5.4 patchlevel 4", true }, { "Gnuplot", false },
                            { "a gnuplot", false }, { nil, false } } do
      package.loaded["gdnmeta.report.gnuplot"] = nil
      gnuplot, asked, answers = require "gdnmeta.report.gnuplot", {}, { { case[1] } }
      for _ = 1, 2 do assert.are.equal(case[2], gnuplot.available()) end
      assert.are.same({ "gnuplot --version 2>/dev/null" }, asked)
    end
    package.loaded["gdnmeta.report.gnuplot"] = nil
    gnuplot = require "gdnmeta.report.gnuplot" -- no process can be started
    assert.is_false(gnuplot.available())
    assert.are.same({ nil, "gnuplot is not installed" }, { gnuplot.svg("t", "plot x") })
  end)

  it("is given a whole script, and its drawing takes the page's colours", function()
    answers = { { "gnuplot 5.4" }, { DRAWN }, { DRAWN }, { "line 3: no such\n\n" } }
    local first = gnuplot.svg("a <title>", "plot x")
    local block = gnuplot.block("data", { { 1, 2.5 }, { 1 / 3 } })
    local second = gnuplot.svg("wide", block .. "plot $data", { 9, 7 })
    assert.are.same({ nil, "gnuplot: line 3: no such" }, { gnuplot.svg("t", "plot") })
    golden("gnuplot", ("%s\n\n%s\n\n%s\n\n%s\n"):format(asked[2], first, asked[3], second))
  end)

  it("draws nothing where its script cannot be written", function()
    answers = { { "gnuplot 5.4" } }
    local name = stub(os, "tmpname", function() return "/nowhere/script" end)
    local svg, message = gnuplot.svg("t", "plot x")
    name:revert()
    assert.are.same({ nil, "/nowhere/script: No such file or directory" }, { svg, message })
  end)

  it("has a colour for each series, for ink and for the grid", function()
    assert.are.same({ "#010101", "#080808", "#fafafa", "#fbfbfb" },
      { gnuplot.colour(1), gnuplot.colour(8), gnuplot.colour(gnuplot.INK), gnuplot.colour(gnuplot.GRID) })
  end)
end)
