-- Replays by state slots alone, as text and as a page.
local charts = require "gdnmeta.report.cache_charts"
local gnuplot = require "gdnmeta.report.gnuplot"
local numbers = require "gdnmeta.sim.numbers"
local stylesheet = require "gdnmeta.report.stylesheet"

local count, number, escape = numbers.count, numbers.number, numbers.html

local M = {}

local QUARTERS = 4

--- What was replayed.
---@param requests table
---@param ceiling number share of prompt tokens
---@param first_ms number to the first token of a prompt alone, on average, without a cache
---@return table facts requests, workload, block_size, ceiling, first_ms, notices
function M.facts(requests, ceiling, first_ms)
  return { requests = #requests, workload = requests.name, block_size = requests.block_size,
           ceiling = ceiling, first_ms = first_ms, notices = requests.notices or {} }
end

local function sentences(facts)
  local list = {
    ("%s request%s of %s, blocks of %d tokens; at most %.2f %% of prompt tokens can be hits"):format(
      count(facts.requests), facts.requests == 1 and "" or "s", facts.workload, facts.block_size,
      100 * facts.ceiling),
    "by state slots alone, without an engine: attention is kept elsewhere, requests follow each other",
    ("first ms: to the first token of a prompt alone, on average; %s without a cache"):format(
      number(facts.first_ms)),
  }
  for _, notice in ipairs(facts.notices) do list[#list + 1] = notice end
  return list
end

-- Hit rates of equal parts of the run.
local function quarters(run)
  local parts, n = {}, #run.over_time
  for q = 1, math.min(QUARTERS, n) do
    local asked, hit = 0, 0
    for k = math.floor((q - 1) * n / QUARTERS) + 1, math.floor(q * n / QUARTERS) do
      local window = run.over_time[k]
      asked, hit = asked + window.prompt_tokens, hit + window.hit * window.prompt_tokens
    end
    parts[q] = ("%.0f"):format(100 * numbers.share(hit, asked))
  end
  return table.concat(parts, " ")
end

local COLUMNS = { "cache", "slots", "hit %", "by quarter", "prompts", "states", "never read", "GiB",
                  "first ms" }

local function cells_of(run)
  return { run.name, count(run.slots), ("%.2f"):format(100 * run.hit), quarters(run),
           ("%.1f %%"):format(100 * run.hit_requests), count(run.made),
           ("%.1f %%"):format(100 * numbers.share(run.unused, run.made)),
           run.bytes and ("%.1f"):format(run.bytes / 2^30) or "-", number(run.first_ms) }
end

--- As text.
---@param runs table of lab.replay
---@param facts table
---@return string
function M.text(runs, facts)
  local rows = { COLUMNS }
  for _, run in ipairs(runs) do rows[#rows + 1] = cells_of(run) end
  return table.concat(sentences(facts), "\n") .. "\n\n" .. numbers.columns(rows)
end

local function row(tag, cells)
  local parts = {}
  for k, text in ipairs(cells) do parts[k] = ("<%s>%s</%s>"):format(tag, escape(text), tag) end
  return "<tr>" .. table.concat(parts) .. "</tr>"
end

local function figures(runs, facts)
  if not gnuplot.available() then
    return "<p class=\"note\">Missing charts (gnuplot is not installed). The table has the numbers.</p>"
  end
  local out = {}
  local list = { charts.by_slots(runs, facts.ceiling), charts.over_trace(runs, facts.ceiling) }
  for _, f in ipairs(list) do
    out[#out + 1] = ("<figure><figcaption><b>%s</b><span>%s</span></figcaption>\n%s</figure>"):format(
      escape(f.title), escape(f.note), f.svg)
  end
  return '<h2>Charts</h2>\n<div class="figures">' .. table.concat(out, "\n") .. "</div>"
end

--- As a page.
---@param command string
---@return string html
function M.page(runs, facts, command)
  local rows, notes = { row("th", COLUMNS) }, {}
  for _, run in ipairs(runs) do rows[#rows + 1] = row("td", cells_of(run)) end
  for i, sentence in ipairs(sentences(facts)) do notes[i] = "<p>" .. escape(sentence) .. ".</p>" end
  return ('<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
    .. '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>State caches</title>\n'
    .. "<style>\n%s</style>\n<main>\n<h1>State caches</h1>\n%s\n%s\n<h2>Numbers</h2>\n"
    .. '<div class="scroll"><table class="sweep">%s</table></div>\n'
    .. "<h2>How to run this again</h2>\n<pre>%s</pre>\n</main>\n</html>\n"):format(stylesheet,
    table.concat(notes, "\n"), figures(runs, facts), table.concat(rows, "\n"), escape(command))
end

return M
