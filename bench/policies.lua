-- What policies achieve: fixed, seeded scenarios in simulated time, one file each in bench/policies/, and a
-- line a figure with the bound that it must keep:
--   policy-bench <scenario> <figure> <value> want <bound>
--   make bench-policies       (ONLY="vtc shapes" for some; TRACES=<folder> of recorded traces)
-- Exit status 1: a bound was missed, 2: a scenario failed. One whose trace is not there is skipped, and the
-- last line says so. Each has a process of its own, so that they do not share compiled code.
local scenarios = require "bench.scenario"

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- How the process of a scenario ended: its exit status, or "stopped" by ctrl-C.
local function run_apart(name)
  local status = os.execute(("luajit bench/policies.lua --one %s"):format(quoted(name)))
  if status % 256 == 2 or status == 130 * 256 then return "stopped" end
  return status % 256 == 0 and status / 256 or 2
end

local function run_all(names)
  local ended = { [0] = 0, [1] = 0, [2] = 0, [scenarios.SKIPPED] = 0 }
  for _, name in ipairs(names) do
    local status = run_apart(name)
    if status == "stopped" then return 130 end
    status = ended[status] and status or 2
    ended[status] = ended[status] + 1
  end
  print(("policy-bench: %d scenarios, %d missed a bound, %d failed, %d skipped for want of a trace"):format(
    #names, ended[1], ended[2], ended[scenarios.SKIPPED]))
  return ended[2] > 0 and 2 or ended[1] > 0 and 1 or 0
end

local function main(argv)
  if argv[1] == "--one" then return scenarios.run(argv[2]) end
  local names = scenarios.names()
  if argv[1] == "--list" then
    for _, name in ipairs(names) do print(("%-20s %s"):format(name, scenarios.load(name).about)) end
    return 0
  end
  if #argv > 0 then names = argv end
  return run_all(names)
end

os.exit(main(arg))
