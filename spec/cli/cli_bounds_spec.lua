-- Commands at the bounds of their options, whole, against spec/goldens/texts.
local golden = require "spec.support.golden"
local recordings = require "spec.support.recordings"
local programs = require "spec.support.program"

local SMALL = " --preset constant-20ms --workload requests=3,rate=6,prompt_max=40,output_max=3 --quiet "

describe("At its bounds a command #lua", function()
  local program, parts
  setup(function() program = programs.new() end)
  teardown(function() program.close() end)
  before_each(function() parts = {} end)

  local function say(arguments)
    local out, err, status = program.run((arguments:gsub("FOLDER", program.folder)))
    local text = (out .. err):gsub(program.folder:gsub("%p", "%%%0"), "FOLDER")
    text = text:gsub("recorded by gdnmeta %S+", "recorded by gdnmeta VERSION")
    -- How long the host took: its figures, and with them the width of columns.
    text = text:gsub("\n(  [%l ,]+p[59][09] +us) [^\n]*", "\n%1 TIME")
    text = text:gsub("  +", text:find "TIME" and "  " or "%0")
    parts[#parts + 1] = ("$ gdnmeta %s\n%sstatus %d\n"):format(arguments, text, status)
  end

  it("tells by doctor what is missing, and fails where it is needed", function()
    for name, needed in pairs { cjson = true, readline = false } do
      local file = program.write("without.lua",
        ("package.preload[%q] = function() error(\"module '%s' not found:\", 0) end"):format(name, name))
      local out, err, status = program.run("doctor", "LUA_INIT=@" .. file)
      assert.are.same({ "", needed and 1 or 0 }, { err, status })
      local mark = out:match("\n(%S+) +" .. name .. " +not found\n")
      assert.are.equal(needed and "MISSING" or "-", mark)
    end
  end)

  it("tells by doctor that the library is missing", function()
    local file = program.write("without.lua", "package.preload.gdnmeta = function() error('nowhere', 0) end")
    local out, err, status = program.run("doctor", "LUA_INIT=@" .. file)
    assert.are.same({ "", 1 }, { err, status })
    assert.matches("\nMISSING +library +nowhere\n +make, or luarocks make\n", out)
    assert.matches("\n%- +GPU +no library\n", out)
  end)

  it("reads a trace from a pipe once, for all rates", function()
    program.write("trace.csv", "arrival_s,prompt_tokens,output_tokens\n0,5,2\n1,5,3\n2,6,2\n")
    for _, options in ipairs { "--rates 1,2", "", "--rates 2 --policy fcfs --policy fair" } do
      local out, err, status = program.run("sweep --quiet --precision 99 --preset constant-20ms --ttft-ms 99 "
        .. "--trace /dev/stdin " .. options, ("cat %s/trace.csv |"):format(program.folder))
      parts[#parts + 1] = ("%s\n%sstatus %d\n"):format(options, out .. err, status)
    end
    golden("cli-bounds-pipe", table.concat(parts, "\n"))
  end)

  it("asks for jobs of each policy, cache and rate by all that was asked for", function()
    say("sweep --print-jobs --rates 1,2 --policy fcfs --policy fair --cache gdsf --cache none "
      .. "--cache-slots 8,16 --host-slots 2 --workload synthetic,sessions=3 --known-lengths --async --seed 4")
    say("sweep --print-jobs --rates 1 --cache fifo --cache-replies --drafts 2 --accept 0.5,0.25 --workload "
      .. "agents,sessions=1")
    golden("cli-bounds-jobs", table.concat(parts, "\n"))
  end)

  it("compares a recording with what other rules build", function()
    recordings.short(program.folder .. "/short.jsonl", 3)
    for _, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
      say("replay FOLDER/short.jsonl --rules " .. rules)
    end
    local lines = recordings.lines(recordings.read(program.folder .. "/short.jsonl"))
    local counts = lines[2]:gsub('"sums":%b{}', '"sums":{}')
    program.write("counts.jsonl", lines[1] .. "\n" .. counts .. "\n" .. lines[#lines] .. "\n")
    program.write("none.jsonl", lines[1] .. "\n")
    for _, rules in ipairs { "strict", "vllm-2026-11" } do
      say("replay FOLDER/counts.jsonl --rules " .. rules)
      say("replay FOLDER/none.jsonl --rules " .. rules)
    end
    golden("cli-bounds-replay", table.concat(parts, "\n"))
  end)

  it("shows rows that began with a token of a cache, and those of the host", function()
    local path = program.folder .. "/one.jsonl"
    local e = recordings.engine()
    local recording = assert(e:record(path))
    for id = 1, 3 do assert(e:submit { id = id, prompt_tokens = 1, max_tokens = 3 }) end
    for now = 1, 3 do assert(e:complete(assert(e:step(now)), now)) end
    recording:close()
    e:close()
    local lines = recordings.lines(recordings.read(path))
    for _, lists in ipairs { { "0,0,0" }, { "1,0,0" }, { "1,1,0", "0,1,0" }, { "1,1,1", "1,1,1" } } do
      local more = ('"cached":[%s],'):format(lists[1])
      if lists[2] then more = more .. ('"restored":[%s],'):format(lists[2]) end
      local copy = { unpack(lines) }
      local line, changed = copy[3]:gsub('"ids":%b[],', "%0" .. more)
      copy[3] = line
      assert.are.equal(1, changed)
      program.write("changed.jsonl", table.concat(copy, "\n") .. "\n")
      say("inspect FOLDER/changed.jsonl")
      say("inspect FOLDER/changed.jsonl --step 2")
      say("inspect FOLDER/changed.jsonl --request 2")
    end
    golden("cli-bounds-inspect", table.concat(parts, "\n"))
  end)

  it("shows a step of a recording that has no end, or a line that is wrong after it", function()
    recordings.short(program.folder .. "/whole.jsonl", 3)
    local lines = recordings.lines(recordings.read(program.folder .. "/whole.jsonl"))
    program.write("no_end.jsonl", table.concat(lines, "\n", 1, #lines - 1) .. "\n")
    program.write("wrong.jsonl", table.concat(lines, "\n", 1, 3) .. "\n{}\n")
    for _, name in ipairs { "whole", "no_end", "wrong" } do
      for _, what in ipairs { "", " --step 1", " --request 1", " --step 2147483647", " --step 2147483648" } do
        say("inspect FOLDER/" .. name .. ".jsonl" .. what)
      end
    end
    golden("cli-bounds-ends", table.concat(parts, "\n"))
  end)

  it("sweeps over at most 1,001 rates", function()
    for _, rates in ipairs { "1:1001:1", "1:1002:1", "2:1:1", "2:2:1", "1:2:0", "1:2:-1", "0.5:1:0.25",
                             "1:x:1" } do
      local out, err, status = program.run(("sweep --print-jobs --rates %s"):format(rates) .. SMALL)
      local _, n = out:gsub("\n", "")
      parts[#parts + 1] = ("%s: %d lines, %sstatus %d"):format(rates, n, err, status)
    end
    golden("cli-bounds-rates", table.concat(parts, "\n") .. "\n")
  end)

  it("has as many jobs as it may, and no limit of attention cache if it is told so", function()
    for _, jobs in ipairs { 0, 1, 2, 1024, 1025 } do
      say("sweep --print-jobs --rates 1 --jobs " .. jobs .. SMALL)
    end
    for _, option in ipairs { "--kv-unlimited", "--kv-tokens 0", "--kv-tokens 1", "--kv-tokens 16" } do
      local out, err, status = program.run("simulate " .. option .. SMALL)
      local limits = out:match "\n(limits[^\n]*)" or ""
      parts[#parts + 1] = ("%s: %s%s, status %d\n"):format(option, limits, err, status)
    end
    golden("cli-bounds-jobs-kv", table.concat(parts, "\n"))
  end)

  it("says where there are no requests", function()
    say("sweep --skip 3" .. SMALL)
    say("simulate --skip 3" .. SMALL)
    say("simulate --slots-only --cache fifo --skip 99 --quiet --workload synthetic,sessions=2")
    say("merge /dev/null")
    program.write("none.json", '{"gdnmeta":1,"runs":[]}')
    say("merge FOLDER/none.json")
    for n = 0, 3 do
      program.write("bad.json", ("\n"):rep(n) .. '{"gdnmeta":1,"runs":' .. ("\n"):rep(n) .. "!")
      say("merge FOLDER/bad.json")
    end
    program.write("bad.json", "\n\0\n")
    say("merge FOLDER/bad.json")
    for _, option in ipairs { "--cache-slots 8", "--host-slots 8", "--host-link 5", "--cache-replies" } do
      say("sweep --rates 1 " .. option .. SMALL)
      say("simulate " .. option .. SMALL)
    end
    golden("cli-bounds-none", table.concat(parts, "\n"))
  end)

  it("says why a run is not made, in a process of its own or not", function()
    for _, jobs in ipairs { 1, 2 } do
      for _, skip in ipairs { 2, 3 } do
        say(("sweep --rates 1 --precision 99 --ttft-ms 1000 --skip %d --jobs %d"):format(skip,
          jobs) .. SMALL)
      end
    end
    golden("cli-bounds-not-made", table.concat(parts, "\n"))
  end)

  it("sweeps over a single request, which has no rate", function()
    say("sweep --rates 1,2 --policy fcfs --policy fair --limit 1 --ttft-ms 1000" .. SMALL)
    say("sweep --rates 1 --limit 1 --ttft-ms 1" .. SMALL)
    golden("cli-bounds-one", table.concat(parts, "\n"))
  end)

  it("takes a label of one run, and of no more", function()
    say("simulate --label one" .. SMALL)
    say("simulate --label one --policy fcfs --policy fair" .. SMALL)
    golden("cli-bounds-labels", table.concat(parts, "\n"))
  end)

  it("counts the time of a prompt alone by all that it costs", function()
    local command = "simulate --slots-only --cache last_block --cache-slots 8 --quiet --workload "
      .. "synthetic,sessions=3 --cost "
    for _, cost in ipairs { "c0=1", "c_att=0.01", "c_ctx=1", "c_pf=1", "c_seq=5", "c_tok=1", "c_draft=1",
                            "c_eager=1", "c_state=1" } do
      say(command .. cost)
    end
    golden("cli-bounds-first-tokens", table.concat(parts, "\n"))
  end)
end)
