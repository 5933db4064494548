-- The cells of a sweep: one policy at one rate each, with a cache or without, run here one after the other,
-- or by several processes side by side.
local caches = require "gdnmeta.cli.caches"
local fail = require("gdnmeta.cli.values").fail
local flags = require "gdnmeta.cli.flags"
local output = require "gdnmeta.cli.output"
local refusals = require "gdnmeta.cli.refusals"
local run_files = require "gdnmeta.cli.run_files"
local signals = require "gdnmeta.native.signals"

local M = {}

--- Arguments of `gdnmeta simulate` for a cell.
---@param args table parsed arguments of the sweep
---@param cell table policy, rate; where caches are compared label, and cache: a cell of cli.caches
---@param path string where its result goes
---@return table argv
function M.argv(args, cell, path)
  local argv = { "simulate", "--policy", cell.policy, "--rate", ("%.9g"):format(cell.rate) }
  if cell.cache then
    for _, word in ipairs(caches.argv(args, cell.cache)) do argv[#argv + 1] = word end
    argv[#argv + 1], argv[#argv + 2] = "--label", cell.label
  end
  for _, word in ipairs(flags.again(args)) do argv[#argv + 1] = word end
  argv[#argv + 1], argv[#argv + 2] = "--json", path
  return argv
end

--- The name of a cell's file.
---@param cell table
---@return string
function M.file(cell)
  local policy = (cell.label or cell.policy):gsub("[^%w_-]+", "-"):gsub("^-+", "")
  return ("cell-%s-%.6g.json"):format(policy, cell.rate)
end

local function here(args, cells, base, report)
  local runs = {}
  for i, cell in ipairs(cells) do
    local o = caches.options(args, cell.cache or {})
    o.policy, o.rate = cell.policy, cell.rate
    for name, value in pairs(base) do o[name] = value end
    runs[i] = refusals.run(o)
    report(runs[i], i)
  end
  return runs
end

local function folder()
  local path = os.tmpname()
  os.remove(path)
  if os.execute("mkdir " .. output.quote(path)) ~= 0 then fail("mkdir %s failed", path) end
  return path
end

-- A shell line that runs a cell and prints the outcome on stdout, and nothing else: half a line of a table
-- would hide another's outcome. Status 1 is a result as well. The cell holds stdout as descriptor 3, so that
-- a reader comes to its end only when the cell has ended.
local function shell_line(args, cell, i, path)
  local words = {}
  for k, word in ipairs(M.argv(args, cell, path)) do words[k] = output.quote(word) end
  return ("%s %s --quiet 3>&1 >/dev/null 2>%s.err; [ $? -le 1 ] && echo done %d || echo failed %d"):format(
    output.quote(args.program), table.concat(words, " "), output.quote(path), i, i)
end

-- xargs keeps `jobs` of them going, and hands on what they say. All of them are one session, which is ended
-- and waited for when this process is to stop.
local function beside(args, cells, report)
  local place, pipe, leader, runs, broken = folder(), nil, nil, {}, nil
  local function path(i) return ("%s/%d.json"):format(place, i) end
  local function work()
    local lines = {}
    for i, cell in ipairs(cells) do lines[i] = shell_line(args, cell, i, path(i)) end
    output.write(place .. "/jobs", table.concat(lines, "\n") .. "\n")
    pipe = io.popen(("echo $$; exec setsid xargs -P %d -d '\\n' -n 1 sh -c <%s/jobs"):format(args.jobs,
      output.quote(place)))
    leader = pipe:read "*l"
    for line in pipe:lines() do
      local word, i = line:match "^(%a+) (%d+)$"
      i = tonumber(i)
      if word == "done" then
        runs[i] = run_files.read(path(i))[1]
        report(runs[i], i)
      elseif word == "failed" and not broken then
        local file = io.open(path(i) .. ".err")
        broken = file and file:read "*a" or "no reason given"
        if file then file:close() end
      end
    end
  end
  signals.guarded(work, function(finished)
    if pipe then
      leader = leader or pipe:read "*l"
      if not finished then os.execute(("kill -s TERM -- -%s 2>/dev/null"):format(leader)) end
      pipe:read "*a" -- ends with the last of them
      pipe:close()
    end
    os.execute("rm -rf " .. output.quote(place))
  end)
  for i = 1, #cells do
    if not runs[i] then broken = broken or "xargs ended before it" end
  end
  if broken then fail("a job failed: %s", (broken:gsub("^gdnmeta: ", ""):gsub("%s+$", ""))) end
  return runs
end

--- Run cells.
---@param args table parsed: jobs (a number), program
---@param cells table list of { policy, rate, cache, label }
---@param base table options of sim.run for the case of one job
---@param report function called as report(run, number of the cell)
---@return table runs in the order of the cells
function M.run(args, cells, base, report)
  if args.jobs == 1 then return here(args, cells, base, report) end
  return beside(args, cells, report)
end

return M
