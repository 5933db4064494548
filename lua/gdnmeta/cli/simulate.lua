-- gdnmeta simulate: one workload under one or several policies.
local caches = require "gdnmeta.cli.caches"
local fail = require("gdnmeta.cli.values").fail
local lab = require "gdnmeta.cli.lab"
local numbers = require "gdnmeta.sim.numbers"
local flags = require "gdnmeta.cli.flags"
local foreign_text = require "gdnmeta.native.foreign_text"
local output = require "gdnmeta.cli.output"
local refusals = require "gdnmeta.cli.refusals"
local terminal = require "gdnmeta.cli.terminal"
local values = require "gdnmeta.cli.values"
local exit_status = require "gdnmeta.cli.exit_status"

local M = {
  summary = "Run a workload through the engine in simulated time.",
  epilog = [[
examples:
  gdnmeta simulate --policy fcfs --policy decode_first --policy fair --report out.html
  gdnmeta simulate --trace azure2023_conv.csv --rate 6 --kv-tokens 200000 --policy mine.lua
  gdnmeta simulate --policy priority --classes 'chat:0.7,priority=0,ttft=1;batch:0.3,priority=5' --rate 9
  gdnmeta simulate --trace mooncake.jsonl --limit 5000 --closed-loop
  gdnmeta simulate --sessions 40 --think 5 --rate 1
  gdnmeta simulate --trace mooncake.jsonl --cache gdsf --cache mine.lua --report caches.html
  gdnmeta simulate --workload agents,sessions=50 --closed-loop --cache gdsf --cache-slots 16,64
  gdnmeta simulate --trace mooncake.jsonl --cache gdsf --slots-only --cache-slots 64,256,1024
  gdnmeta simulate --drafts 3 --accept 0.83,0.69,0.57 --json out.json
  gdnmeta simulate --calibrate steps.csv     columns tokens_padded,prefill_tokens,seqs,ctx_sum,ms]],
}

function M.describe(parser)
  parser:option("--policy", "Shipped policy, or path of a file; repeat for several (fcfs)."):count "*"
    :argname "POLICY"
  parser:option("--rate", "Requests per second; arrival times are scaled to it (not scaled)."):argname "R"
  flags.describe(parser)
  caches.describe(parser, true)
  parser:option("--label", "What the run is called: of one policy with one --cache, and none besides (its "
    .. "policy's name)."):argname "NAME"
  parser:option("--report", "Write a page with a table and charts; - is stdout (none)."):argname "HTML"
  parser:option("--json", "Write all numbers as JSON; - is stdout (none)."):argname "FILE"
  parser:option("--csv", "Write one line per request; - is stdout (none)."):argname "FILE"
  parser:flag("--quiet", "No progress.")
end

-- One run: of a policy, with a cell's cache.
local function run_of(args, base, policy, cell, progress)
  local o = caches.options(args, cell)
  o.policy = policy
  function o.progress(counters)
    progress:show(cell.label or policy, counters.finished, counters.n, "requests")
  end
  for name, value in pairs(base) do o[name] = value end
  local run = refusals.run(o)
  progress:say(("%s%s: %s requests in %s steps, %.1f s"):format(run.policy,
    cell.label and ", " .. cell.label or "", numbers.count(run.requests), numbers.count(run.steps),
    run.wall.seconds))
  return run
end

-- What a column is called: as the command line says, or by its policy, and by its cache.
local function name_runs(args, policies, cells, runs)
  if args.label then
    runs[1].policy = foreign_text.long(args.label)
    return
  end
  local first = {}
  for i in ipairs(policies) do first[i] = runs[(i - 1) * #cells + 1] end
  local label = require("gdnmeta.report.sweep").labels(policies, first)
  for i, policy in ipairs(policies) do
    for k, cell in ipairs(cells) do
      local run = runs[(i - 1) * #cells + k]
      run.policy = not cell.label and label[policy] or #policies == 1 and cell.label
        or ("%s, %s"):format(label[policy], cell.label)
    end
  end
end

local function base_of(args, progress)
  local base = flags.build(args, function(line) progress:say(line) end)
  base.rate = values.read("--rate", args.rate, values.number(1e-6, 1e6, "requests per second"))
  return base
end

--- Run the workload under each policy in turn, and under each with every cache.
---@param args table parsed
---@return table runs
function M.runs(args)
  local progress = terminal.progress(args.quiet)
  local base = base_of(args, progress)
  local policies, cells, runs = flags.policies(args, true), { {} }, {}
  if #args.cache > 0 then cells = caches.cells(args, base) end
  flags.read_trace(base, progress)
  if args.label and #policies * #cells > 1 then
    fail("--label = %s, want one run: of a policy, with one cache at most", args.label)
  end
  caches.check_identity(base, cells)
  for _, policy in ipairs(policies) do
    for _, cell in ipairs(cells) do runs[#runs + 1] = run_of(args, base, policy, cell, progress) end
  end
  progress:clear()
  name_runs(args, policies, cells, runs)
  return runs
end

function M.run(args)
  output.check(args)
  values.read("--label", args.label, values.text "a name")
  caches.check(args)
  if args.slots_only then
    local progress = terminal.progress(args.quiet)
    return lab.run(args, base_of(args, progress), progress)
  end
  local runs = M.runs(args)
  output.deliver(args, output.command(args.argv), runs, require("gdnmeta.report.pages").simulate)
  if not output.on_stdout(args) then output.say(require("gdnmeta.report.text").report(runs)) end
  return exit_status.status(runs)
end

return M
