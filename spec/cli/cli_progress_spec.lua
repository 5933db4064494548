-- What the commands draw on stderr while they work, whole, against spec/goldens/texts: on a terminal, whose
-- clock leaps so that every line is drawn, or every third one; and in a pipe.
local json = require "cjson"
local golden = require "spec.support.golden"
local programs = require "spec.support.program"

local SMALL = " --preset constant-20ms --workload requests=3,rate=6,prompt_max=40,output_max=3 "

describe("While they work the commands draw #lua", function()
  local program, parts
  setup(function() program = programs.new() end)
  teardown(function() program.close() end)
  before_each(function() parts = {} end)

  -- One line for each that was drawn; how many times the same one came.
  local function drawn(text)
    local list, n = {}, 0
    for line in text:gsub("\r\27%[K", "\n<"):gmatch "[^\n]+" do
      if line == list[#list] then
        n = n + 1
      else
        if n > 0 then list[#list] = list[#list] .. (" (and %d times more)"):format(n) end
        list[#list + 1], n = line, 0
      end
    end
    return table.concat(list, "\n")
  end

  local function say(leap, arguments, input)
    local before = leap and ("GDN_LEAP=%g LUA_INIT=@spec/support/watched.lua"):format(leap) or ""
    local function placed(text) return (text:gsub("FOLDER", program.folder)) end
    local _, err, status = program.run(placed(arguments), placed(input or "") .. before)
    err = err:gsub(program.folder:gsub("%p", "%%%0"), "FOLDER"):gsub("steps, [%d.]+ s\n", "steps, TIME\n")
    parts[#parts + 1] = ("$ gdnmeta %s\n%s\nstatus %d\n"):format(arguments, drawn(err), status)
  end

  local function check(name) golden("cli-progress-" .. name, table.concat(parts, "\n")) end

  it("how many requests are done, and what each run took", function()
    for _, leap in ipairs { 0.2, 0.01, false } do
      say(leap, "simulate" .. SMALL)
      say(leap, "simulate --policy fcfs --policy fair" .. SMALL)
    end
    say(0.2, "simulate --quiet" .. SMALL)
    say(0.2, "simulate --policy none" .. SMALL)
    check "simulate"
  end)

  it("how many runs of a sweep, and of a comparison of caches", function()
    local sweep = "sweep --policy fcfs --policy fair --rates 1,2 --precision 40 --ttft-ms 30"
      .. SMALL:gsub("=3,", "=20,", 1)
    say(0.2, sweep)
    say(false, sweep)
    say(0.2, "sweep --rates 5 --jobs 2 --precision 30 --ttft-ms 20" .. SMALL)
    local caches = "--workload synthetic,sessions=3 --cache last_block --cache every_block "
    say(0.2, "sweep --preset constant-20ms --rates 0.1,0.2 --precision 60 --ttft-ms 500 --tpot-ms 99 "
      .. caches)
    say(0.2, "simulate --slots-only --cache-slots 8,64 " .. caches)
    say(0.2, "simulate --preset constant-20ms --cache gdsf --workload synthetic,sessions=1")
    check "sweep"
  end)

  it("how much of a large trace is read", function()
    local head, blank = "arrival_s,prompt_tokens,output_tokens\n0,5,2\n", (" "):rep(1023) .. "\n"
    for _, kilobytes in ipairs { 1900, 2048, 5300 } do
      program.write("trace-of-a-long-name.csv", head .. blank:rep(kilobytes))
      say(0.2, "simulate --preset constant-20ms --trace FOLDER/trace-of-a-long-name.csv")
    end
    program.write("two.csv", head .. blank:rep(2047) .. (" "):rep(1023 - #head) .. "\n") -- MiB, to the byte
    say(0.2, "simulate --preset constant-20ms --trace FOLDER/two.csv")
    say(0.2, "simulate --preset constant-20ms --trace /dev/stdin", "cat FOLDER/trace-of-a-long-name.csv |")
    check "trace"
  end)

  it("and say in the end what the host took", function()
    local clock = "GDN_LEAP=1.2345678e-6 GDN_MORE=%g LUA_INIT=@spec/support/watched.lua"
    for _, more in ipairs { 0, 3e-8 } do
      parts[#parts + 1] = program.run("simulate --quiet " .. SMALL, clock:format(more))
      local wall = json.decode((program.run("simulate --json -" .. SMALL, clock:format(more)))).runs[1].wall
      parts[#parts + 1] = ("policy %.9g %.9g us, build %.9g %.9g us, all %.9g s\n"):format(wall.policy_us.p50,
        wall.policy_us.p99, wall.build_us.p50, wall.build_us.p99, wall.seconds)
    end
    check "host"
  end)
end)
