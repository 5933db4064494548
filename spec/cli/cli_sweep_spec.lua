-- gdnmeta sweep and its jobs.
local gnuplot = require "gdnmeta.report.gnuplot"
local programs = require "spec.support.program"

local SMALL = "--workload requests=60,rate=6 "

describe("gdnmeta sweep #lua", function()
  local program, gdnmeta, read, folder
  setup(function()
    program = programs.new()
    gdnmeta, read, folder = program.run, program.read, program.folder
  end)
  teardown(function() program.close() end)

  local SWEEP = "sweep --policy fcfs --policy fair --rates 5,60 --precision 40 " .. SMALL

  it("finds the highest rate, alone and side by side", function()
    local alone, err, status = gdnmeta(SWEEP)
    assert.are.equal(0, status, err)
    assert.matches("\nhighest rate\n  fcfs: [%d.]+ requests/s with at least 90%.0 %% within the targets, "
      .. "not at ", alone)
    local beside
    beside, err, status = gdnmeta(SWEEP .. "--jobs 3")
    assert.are.equal(0, status, err)
    assert.are.equal(alone, beside)
  end)

  it("hands classes and sessions on to its jobs", function()
    local command = "sweep --rates 1,2 --precision 60 --sessions 9 --think 1 " .. SMALL
      .. "--classes 'a:1,ttft=1;b:2' "
    local alone, err, status = gdnmeta(command)
    assert.are.equal(0, status, err)
    assert.matches("^note +classes a %(first token within 1 s%), b\nnote +9 sessions in closed loop: ", alone)
    assert.are.equal(alone, (gdnmeta(command .. "--jobs 2")))
  end)

  it("prints jobs for others to run, and merge joins what they wrote", function()
    local out = gdnmeta(SWEEP .. "--print-jobs")
    local first = ("gdnmeta simulate --policy fcfs --rate 5 --workload requests=60,rate=6 "
      .. "--json cell-fcfs-5.json\n")
    assert.are.equal(first, out:sub(1, #first))
    local n = 0
    for line in out:gmatch "gdnmeta ([^\n]+)\n" do
      n = n + 1
      local _, err, status = gdnmeta((line:gsub("cell%-", folder .. "/cell-")))
      assert.are.equal(0, status, err)
    end
    assert.are.equal(4, n)
    local err, status
    out, err, status = gdnmeta(("merge %s/cell-*.json --report %s/s.html"):format(folder, folder))
    assert.are.equal(0, status, err)
    assert.matches("\nhighest rate\n  fair: ", out)
    local html = read "s.html"
    assert.are.equal(gnuplot.available(), html:find("<b>Goodput</b>", 1, true) ~= nil)
    assert.matches("<pre>gdnmeta merge ", html, 1, true)
  end)

  it("quotes what a shell would read otherwise", function()
    local out = gdnmeta [[sweep --policy "it's mine.lua" --rates 1 --print-jobs]]
    assert.are.equal([[gdnmeta simulate --policy 'it'\''s mine.lua' --rate 1 ]]
      .. "--json cell-it-s-mine-lua-1.json\n", out)
  end)

  it("tells policies apart whose files have one name", function()
    assert(os.execute(("mkdir %s/old %s/new"):format(folder, folder)) == 0)
    local old = program.write("old/mine.lua", "return { key = function(r) return r.arrival end }")
    local new = program.write("new/mine.lua", "return { order = 'fcfs', chunk = 40 }")
    local twins = ("--policy %s --policy %s "):format(old, new)
    for _, more in ipairs { "", "--jobs 2" } do
      local out, err, status = gdnmeta("sweep --rates 5,60 --precision 40 " .. twins .. SMALL .. more)
      assert.are.equal(0, status, err)
      for _, path in ipairs { old, new } do
        assert.truthy(out:find(("\n  %s: "):format(path), 1, true), out)
      end
    end
    assert.truthy((gdnmeta("simulate " .. twins .. SMALL)):find(new .. " against " .. old, 1, true))
    gdnmeta(("simulate --policy %s --rate 9 --json %s/old.json %s"):format(old, folder, SMALL))
    gdnmeta(("simulate --policy %s --rate 9 --json %s/new.json %s"):format(new, folder, SMALL))
    local _, err, status = gdnmeta(("merge %s/old.json %s/new.json"):format(folder, folder))
    assert.are.equal(2, status)
    local why = "gdnmeta: %s/new.json: another run of a policy called mine at this rate came before\n"
    assert.are.equal(why:format(folder), err)
  end)

  it("gives every printed job a file of its own", function()
    local out, seen = gdnmeta "sweep --policy a-b.lua --policy 'a b.lua' --rates 1,2 --print-jobs", {}
    for file in out:gmatch "%-%-json (%S+)" do
      assert.is_nil(seen[file])
      seen[file] = true
    end
    assert.truthy(seen["cell-a-b-lua-1.json"] and seen["cell-a-b-lua-1-2.json"])
  end)

  it("says which job failed", function()
    assert.are.same({ "", "gdnmeta: a job failed: nowhere.csv: No such file or directory\n", 2 },
      { gdnmeta "sweep --trace nowhere.csv --rates 1,2 --jobs 2" })
  end)

  it("says so where a job is never heard of: none, the first or the last", function()
    for _, left_out in ipairs { "d", "1d", "2d" } do -- lines of jobs
      program.write("xargs", ("#!/bin/sh\nsed %s | PATH=$OLD xargs -r \"$@\"\n"):format(left_out))
      os.execute(("chmod +x %s/xargs"):format(folder))
      assert.are.same({ "", "gdnmeta: a job failed: xargs ended before it\n", 2 },
        { gdnmeta("sweep --rates 1,2 --jobs 2 --quiet " .. SMALL,
          ("OLD=$PATH PATH=%s:$PATH"):format(folder)) })
    end
  end)

  it("hears of its jobs what became of them, and nothing else", function()
    local said = folder .. "/said"
    program.write("xargs", ("#!/bin/sh\nPATH=$OLD xargs \"$@\" | tee -a '%s'\n"):format(said))
    os.execute(("chmod +x %s/xargs"):format(folder))
    gdnmeta("sweep --rates 1,2 --jobs 2 --quiet " .. SMALL, ("OLD=$PATH PATH=%s:$PATH"):format(folder))
    local count = 0
    for line in io.lines(said) do
      assert.truthy(line:find "^done %d+$", line)
      count = count + 1
    end
    assert.truthy(count >= 2)
  end)

  -- The jobs wait for a pipe of a workload that is never written.
  local INTERRUPTED = [[
unset LD_PRELOAD GDNMETA_LIB
mkfifo FOLDER/fifo
env --default-signal=HUP bin/gdnmeta sweep --rates 1,2 --jobs 2 --quiet --trace FOLDER/fifo &
sweep=$!
exec 3>FOLDER/fifo
named() { grep -l 'FOLDER/fif[o]' /proc/[0-9]*/cmdline 2>/dev/null; }
json=$(cat $(named) 2>/dev/null | tr '\0 ' '\n\n' | grep '/[12].json$' | head -n 1)
test -f ${json%/*}/jobs && echo running
kill -s SIGNAL $sweep
wait $sweep 2>/dev/null
echo $?
test -e ${json%/*} || echo cleared
named | wc -l
rm FOLDER/fifo
]]

  it("leaves no folder and no process when it is stopped, at once", function()
    for signal, status in pairs { HUP = 129, INT = 130, TERM = 143 } do
      local script = INTERRUPTED:gsub("FOLDER", folder):gsub("SIGNAL", signal)
      local pipe = io.popen(("timeout 60 sh %s 2>&1"):format(program.write("interrupted", script)))
      assert.are.equal(("running\n%d\ncleared\n0\n"):format(status), pipe:read "*a")
      pipe:close()
    end
  end)

  it("merges only what was run alike", function()
    gdnmeta(("simulate %s--seed 1 --json %s/one.json"):format(SMALL, folder))
    gdnmeta(("simulate %s--seed 2 --json %s/two.json"):format(SMALL, folder))
    local two = folder .. "/two.json"
    assert.are.same({ "", ("gdnmeta: %s: seed = 2, the first file has 1\n"):format(two), 2 },
      { gdnmeta(("merge %s/one.json %s"):format(folder, two)) })
  end)
end)
