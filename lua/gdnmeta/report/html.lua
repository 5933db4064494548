-- A report as one HTML file that needs nothing else: table, pictures, what was run and how.
local compare = require "gdnmeta.report.compare"
local token_accounting = require "gdnmeta.sim.token_accounting"
local numbers = require "gdnmeta.sim.numbers"
local metrics_table = require "gdnmeta.report.metrics_table"
local report = require "gdnmeta.report.text"
local stylesheet = require "gdnmeta.report.stylesheet"

local M = {}

local escape = numbers.html

local function element(tag, text, attributes)
  return ("<%s%s>%s</%s>"):format(tag, attributes and " " .. attributes or "", text, tag)
end

local function swatch(i)
  return ('<span class="swatch" style="background:var(--s%d)"></span>'):format((i - 1) % 8 + 1)
end

--- Runs side by side; the best of a line is set in bold.
---@param runs table
---@return string html
function M.table(runs)
  local out, head = {}, { "<th></th><th></th>" }
  for i, name in ipairs(report.names(runs)) do
    head[#head + 1] = element("th", (#runs > 1 and swatch(i) or "") .. escape(name), 'scope="col"')
  end
  out[1] = "<thead><tr>" .. table.concat(head) .. "</tr></thead>\n<tbody>"
  for _, section in ipairs(metrics_table.of(runs)) do
    local filled = metrics_table.filled(section, runs)
    if #filled > 0 then
      out[#out + 1] = ('<tr class="section"><th scope="rowgroup" colspan="%d">%s</th></tr>'):format(
        #runs + 2, escape(section[1]))
    end
    for _, row in ipairs(filled) do
      local cells = { element("td", escape(row.label)), element("td", escape(row.unit)) }
      for i, text in ipairs(row.texts) do
        cells[i + 2] = element("td", text, row.best[i] and 'class="best"' or nil)
      end
      out[#out + 1] = "<tr>" .. table.concat(cells) .. "</tr>"
    end
  end
  out[#out + 1] = "</tbody>"
  return '<div class="scroll"><table>' .. table.concat(out, "\n") .. "</table></div>"
end

--- The runs of a sweep, one per line, after the sentences that summarize them.
---@param runs table sorted
---@param sentences table
---@return string html
function M.sweep(runs, sentences)
  local out, head, last = {}, { element("th", "policy", 'scope="col"') }, nil
  for _, s in ipairs(sentences) do out[#out + 1] = element("p", escape(s) .. ".") end
  for i, column in ipairs(report.sweep_columns(runs)) do
    local name = column[1] .. (column[2] ~= "" and ", " .. column[2] or "")
    head[i + 1] = element("th", escape(name), 'scope="col"')
  end
  out[#out + 1] = '<div class="scroll"><table class="sweep"><thead><tr>' .. table.concat(head)
    .. "</tr></thead>\n<tbody>"
  local texts = report.sweep_texts(runs)
  for i, run in ipairs(runs) do
    local row = { element("td", run.policy == last and "" or escape(run.policy)) }
    for k, text in ipairs(texts[i]) do row[k + 1] = element("td", text) end
    out[#out + 1] = element("tr", table.concat(row), run.policy ~= last and 'class="first"' or nil)
    last = run.policy
  end
  return element("h2", "Rates") .. table.concat(out, "\n") .. "</tbody></table></div>"
end

local function facts_list(facts)
  local out = {}
  for i, fact in ipairs(facts) do
    out[i] = element("dt", escape(fact[1])) .. element("dd", escape(fact[2]))
  end
  return element("dl", table.concat(out, "\n"))
end

local function picture(figure)
  local caption = element("b", escape(figure.title)) .. element("span", escape(figure.note))
  return element("figure", element("figcaption", caption) .. "\n" .. figure.svg)
end

local UNCALIBRATED = "The step cost is uncalibrated: it ranks policies, and does not predict milliseconds. "
  .. "<code>gdnmeta simulate --calibrate log.csv</code> fits it to measured steps."

--- The page.
---@param p table title, runs, figures (list, may be empty), missing (sentences), command, facts,
--- and body: HTML that stands before the table, table: false for none
---@return string html
function M.html(p)
  local out = { element("h1", escape(p.title)) }
  local function add(text) out[#out + 1] = text end
  add(facts_list(p.facts))
  if not p.calibrated then add(element("p", UNCALIBRATED, 'class="note"')) end
  for _, sentence in ipairs(report.warnings(p.runs)) do
    add(element("p", escape(sentence), 'class="note"'))
  end
  for _, sentence in ipairs(p.missing) do add(element("p", escape(sentence), 'class="note"')) end
  if p.body then add(p.body) end
  if #p.figures > 0 then
    local list = {}
    for i, figure in ipairs(p.figures) do list[i] = picture(figure) end
    add(element("h2", "Charts"))
    add(element("div", table.concat(list, "\n"), 'class="figures"'))
  end
  add(element("h2", "Numbers"))
  add(M.table(p.runs))
  for _, sentence in ipairs(compare.sentences(p.runs)) do add(element("p", escape(sentence) .. ".")) end
  for _, run in ipairs(p.runs) do add(element("p", escape(token_accounting.sentence(run)) .. ".")) end
  add(element("h2", "How to run this again"))
  add(element("pre", escape(p.command)))
  add(element("footer", escape(p.footer or "")))
  return ('<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
    .. '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>%s</title>\n'
    .. "<style>\n%s</style>\n<main>\n%s\n</main>\n</html>\n"):format(
    escape(p.title), stylesheet, table.concat(out, "\n"))
end

return M
