-- gdnmeta sweep: policies, with caches or without, at several rates, and the highest rate that each sustains.
local caches = require "gdnmeta.cli.caches"
local fail = require("gdnmeta.cli.values").fail
local numbers = require "gdnmeta.sim.numbers"
local parallel = require "gdnmeta.cli.parallel"
local merge = require "gdnmeta.cli.merge"
local flags = require "gdnmeta.cli.flags"
local foreign_text = require "gdnmeta.native.foreign_text"
local output = require "gdnmeta.cli.output"
local refusals = require "gdnmeta.cli.refusals"
local sweep = require "gdnmeta.report.sweep"
local terminal = require "gdnmeta.cli.terminal"
local values = require "gdnmeta.cli.values"

local M = {
  summary = "Run policies at several rates and find the highest one each sustains.",
  epilog = [[
examples:
  gdnmeta sweep --policy fcfs --policy decode_first --rates 4:8:1 --jobs 2 --report sweep.html
  gdnmeta sweep --workload synthetic,sessions=60 --kv-unlimited --cache gdsf --rates 0.1,0.2 --ttft-ms 10000
  gdnmeta sweep --policy fcfs --policy mine.lua --rates 2,4,8,16 --print-jobs >jobs.txt
  parallel <jobs.txt && gdnmeta merge cell-*.json --report sweep.html]],
}

function M.describe(parser)
  parser:option("--policy", "Shipped policy, or path of a file; repeat for several (fcfs)."):count "*"
    :argname "POLICY"
  parser:option("--rates", "Requests per second to try before the search for the highest: 2,4,8 or "
    .. "from:to:step (half to twice the workload's own).")
    :argname "LIST"
  parser:option("--attainment", "Percent of requests that must meet their targets (90)."):argname "P"
  parser:option("--precision", "Percent by which the highest rate may be off (2)."):argname "P"
  flags.describe(parser)
  caches.describe(parser)
  parser:option("--jobs", "Processes that run in parallel (1)."):argname "N"
  parser:flag("--print-jobs", "Print a shell command for each cell instead of running it.")
  parser:option("--report", "Write a page with a table and charts; - is stdout (none)."):argname "HTML"
  parser:option("--json", "Write all numbers as JSON; - is stdout (none)."):argname "FILE"
  parser:flag("--quiet", "No progress.")
end

local percent = values.number(0.01, 100)

-- "2,4,8" or "from:to:step".
local function rates_of(text)
  local wanted, rates, seen = "different rates in 1e-06 .. 1000000 such as 2,4,8 or 2:12:2", {}, {}
  local from, to, step = text:match "^([^:]+):([^:]+):([^:]+)$"
  if from then
    from, to, step = values.decimal(from), values.decimal(to), values.decimal(step)
    if not (from and to and step and step > 0 and to >= from and (to - from) / step <= 1000) then
      return nil, wanted
    end
    for i = 0, math.floor((to - from) / step + 1e-9) do rates[i + 1] = from + i * step end
  else
    for part in (text .. ","):gmatch "([^,]*)," do rates[#rates + 1] = values.decimal(part) or 0 end
  end
  for _, rate in ipairs(rates) do
    if seen[rate] or not (rate >= 1e-6 and rate <= 1e6) then return nil, wanted end
    seen[rate] = true
  end
  return rates
end

-- Each policy with each cache: what is searched, and what it is called. Without caches: the policies.
local function entrants(args, policies, base)
  if #args.cache == 0 then return policies end
  local list, label, cells = {}, {}, caches.cells(args, base)
  for _, policy in ipairs(policies) do
    for _, cell in ipairs(cells) do
      local entrant = { policy = policy, cache = cell }
      list[#list + 1] = entrant
      label[entrant] = #policies == 1 and cell.label
        or ("%s, %s"):format(foreign_text.long(policy), cell.label)
    end
  end
  return list, label, cells
end

-- Cells of the search as jobs.
local function jobs_of(cells, label)
  if not label then return cells end
  local list = {}
  for i, cell in ipairs(cells) do
    local entrant = cell.policy
    list[i] = { policy = entrant.policy, cache = entrant.cache, label = label[entrant], rate = cell.rate }
  end
  return list
end

-- Files of their own, though only letters and digits of a policy's path are in their names.
local function print_jobs(args, cells)
  local taken = {}
  for i, cell in ipairs(cells) do
    local file = parallel.file(cell)
    if taken[file] then file = file:gsub("%.json$", ("-%d.json"):format(i)) end
    taken[file] = true
    print(output.command(parallel.argv(args, cell, file)))
  end
end

function M.run(args)
  local progress = terminal.progress(args.quiet)
  local share = values.read("--attainment", args.attainment, percent, 90) / 100
  local width = values.read("--precision", args.precision, percent, 2) / 100
  args.jobs = values.read("--jobs", args.jobs, values.integer(1, 1024), 1)
  local rates, message = values.read("--rates", args.rates, rates_of), nil
  local base = flags.build(args, function(line) progress:say(line) end, args.print_jobs or args.jobs > 1)
  caches.check(args)
  local policies, label, cells = entrants(args, flags.policies(args, not args.print_jobs), base)
  if not args.print_jobs and args.jobs == 1 or not rates then flags.read_trace(base, progress) end
  if not rates then rates, message = sweep.own_rates(base) end
  if not rates then fail("%s", (refusals.by_flag(message):gsub("want rates$", "want --rates"))) end
  base.rate = nil -- of the workload that caches have of their own
  if args.print_jobs then return print_jobs(args, jobs_of(sweep.grid(policies, rates), label)) end
  caches.check_identity(base, cells or {})
  output.check(args)
  local done = 0
  local runs = sweep.search(policies, rates, share, width, function(wanted)
    local jobs = jobs_of(wanted, label)
    return parallel.run(args, jobs, base, function(run, i)
      done = done + 1
      progress:say(("%s at %s/s: %s %% within the targets"):format(jobs[i].label or run.policy,
        numbers.number(run.setup.rate), numbers.percent(run.attainment)))
      progress:show("sweep", done, math.max(done, #policies * #rates), "runs")
    end)
  end, label)
  progress:clear()
  return merge.deliver(args, runs, share)
end

return M
