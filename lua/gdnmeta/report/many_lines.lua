-- A picture of several series: in one plot as long as a reader can tell them apart, beyond that in a small
-- plot each, on the same axes, with the first series in grey.
local gnuplot = require "gdnmeta.report.gnuplot"

local TOGETHER = 7 -- series in one plot
local ACROSS, WIDTH, HEIGHT, GAP, ABOVE, BELOW = 2, 560, 82, 50, 28, 48 -- small plots; units of the picture

local M = {}

local function together(lines, rest)
  local series = {}
  for k, line in ipairs(lines) do series[k] = line.text end
  for _, line in ipairs(lines) do series[#series + 1] = line.dot end
  for _, text in ipairs(rest) do series[#series + 1] = text end
  return table.concat(series, ", ")
end

-- A small plot has room for few tics: some four of a linear axis, powers of ten of a logarithmic one.
local TICS = [[
step(w) = 10**floor(log10(w / 3.0))
few(w) = w / step(w) > 12 ? 5 * step(w) : w / step(w) > 6 ? 2 * step(w) : step(w)
]]

local function tics(axes)
  local x = not axes:find "logscale x" and not axes:find "set xtics"
    and "set xtics few(GPVAL_X_MAX - GPVAL_X_MIN)\n" or ""
  return x .. (axes:find "logscale y" and "set ytics 10\n" or "set ytics few(GPVAL_Y_MAX - GPVAL_Y_MIN)\n")
end

local function one(line, first, rest)
  local grey = ("%s with lines lw 1.2 lc rgb '%s' notitle"):format(first.data, gnuplot.colour(gnuplot.GRID))
  local series = { grey, line.alone, line.dot }
  for _, text in ipairs(rest) do series[#series + 1] = text end
  return ("set title %s noenhanced offset 0,-0.7 font ',11'\nplot %s\n"):format(line.name,
    table.concat(series, ", "))
end

-- Each alone. The axes are those of the plot of all, which is not drawn.
local function apart(axes, lines, rest)
  local down = math.ceil(#lines / ACROSS)
  local height = ABOVE + BELOW + down * HEIGHT + (down - 1) * GAP
  local xlabel, ylabel = axes:match 'set xlabel ("[^\n]*")', axes:match 'set ylabel ("[^\n]*")'
  local parts = {
    axes, "set term push\nset term unknown\nplot ", together(lines, rest), "\nset term pop\n",
    "set xrange [GPVAL_X_MIN:GPVAL_X_MAX]\nset yrange [GPVAL_Y_MIN:GPVAL_Y_MAX]\n", TICS, tics(axes),
    "unset key\nunset xlabel\nunset ylabel\nset tics font ',10'\n",
    ("set label 1 %s at screen 0.02,0.5 center rotate by 90\n"):format(ylabel),
    ("set label 2 %s at screen 0.55,%.4f center\n"):format(xlabel, 12 / height),
    ("set multiplot layout %d,%d margins 0.14,0.98,%.4f,%.4f spacing 0.12,%.4f\n"):format(down, ACROSS,
      BELOW / height, 1 - ABOVE / height, GAP / height),
  }
  for k, line in ipairs(lines) do
    parts[#parts + 1] = one(line, lines[1], rest) .. (k == 1 and "unset label\n" or "")
  end
  parts[#parts + 1] = "unset multiplot"
  return table.concat(parts), { WIDTH, height }
end

--- The end of a script, from the axes on.
---@param axes string what sets ranges, tics and labels
---@param lines table of { text (what is plotted), data (the same without its looks), alone (as it is plotted
--- without the others), name (quoted), dot (plotted with it, or nil) }
---@param rest string[] plotted with all: what is wanted, what is possible
---@return string script
---@return table|nil size of the picture; nil: as others are
function M.script(axes, lines, rest)
  if #lines > TOGETHER then return apart(axes, lines, rest) end
  return axes .. "plot " .. together(lines, rest)
end

return M
