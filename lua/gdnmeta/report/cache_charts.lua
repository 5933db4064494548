-- The pictures of state caches: hit rates over time, and by state slots.
local charts = require "gdnmeta.report.charts"
local gnuplot = require "gdnmeta.report.gnuplot"

local figure_of, line = charts.figure_of, charts.line

local M = {}

-- What prompts share: no cache can serve more.
local function ceiling_line(share)
  return ("%.10g with lines lw 1.4 dt (2,4) lc rgb '%s' title 'at most'"):format(100 * share,
    gnuplot.colour(gnuplot.INK))
end

local WINDOWS = 24 -- of the hit rate over time

-- { seconds, percent } by window of a run with a cache.
local function hit_points(run)
  local points, width, asked, hit, upto = {}, run.seconds / WINDOWS, 0, 0, 0
  for k, p in ipairs(run.timeline) do
    asked, hit = asked + (p.asked or 0) * p.steps, hit + (p.hit or 0) * p.steps
    if p.t >= upto + width or k == #run.timeline then
      if asked > 0 then points[#points + 1] = { p.t, 100 * hit / asked } end
      upto, asked, hit = p.t, 0, 0
    end
  end
  return points
end

--- Share of prompt tokens that state caches served, over time.
function M.hits(runs, names)
  local title, script, series, last, most = "Prompt tokens from the state cache", {}, {}, 0, 0
  for i, run in ipairs(runs) do
    local points = run.cache and hit_points(run) or {}
    if points[1] then
      script[#script + 1] = gnuplot.block("d" .. i, points)
      series[#series + 1] = line(i, #runs, names[i])
      last, most = math.max(last, run.seconds), math.max(most, run.cache.ceiling)
    end
  end
  if not series[1] then return nil, "no data", title end
  local axes = ([[
set xlabel "simulated time, seconds"
set ylabel "percent of prompt tokens"
set xrange [0:%.10g]
set yrange [0:*]
]]):format(last)
  return figure_of(title, "Of requests that began in a window of time; the thin line is what all prompts "
    .. "share.", script, axes, series, { ceiling_line(most) })
end

--- Hit rates of replays over the number of state slots.
---@param runs table of lab.replay, with name
---@param ceiling number
function M.by_slots(runs, ceiling)
  local of, names, script, series = {}, {}, {}, {}
  for _, run in ipairs(runs) do
    if not of[run.name] then of[run.name], names[#names + 1] = {}, run.name end
    table.insert(of[run.name], { run.slots, 100 * run.hit })
  end
  for i, name in ipairs(names) do
    table.sort(of[name], function(a, b) return a[1] < b[1] end)
    script[i] = gnuplot.block("d" .. i, of[name])
    series[i] = line(i, #names, name, "linespoints pt 7 ps 0.7")
  end
  local axes = 'set logscale x 2\nset xlabel "state slots"\nset ylabel "percent of prompt tokens"\n'
    .. "set yrange [0:*]\n"
  return figure_of("Hit rate by state slots", "Share of prompt tokens that were cached; the thin line is "
    .. "what prompts share.", script, axes, series, { ceiling_line(ceiling) })
end

--- Hit rates of replays over time.
function M.over_trace(runs, ceiling)
  local script, series = {}, {}
  for i, run in ipairs(runs) do
    local points = {}
    for k, window in ipairs(run.over_time) do points[k] = { window.at, 100 * window.hit } end
    script[i] = gnuplot.block("d" .. i, points)
    series[i] = line(i, #runs, ("%s, %d slots"):format(run.name, run.slots))
  end
  local axes = 'set xlabel "time of the trace, seconds"\nset ylabel "percent of prompt tokens"\n'
    .. "set yrange [0:*]\n"
  return figure_of("Hit rate over time", "Of equally many requests each; the thin line: what all prompts "
    .. "share.", script, axes, series, { ceiling_line(ceiling) })
end

return M
