-- gdnmeta simulate --cache --slots-only: a workload whose prompts have identity, against caches, by state
-- slots alone.
local caches = require "gdnmeta.cli.caches"
local cost = require "gdnmeta.sim.cost"
local fail = require("gdnmeta.cli.values").fail
local flags = require "gdnmeta.cli.flags"
local inputs = require "gdnmeta.cli.inputs"
local output = require "gdnmeta.cli.output"
local presets = require "gdnmeta.sim.presets"
local prompt_ids = require "gdnmeta.sim.prompt_ids"
local refusals = require "gdnmeta.cli.refusals"
local report = require "gdnmeta.report.lab"
local run_files = require "gdnmeta.cli.run_files"
local scenario = require "gdnmeta.sim.scenario"
local sim = require "gdnmeta.sim"

local M = {}

local WINDOWS = 20
local UNUSED = { "policy", "slots", "max_seqs", "max_tokens", "max_model_len", "kv_tokens", "async", "drafts",
                 "cache_mode", "closed_loop", "sessions", "cache_replies", "host_slots", "host_link",
                 "label" }

-- What only an engine heeds is refused, not ignored.
local function check(args)
  for _, name in ipairs(UNUSED) do
    local value = args[name]
    if value and not (type(value) == "table" and #value == 0) then
      fail("--%s wants an engine, without --slots-only", (name:gsub("_", "-")))
    end
  end
end

-- Milliseconds until the first token of a prompt alone, on average.
local function first_token(model, requests, cached)
  local sum = 0
  for i, r in ipairs(requests) do
    local hit = cached and cached[i] or 0
    local n = r.prompt - hit
    sum = sum + model:ms(n, n, 1, hit, n * hit + n * n / 2, 0, false, 0)
  end
  return sum / #requests
end

local function replay(args, requests, cell, preset)
  local cache = assert(inputs.load("cache", cell.cache, args))
  local ok, run = pcall(sim.lab.replay, requests, cache, { slots = cell.cache_slots, windows = WINDOWS,
    state_bytes = preset.state_bytes or 1, kv_bytes = preset.kv_bytes })
  if not ok then fail("cache %s: %s", cell.label, (tostring(run):gsub("^[^:\n]*%.lua:%d+: ", "", 1))) end
  run.name = cell.name
  if not preset.state_bytes then run.bytes = nil end
  return run
end

local function csv(runs, requests)
  local lines = { "cache,slots,request,arrival_s,prompt_tokens,cached_tokens" }
  for _, run in ipairs(runs) do
    for i, r in ipairs(requests) do
      lines[#lines + 1] = ("%s,%d,%d,%.6f,%d,%d"):format(output.cell(run.name), run.slots, i, r.arrival,
        r.prompt, run.cached[i])
    end
  end
  for _, notice in ipairs(requests.notices or {}) do lines[#lines + 1] = "# " .. notice end
  return table.concat(lines, "\n") .. "\n"
end

--- Run it.
---@param args table parsed
---@param base table options of sim.run
---@param progress table of terminal.progress
function M.run(args, base, progress)
  check(args)
  local cells = caches.cells(args, base)
  flags.read_trace(base, progress)
  local o = scenario.options(base)
  local requests, message = sim.load.requests(o)
  if not requests then fail("%s", refusals.by_flag(message)) end
  local known
  known, message = prompt_ids.identify(requests, o)
  if not known then fail("%s", message) end
  local preset = assert(presets.get(o.preset))
  local model, runs = cost.new(o.cost or preset.coefficients), {}
  for _, cell in ipairs(cells) do
    if cell.cache then
      progress:show(cell.label, #runs, #cells - 1, "replays")
      local run = replay(args, requests, cell, preset)
      run.first_ms = first_token(model, requests, run.cached)
      runs[#runs + 1] = run
    end
  end
  progress:clear()
  if #runs == 0 then fail "--slots-only wants a cache: without one nothing is kept" end
  local facts = report.facts(requests, runs[1].ceiling, first_token(model, requests))
  local command = output.command(args.argv)
  if args.json then output.write(args.json, run_files.replays(command, runs, facts)) end
  if args.csv then output.write(args.csv, csv(runs, requests)) end
  if args.report then output.write(args.report, report.page(runs, facts, command)) end
  if not output.on_stdout(args) then output.say(report.text(runs, facts)) end
  return 0
end

return M
