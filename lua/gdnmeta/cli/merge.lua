-- gdnmeta merge: joins the results of a sweep's jobs, which may come from many machines.
local check = require "gdnmeta.native.args"
local fail = require("gdnmeta.cli.values").fail
local max_rate = require "gdnmeta.report.max_rate"
local output = require "gdnmeta.cli.output"
local run_files = require "gdnmeta.cli.run_files"
local values = require "gdnmeta.cli.values"
local exit_status = require "gdnmeta.cli.exit_status"

local M = {
  summary = "Join results of simulate --json into one table or page.",
  epilog = [[
examples:
  gdnmeta merge cell-*.json
  gdnmeta merge cell-*.json --attainment 95 --report sweep.html --json all.json]],
}

function M.describe(parser)
  parser:argument("files", "JSON files that simulate, sweep or merge wrote."):args "+"
  parser:option("--attainment", "Percent of requests that must meet their targets (90)."):argname "P"
  parser:option("--report", "Write a page with a table and charts; - is stdout (none)."):argname "HTML"
  parser:option("--json", "Write all numbers as JSON; - is stdout (none)."):argname "FILE"
end

--- Write the requested files of a sweep's runs, and print the table.
---@param args table report, json, argv
---@param runs table
---@param share number attainment that is wanted
---@return integer|nil status
function M.deliver(args, runs, share)
  max_rate.sort(runs)
  output.deliver(args, output.command(args.argv), runs, function(list, command)
    return require("gdnmeta.report.pages").sweep(list, share, command)
  end)
  if not output.on_stdout(args) then output.say(require("gdnmeta.report.text").sweep(runs, share)) end
  return exit_status.status(runs)
end

-- The classes of a run, and how many requests are of each.
local function classes_of(run)
  local parts = {}
  for i, class in ipairs(run.classes or {}) do parts[i] = ("%s (%d)"):format(class.name, class.requests) end
  return #parts > 0 and table.concat(parts, ", ") or "none"
end

-- Runs of different workloads, limits or step costs say nothing about each other.
local function check_alike(first, run, path)
  if first.requests ~= run.requests then
    fail("%s: requests = %d, the first file has %d", path, run.requests, first.requests)
  end
  local here, there = classes_of(run), classes_of(first)
  if here ~= there then fail("%s: classes = %s, the first file has %s", path, here, there) end
  for _, name in ipairs { "ttft_ms", "tpot_ms", "gap_ms" } do
    if first.targets[name] ~= run.targets[name] then
      fail("%s: %s = %s, the first file has %s", path, name, tostring(run.targets[name]),
        tostring(first.targets[name]))
    end
  end
  local notices, others = table.concat(run.setup.notices or {}, "; "), first.setup.notices or {}
  if notices ~= table.concat(others, "; ") then
    fail("%s: notes on its requests = %s, the first file has %s", path, check.word(notices),
      check.word(table.concat(others, "; ")))
  end
  for _, name in ipairs { "workload", "seed", "cost_name", "max_num_seqs", "max_num_batched_tokens",
                          "kv_tokens", "mamba_cache_mode", "num_speculative_tokens", "async" } do
    if first.setup[name] ~= run.setup[name] then
      fail("%s: %s = %s, the first file has %s", path, name, tostring(run.setup[name]),
        tostring(first.setup[name]))
    end
  end
end

function M.run(args)
  local share = values.read("--attainment", args.attainment, values.number(0.01, 100), 90)
  output.check(args)
  local runs, seen = {}, {}
  for _, path in ipairs(args.files) do
    for _, run in ipairs(run_files.read(path)) do
      check_alike(runs[1] or run, run, path)
      local cell = ("%s %.9g"):format(run.policy, run.setup.rate or 0)
      local same = seen[cell]
      if not same then
        runs[#runs + 1], seen[cell] = run, run
      elseif same.goodput ~= run.goodput or same.seconds ~= run.seconds then
        fail("%s: another run of a policy called %s at this rate came before", path, run.policy)
      end
    end
  end
  if #runs == 0 then fail "no runs in these files" end
  return M.deliver(args, runs, share / 100)
end

return M
