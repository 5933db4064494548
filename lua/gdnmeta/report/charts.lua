-- The pictures of a report, each { title, note, svg }, or nil, why not, and the title. Series n has the same
-- colour in all of them.
local max_rate = require "gdnmeta.report.max_rate"
local many_lines = require "gdnmeta.report.many_lines"
local gnuplot = require "gdnmeta.report.gnuplot"
local foreign_text = require "gdnmeta.native.foreign_text"

local M = {}

local DASHES = { "1", "(9,3)", "(3,3)", "(9,3,3,3)", "(14,4)", "(2,5)", "(6,2,2,2)", "(12,2,2,2)" }
local PERCENTILES = '("0" 0, "50" 0.30103, "90" 1, "99" 2, "99.9" 3, "99.99" 4, "99.999" 5, "99.9999" 6)'

local function colour(n) return gnuplot.colour((n - 1) % 8 + 1) end

local LEGEND = 44 -- characters of a name, of which a picture has room for some 50

-- Without gnuplot's syntax, including line ends, and without what its SVG would not escape. A long name keeps
-- both its ends: paths differ in the last part, and `(same as x)` is there.
local function quote(text)
  text = foreign_text.long(text)
  if #text > LEGEND then
    text = foreign_text.long(text:sub(1, LEGEND / 2) .. "..." .. text:sub(-LEGEND / 2))
  end
  return '"' .. text:gsub('[\\"$`<>&]', " ") .. '"'
end

-- Series n of `of`. Where lines lie on each other the later, thinner ones leave the earlier ones visible.
-- With more series than colours, dashes go on where colours begin again.
local function line(n, of, name, shape)
  local dash, data = DASHES[(n - 1 + math.floor((n - 1) / 8)) % 8 + 1], ("$d%d using 1:2"):format(n)
  local title, with = quote(name), data .. " with " .. (shape or "lines")
  local width = 1.6 + 1.4 * (of - n) * 3 / math.max(3, of - 1)
  return {
    data = data, name = title, alone = ("%s lw 2 lc rgb '%s' notitle"):format(with, colour(n)),
    text = ("%s lw %.1f dt %s lc rgb '%s' title %s noenhanced"):format(with, width, dash, colour(n), title),
  }
end

-- A dot of series n of `of`, for the same reason larger where the series is earlier.
local function dot(n, of)
  return ("$k%d with points pt 7 ps %.2f lc rgb '%s' notitle"):format(
    n, 0.9 + 1.2 * (of - n) / math.max(1, of - 1), colour(n))
end

local function figure(title, note, script)
  local svg, message = gnuplot.svg(title, script)
  if not svg then return nil, message, title end
  return { title = title, note = note, svg = svg }
end

-- The same of lines. blocks: their data; rest: what is plotted with them.
local function figure_of(title, note, blocks, axes, lines, rest)
  local script, size = many_lines.script(axes, lines, rest)
  local svg, message = gnuplot.svg(title, table.concat(blocks) .. script, size)
  if not svg then return nil, message, title end
  if size then note = note .. " Each alone, on the same axes; grey is the first." end
  return { title = title, note = note, svg = svg }
end

-- Milliseconds over percentiles, both stretched, so that p99 and p99.9 can be read off.
local function percentiles(title, note, runs, names, field, whose, target)
  local script, series, rest, most = {}, {}, {}, 0
  for i, run in ipairs(runs) do
    local points = run.curves[field]
    if points[1] then
      script[#script + 1] = gnuplot.block("d" .. i, points)
      series[#series + 1] = line(i, #runs, names[i])
      most = math.max(most, points[#points][1])
    end
  end
  if not series[1] then return nil, "no data", title end
  if target then
    rest[1] = ("%.10g with lines lw 1.4 dt (2,4) lc rgb '%s' title 'target'"):format(
      target, gnuplot.colour(gnuplot.INK))
  end
  local axes = ([[
set logscale y
set format y "%%.0f"
set ytics (1, 2, 5, 10, 20, 50, 100, 200, 500, "1,000" 1e3, "2,000" 2e3, "5,000" 5e3, "10,000" 1e4, \
  "20,000" 2e4, "50,000" 5e4, "100,000" 1e5, "200,000" 2e5, "500,000" 5e5, "1,000,000" 1e6)
set xtics %s
set xrange [0:%g]
set xlabel "percentile of %s"
set ylabel "milliseconds"
]]):format(PERCENTILES, most, whose)
  return figure_of(title, note, script, axes, series, rest)
end

--- Time to first token by percentile.
function M.ttft(runs, names)
  return percentiles("Time to first token", "From arrival to the first token of the answer.",
    runs, names, "ttft", "requests", runs[1].targets.ttft_ms)
end

--- Gaps between tokens by percentile.
function M.itl(runs, names)
  return percentiles("Gaps between tokens", "Pauses that a reader sees within an answer.",
    runs, names, "itl", "gaps")
end

--- The axes that pictures of single runs share, so that they compare.
---@param runs table
---@return table scale seconds, tokens, waiting: the most of any run
function M.scale(runs)
  local scale = { seconds = 0, tokens = 1, waiting = 1 }
  for _, run in ipairs(runs) do
    scale.seconds = math.max(scale.seconds, run.seconds)
    for _, p in ipairs(run.timeline) do
      scale.tokens = math.max(scale.tokens, p.decode + p.prefill + p.padding)
      scale.waiting = math.max(scale.waiting, p.waiting)
    end
  end
  return scale
end

--- What the steps of a run carried, with the queue.
---@param run table
---@param name string
---@param scale table|nil default: the run's own
function M.tokens(run, name, scale)
  scale = scale or M.scale { run }
  local points = {}
  for i, p in ipairs(run.timeline) do
    points[i] = { p.t, p.decode, p.decode + p.prefill, p.decode + p.prefill + p.padding, p.waiting }
  end
  local script = gnuplot.block("d1", points) .. ([[
set xlabel "simulated time, seconds"
set ylabel "tokens per step"
set y2label "requests waiting"
set y2tics nomirror out scale 0.6
set border 11
set xrange [0:%.10g]
set yrange [0:%.10g]
set y2range [0:%.10g]
set style fill solid 0.85 noborder
plot $d1 using 1:3:4 with filledcurves lc rgb '%s' title 'padding', \
     '' using 1:2:3 with filledcurves lc rgb '%s' title 'prefill', \
     '' using 1:2 with filledcurves y1=0 lc rgb '%s' title 'decode', \
     '' using 1:5 axes x1y2 with lines lw 1.2 lc rgb '%s' title 'waiting']]):format(
    scale.seconds, 1.02 * scale.tokens, 1.02 * scale.waiting, colour(5), colour(6), colour(1),
    gnuplot.colour(gnuplot.INK))
  return figure("Tokens per step: " .. name, "Means over adjacent steps; the thin line is the queue. "
    .. "All policies have the same axes.", script)
end

--- State slots in use over time.
function M.slots(runs, names)
  local script, series, last = {}, {}, 0
  for i, run in ipairs(runs) do
    local points = {}
    for k, p in ipairs(run.timeline) do points[k] = { p.t, p.slots } end
    script[#script + 1] = gnuplot.block("d" .. i, points)
    series[i] = line(i, #runs, names[i])
    last = math.max(last, run.seconds)
  end
  local pool = ("%g with lines lw 1.4 dt (2,4) lc rgb '%s' title 'pool'"):format(
    runs[1].slots.pool, gnuplot.colour(gnuplot.INK))
  local axes = ([[
set xlabel "simulated time, seconds"
set ylabel "state slots in use"
set xrange [0:%.10g]
set yrange [0:%.10g]
]]):format(last, 1.08 * runs[1].slots.pool)
  return figure_of("State slots", "A request holds its slots from admission to its last token.", script, axes,
    series, { pool })
end

-- A curve per policy over the rates, with a dot where it last met the wanted share.
local function over_rates(title, note, runs, share, ylabel, value, extra)
  local script, series, most, policies = {}, {}, 0, max_rate.policies(runs)
  for i, policy in ipairs(policies) do
    local points = {}
    for _, run in ipairs(runs) do
      if run.policy == policy and run.setup.rate then
        points[#points + 1] = { run.setup.rate, value(run) }
        most = math.max(most, run.setup.rate)
      end
    end
    script[#script + 1] = gnuplot.block("d" .. i, points)
    series[#series + 1] = line(i, #policies, policy)
    local at = max_rate.bracket(runs, policy, share)
    if at.good then
      script[#script + 1] = gnuplot.block("k" .. i, { { at.good, value(at.run) } })
      series[#series].dot = dot(i, #policies)
    end
  end
  if most == 0 then return nil, "no data", title end
  local axes = ([[
set xlabel "requests offered per second"
set ylabel "%s"
set xrange [0:%.10g]
set yrange [0:*]
]]):format(ylabel, 1.02 * most)
  return figure_of(title, note, script, axes, series, { extra })
end

--- Goodput over the offered rate: on the thin line every request is served in time.
function M.goodput(runs, share)
  return over_rates("Goodput", "Requests per second that met their targets; the dot is the highest rate that "
    .. "still serves enough.", runs, share, "requests within targets per second",
    function(run) return run.goodput end,
    ("x with lines lw 1.2 dt (2,4) lc rgb '%s' title 'all'"):format(gnuplot.colour(gnuplot.INK)))
end

--- Share of requests within the targets over the offered rate.
function M.attainment(runs, share)
  return over_rates("Within the targets", "Share of requests that met their targets.", runs, share,
    "percent of requests", function(run) return 100 * run.attainment end,
    ("%.10g with lines lw 1.2 dt (2,4) lc rgb '%s' title 'wanted'"):format(100 * share,
      gnuplot.colour(gnuplot.INK)))
end

-- Shared with other files of pictures.
M.line, M.figure_of = line, figure_of

return M
