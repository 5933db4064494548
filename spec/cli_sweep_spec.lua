local plots = require "gdnmeta.sim.plots"
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
    assert.matches("\nhighest rate\n  fcfs: [%d.]+ requests/s with 90%.0 %% within the targets, not at ",
      alone)
    local beside
    beside, err, status = gdnmeta(SWEEP .. "--jobs 3")
    assert.are.equal(0, status, err)
    assert.are.equal(alone, beside)
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
    assert.are.equal(plots.available(), html:find("<b>Goodput</b>", 1, true) ~= nil)
    assert.matches("<pre>gdnmeta merge ", html, 1, true)
  end)

  it("quotes what a shell would read otherwise", function()
    local out = gdnmeta [[sweep --policy "it's mine.lua" --rates 1 --print-jobs]]
    assert.are.equal([[gdnmeta simulate --policy 'it'\''s mine.lua' --rate 1 ]]
      .. "--json cell-it-s-mine-lua-1.json\n", out)
  end)

  it("says which job failed", function()
    assert.are.same({ "", "gdnmeta: a job failed: policy nowhere.lua: No such file or directory\n", 2 },
      { gdnmeta("sweep --policy nowhere.lua --rates 1,2 --jobs 2 " .. SMALL) })
  end)

  it("merges only what was run alike", function()
    gdnmeta(("simulate %s--seed 1 --json %s/one.json"):format(SMALL, folder))
    gdnmeta(("simulate %s--seed 2 --json %s/two.json"):format(SMALL, folder))
    local two = folder .. "/two.json"
    assert.are.same({ "", ("gdnmeta: %s: seed = 2, the first file has 1\n"):format(two), 2 },
      { gdnmeta(("merge %s/one.json %s"):format(folder, two)) })
  end)
end)
