-- gdnmeta sweep: policies at several rates, and the highest rate that each of them stands.
local fail = require("gdnmeta.cli").fail
local format = require "gdnmeta.sim.format"
local jobs = require "gdnmeta.cli.jobs"
local merge = require "gdnmeta.cli.merge"
local options = require "gdnmeta.cli.options"
local output = require "gdnmeta.cli.output"
local sweep = require "gdnmeta.sim.sweep"
local terminal = require "gdnmeta.cli.terminal"

local M = {
  summary = "Run policies at several rates and find the highest one they stand.",
  epilog = [[
examples:
  gdnmeta sweep --policy fcfs --policy decode_first --rates 4:8:1 --jobs 2 --report sweep.html
  gdnmeta sweep --policy fcfs --policy mine.lua --rates 2,4,8,16 --print-jobs >jobs.txt
  parallel <jobs.txt && gdnmeta merge cell-*.json --report sweep.html]],
}

function M.describe(parser)
  parser:option("--policy", "Name of a shipped policy or path of a file; again for several (fcfs)."):count "*"
    :argname "POLICY"
  parser:option("--rates", "Requests a second: 2,4,8 or from:to:step (half to twice the workload's own).")
    :argname "LIST"
  parser:option("--attainment", "Percent of requests that must meet both targets (90)."):argname "P"
  parser:option("--precision", "Percent by which the highest rate may be off (2)."):argname "P"
  options.describe(parser)
  parser:option("--jobs", "Processes side by side (1)."):argname "N"
  parser:flag("--print-jobs", "Print a shell command for each cell instead of running it.")
  parser:option("--report", "Write a page with table and pictures."):argname "HTML"
  parser:option("--json", "Write all figures; - is stdout."):argname "FILE"
  parser:flag("--quiet", "No progress.")
end

local function number(args, name, default, least, most)
  if args[name] == nil then return default end
  local n = tonumber(args[name])
  if not n or not (n >= least and n <= most) then
    fail("--%s = %s, want a number in %g .. %g", name, args[name], least, most)
  end
  return n
end

local function wrong_rates(text) fail("--rates = %s, want numbers > 0 such as 2,4,8 or 2:12:2", text) end

-- "2,4,8" or "from:to:step".
local function parse_rates(text)
  local rates = {}
  local from, to, step = text:match "^([%d.]+):([%d.]+):([%d.]+)$"
  if from then
    from, to, step = tonumber(from), tonumber(to), tonumber(step)
    if not (from and to and step) or from <= 0 or step <= 0 or (to - from) / step > 1000 then
      wrong_rates(text)
    end
    for i = 0, math.floor((to - from) / step + 1e-9) do rates[i + 1] = from + i * step end
  else
    for part in (text .. ","):gmatch "([^,]*)," do
      local rate = tonumber(part)
      if not rate or not (rate > 0 and rate <= 1e6) then wrong_rates(text) end
      rates[#rates + 1] = rate
    end
  end
  if #rates == 0 then wrong_rates(text) end
  return rates
end

-- Files of their own, though only letters and digits of a policy's path are in their names.
local function print_jobs(args, cells)
  local taken = {}
  for i, cell in ipairs(cells) do
    local file = jobs.file(cell)
    if taken[file] then file = file:gsub("%.json$", ("-%d.json"):format(i)) end
    taken[file] = true
    print(output.command(jobs.argv(args, cell, file)))
  end
end

function M.run(args)
  local progress = terminal.progress(args.quiet)
  local base = options.build(args, function(line) progress:say(line) end)
  local policies = #args.policy > 0 and args.policy or { "fcfs" }
  local share = number(args, "attainment", 90, 0.01, 100) / 100
  local width = number(args, "precision", 2, 0.01, 100) / 100
  args.jobs = math.floor(number(args, "jobs", 1, 1, 1024))
  local rates, message
  if args.rates then rates = parse_rates(args.rates) else rates, message = sweep.own_rates(base) end
  if not rates then fail("%s", message) end
  if args.print_jobs then return print_jobs(args, sweep.grid(policies, rates)) end
  output.check(args)
  local done = 0
  local runs = sweep.search(policies, rates, share, width, function(cells)
    return jobs.run(args, cells, base, function(run)
      done = done + 1
      progress:say(("%s at %s/s: %s %% within the targets"):format(run.policy, format.number(run.setup.rate),
        format.percent(run.attainment)))
      progress:show("sweep", done, math.max(done, #policies * #rates), "runs")
    end)
  end)
  progress:clear()
  merge.deliver(args, runs, share)
end

return M
