-- A run, or several side by side, as text.
local identical_runs = require "gdnmeta.report.identical_runs"
local compare = require "gdnmeta.report.compare"
local token_accounting = require "gdnmeta.sim.token_accounting"
local numbers = require "gdnmeta.sim.numbers"
local max_rate = require "gdnmeta.report.max_rate"
local metrics_table = require "gdnmeta.report.metrics_table"

local M = {}

--- Notes on how the workload was read, of any of the runs.
---@param runs table
---@return table sentences
function M.notices(runs)
  local list, seen = {}, {}
  for _, run in ipairs(runs) do
    for _, notice in ipairs(run.setup.notices or {}) do
      if not seen[notice] then list[#list + 1], seen[notice] = notice, true end
    end
  end
  return list
end

--- What was run, one fact per line: { name, text }.
---@param runs table of one workload
---@param many_rates? boolean they are of several rates
---@return table facts
function M.facts(runs, many_rates)
  local run = runs[1]
  local s = run.setup
  local facts = {
    { "workload", ("%s, %s requests%s, seed %d"):format(s.workload, numbers.count(run.requests),
      s.rate and not many_rates and (", %s %sper second"):format(numbers.number(s.rate),
        s.rate_unit and s.rate_unit .. " " or "") or "", s.seed) },
    { "step cost", ("%s, %s"):format(s.cost_name, s.calibrated and "calibrated" or "uncalibrated") },
    { "limits", ("%s requests and %s tokens per step, %s attention-cache tokens"):format(
      numbers.count(s.max_num_seqs), numbers.count(s.max_num_batched_tokens),
      s.kv_tokens > 0 and numbers.count(s.kv_tokens) or "unlimited") },
    { "model", ("%d GDN cache groups, mode %s, %d drafts per step%s"):format(s.num_groups, s.mamba_cache_mode,
      s.num_speculative_tokens, s.async and ", host one step ahead" or "") },
    { "targets", ("first token within %s ms, then %s ms per token%s"):format(
      numbers.number(run.targets.ttft_ms), numbers.number(run.targets.tpot_ms),
      run.targets.gap_ms and (", no gap over %s ms"):format(numbers.number(run.targets.gap_ms)) or "") },
  }
  for _, notice in ipairs(M.notices(runs)) do facts[#facts + 1] = { "note", notice } end
  return facts
end

--- Columns' names: policies, followed by the rate if rates differ.
---@param runs table
---@return table names
function M.names(runs)
  local names, rates = {}, {}
  for _, run in ipairs(runs) do rates[#rates + 1] = run.setup.rate end
  table.sort(rates)
  local differ = #rates > 1 and rates[#rates] - rates[1] > 1e-6 * rates[1]
  for i, run in ipairs(runs) do
    names[i] = run.policy .. (differ and (" @ %s/s"):format(numbers.number(run.setup.rate)) or "")
  end
  return names
end

--- The aligned table; a star marks the best of several.
---@param runs table of one workload
---@return string
function M.text(runs)
  local rows, starred = {}, false
  local head = { "", "" }
  for i, name in ipairs(M.names(runs)) do head[i + 2] = name .. " " end
  rows[1] = head
  for _, section in ipairs(metrics_table.of(runs)) do
    local filled = metrics_table.filled(section, runs)
    if #filled > 0 then rows[#rows + 1] = { section[1] } end
    for _, row in ipairs(filled) do
      local cells = { "  " .. row.label, row.unit }
      for i, text in ipairs(row.texts) do
        cells[i + 2], starred = text .. (row.best[i] and "*" or " "), starred or row.best[i]
      end
      rows[#rows + 1] = cells
    end
  end
  return numbers.columns(rows) .. (starred and "\n\n* the best of these runs" or "")
end

--- Sentences for runs that did the same, whose policy failed, that turned requests away or starved them.
---@param runs table
---@return table sentences
function M.warnings(runs)
  local sentences = identical_runs.sentences(runs, M.names(runs))
  for _, run in ipairs(runs) do
    local f = run.failure
    if f then
      sentences[#sentences + 1] = ("%s failed: the built-in policy made %s steps; step %d, %s: %s"):format(
        run.policy, numbers.count(run.fallbacks), f.step, f.hook, f.message)
    end
    local c = run.cache and run.cache.failure
    if c then
      local off = c.switched_off and " and was switched off" or ""
      sentences[#sentences + 1] = ("%s: its cache failed%s, the built-in one went on; step %d, %s: %s")
        :format(run.policy, off, c.step, c.hook, c.message)
    end
    if run.cache and (run.cache.without_identity or 0) > 0 then
      sentences[#sentences + 1] = ("%s: %s of %s requests have no identity, and were computed whole"):format(
        run.policy, numbers.count(run.cache.without_identity), numbers.count(run.requests))
    end
    if run.rejection then
      sentences[#sentences + 1] = ("%s turned %s of %s requests away, the first was %s"):format(
        run.policy, numbers.count(run.rejected), numbers.count(run.requests), run.rejection)
    end
    if (run.starved or 0) > 0 then
      sentences[#sentences + 1] = ("%s starved %s of %s requests: in the queue for over 10 times the target, "
        .. "request %s for %s s"):format(run.policy, numbers.count(run.starved), numbers.count(run.requests),
        tostring(run.longest_waiter), numbers.number(run.longest_wait_ms / 1000))
    end
  end
  return sentences
end

--- Everything: what was run, the table, and how the runs compare request by request.
---@param runs table|table a run or a list of runs
---@return string
function M.report(runs)
  if runs.setup then runs = { runs } end
  local parts = {}
  for _, fact in ipairs(M.facts(runs)) do parts[#parts + 1] = ("%-10s %s"):format(fact[1], fact[2]) end
  parts[#parts + 1] = ""
  parts[#parts + 1] = M.text(runs)
  parts[#parts + 1] = ""
  for _, sentence in ipairs(M.warnings(runs)) do parts[#parts + 1] = sentence end
  for _, sentence in ipairs(compare.sentences(runs)) do parts[#parts + 1] = sentence end
  for _, run in ipairs(runs) do parts[#parts + 1] = token_accounting.sentence(run) end
  return table.concat(parts, "\n")
end

local number = numbers.number
local SWEEP = {
  { "rate", "1/s", function(run) return run.setup.rate end, number },
  { "within targets", "%", function(run) return run.attainment end, numbers.percent },
  { "goodput", "1/s", function(run) return run.goodput end, number },
  { "first token p50", "ms", function(run) return run.ttft.p50 end, number },
  { "p99", "ms", function(run) return run.ttft.p99 end, number },
  { "gap p99", "ms", function(run) return run.itl.p99 end, number },
  { "preemptions", "", function(run) return run.preemptions end, numbers.count },
}

local function served(run) return run.cache and run.cache.hit end
local SERVED = { "from the cache", "%", served, numbers.percent }

--- The columns of a sweep's table: { name, unit, value(run), formatter }.
---@param runs table
---@return table columns
function M.sweep_columns(runs)
  local columns, has_cache = { unpack(SWEEP) }, false
  for _, run in ipairs(runs) do has_cache = has_cache or run.cache ~= nil end
  if has_cache then columns[#columns + 1] = SERVED end
  return columns
end

--- Their figures.
---@param runs table
---@return table texts texts[i][k] of the run i in the column k
function M.sweep_texts(runs)
  local texts = {}
  for i in ipairs(runs) do texts[i] = {} end
  for k, column in ipairs(M.sweep_columns(runs)) do
    local values = {}
    for i, run in ipairs(runs) do values[i] = column[3](run) end
    for i, text in ipairs(numbers.alike(column[4], values, #runs)) do texts[i][k] = text end
  end
  return texts
end

--- The highest rate that each policy sustains, one sentence each.
---@param runs table
---@param share number
---@return table sentences
function M.max_rates(runs, share)
  local sentences = {}
  for i, policy in ipairs(max_rate.policies(runs)) do
    local b = max_rate.bracket(runs, policy, share)
    local upto = b.bad and ("not at %s"):format(numbers.number(b.bad)) or "no rate was too high"
    sentences[i] = not (b.good or b.bad) and policy .. ": its requests came all at once, at no rate"
      or b.good and ("%s: %s requests/s with at least %s %% within the targets, %s"):format(
      policy, numbers.number(b.good), numbers.percent(share), upto)
      or ("%s: no rate had %s %% within the targets, %s"):format(policy, numbers.percent(share), upto)
  end
  return sentences
end

--- A sweep as text: one line per run, then the highest rates.
---@param runs table sorted
---@param share number
---@return string
function M.sweep(runs, share)
  local rows, last = { { "" }, { "" } }, nil
  for i, column in ipairs(M.sweep_columns(runs)) do rows[1][i + 1], rows[2][i + 1] = column[1], column[2] end
  local texts = M.sweep_texts(runs)
  for i, run in ipairs(runs) do
    rows[#rows + 1], last = { run.policy == last and "" or run.policy, unpack(texts[i]) }, run.policy
  end
  local notices = {}
  for i, notice in ipairs(M.notices(runs)) do notices[i] = "note       " .. notice .. "\n" end
  return table.concat(notices) .. (#notices > 0 and "\n" or "") .. numbers.columns(rows)
    .. "\n\nhighest rate\n  " .. table.concat(M.max_rates(runs, share), "\n  ")
end

return M
