-- Draws with gnuplot, when the machine has it, into SVG that takes its colours from the page: the page
-- defines --ink, --grid and --s1 .. --s8, once for light and once for dark.
local numbers = require "gdnmeta.sim.numbers"

local M = {}

local SIZE = { 560, 330 } -- of the viewBox; the page scales it
local INK, GRID = 250, 251 -- colours that no series uses; series n is rgb(n, n, n)

local HEAD = [[
set terminal svg dynamic size %d,%d font "sans-serif,13" rounded
set encoding utf8
set border 3 lc rgb "%s"
set tics nomirror out scale 0.6
set grid ytics lc rgb "%s" lt 1 lw 1
set key above left horizontal Left reverse samplen 1.6 spacing 1.2 width 0
set samples 200
]]

--- The name of a colour inside of a script.
---@param n integer series, or M.INK, M.GRID
---@return string
function M.colour(n)
  return ("#%02x%02x%02x"):format(n, n, n)
end
M.INK, M.GRID = INK, GRID

local available

--- Is there a gnuplot to draw with?
---@return boolean
function M.available()
  if available == nil then
    local pipe = io.popen "gnuplot --version 2>/dev/null"
    available = pipe and (pipe:read "*l" or ""):find "^gnuplot" ~= nil or false
    if pipe then pipe:close() end
  end
  return available
end

local function variable(n)
  return n == INK and "--ink" or n == GRID and "--grid" or "--s" .. n
end

-- Colours become variables; what gnuplot writes and a page does not need goes.
local function dress(svg, title)
  svg = svg:gsub("^.-<svg", "<svg"):gsub("<title>Gnuplot</title>%s*<desc>.-</desc>", "")
  -- Dots are references to an id, and a page would hold it many times.
  local dot = "<use xlink:href='#gpPt6' transform='translate%(([%d.]+),([%d.]+)%) scale%(([%d.]+)%)' color="
  svg = svg:gsub(dot, "<circle cx='%1' cy='%2' r='%3' stroke='none' fill=")
  svg = svg:gsub("<defs>.-</defs>", ""):gsub("%s*xmlns:xlink=\"[^\"]*\"", "")
  svg = svg:gsub("(%a+)%s*=%s*[\"']rgb%(%s*(%d+),%s*%d+,%s*%d+%)[\"']", function(what, n)
    return ("style='%s:var(%s)'"):format(what, variable(tonumber(n)))
  end)
  svg = svg:gsub("(%a+)='black'", "style='%1:var(--ink)'"):gsub('fill="black"', 'style="fill:var(--ink)"')
  svg = svg:gsub('font%-family="[^"]*"', ""):gsub("<g [^>]*>%s*</g>%s*", "")
  svg = svg:gsub('id="gnuplot[^"]*"', ""):gsub("stroke%-dasharray='2,4' class=\"gridline\"", "")
  local start = ('<svg role="img" aria-label="%s" '):format(numbers.html(title))
  return start .. svg:match "^<svg%s*(.*)$"
end

--- Run a script; data blocks are part of it.
---@param title string what the picture shows, for readers who cannot see it
---@param script string gnuplot commands, less the terminal
---@param size? table { width, height }
---@return string|nil svg
---@return string? message
function M.svg(title, script, size)
  if not M.available() then return nil, "gnuplot is not installed" end
  size = size or SIZE
  local path = os.tmpname()
  local file, why = io.open(path, "wb")
  if not file then return nil, why end
  file:write(HEAD:format(size[1], size[2], M.colour(INK), M.colour(GRID)), script, "\n")
  file:close()
  local pipe = io.popen(("gnuplot '%s' 2>&1"):format(path))
  local text = pipe:read "*a"
  pipe:close()
  os.remove(path)
  if not text:find "</svg>" then return nil, "gnuplot: " .. text:gsub("%s+$", "") end
  return dress(text, title)
end

--- A data block of a script.
---@param name string
---@param points table list of lists of numbers
---@return string
function M.block(name, points)
  local lines = { ("$%s << EOD"):format(name) }
  for i, point in ipairs(points) do
    local cells = {}
    for k, value in ipairs(point) do cells[k] = ("%.10g"):format(value) end
    lines[i + 1] = table.concat(cells, " ")
  end
  lines[#lines + 1] = "EOD\n"
  return table.concat(lines, "\n")
end

return M
