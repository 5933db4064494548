-- gdnmeta simulate --cache: engines with several caches side by side, in the table, on the page, in JSON and
-- CSV; the lab by state slots alone; and what cannot be run is refused by name.
local cjson = require "cjson"
local gdn = require "gdnmeta"
local programs = require "spec.support.program"

describe("gdnmeta simulate --cache #lua", function()
  local program, path, mine
  setup(function()
    program = programs.new()
    local lines = {}
    for i, r in ipairs(gdn.sim.dialogues.generate { kind = "synthetic", sessions = 40 }) do
      local form = '{"timestamp": %d, "input_length": %d, "output_length": %d, "hash_ids": [%s]}'
      lines[i] = form:format(i * 3000, r.prompt, math.min(r.output, 20), table.concat(r.blocks, ", "))
    end
    path = program.write("t.jsonl", table.concat(lines, "\n") .. "\n")
    mine = program.write("mine.lua", "return { worth = function(nodes, n, values) for i = 1, n do "
      .. "values[i] = nodes[i].tokens end end }")
  end)
  teardown(function() program.close() end)

  local function ceiling_of() return gdn.sim.lab.ceiling(assert(gdn.sim.trace.read(path))) end

  it("gives each cache a host tier, and reports what it served", function()
    local command = "simulate --quiet --trace %s --cache gdsf --cache-slots 2 --max-seqs 2 --kv-unlimited "
      .. "--host-slots 50 --host-link 20 --json - --report %s/h.html"
    local out, err, status = program.run(command:format(path, program.folder))
    assert.are.equal(0, status, err)
    local runs = cjson.decode(out).runs
    local host = runs[2].cache.host
    assert.is_nil(runs[1].cache)
    assert.are.same({ 50, true }, { host.slots, host.hits > 0 and host.restored == host.hits })
    assert.is_true(math.abs(host.copy_ms - runs[2].cache.state_bytes / 20e6) < 1e-9)
    for _, row in ipairs { "on the host, most", "prompts that began with a state of the host" } do
      assert.truthy(program.read "h.html":find(row, 1, true), row)
    end
  end)

  it("runs an engine without a cache, then with each, and reports hits beside what prompts share", function()
    local page, csv = "c.html", "c.csv"
    local command = "simulate --quiet --trace %s --cache gdsf --cache %s --cache-slots 0,8 --max-seqs 2 "
      .. "--kv-unlimited --report %s --csv %s --json -"
    local out, err, status = program.run(command:format(path, mine, program.folder .. "/" .. page,
      program.folder .. "/" .. csv))
    assert.are.equal(0, status, err)
    local runs, names = cjson.decode(out).runs, {}
    for i, run in ipairs(runs) do names[i] = run.policy end
    assert.are.same({ "no cache", "gdsf 0", "gdsf 8", "mine.lua 0", "mine.lua 8" }, names)
    assert.is_nil(runs[1].cache)
    for i = 2, 5 do
      local cache = runs[i].cache
      assert.is_true(math.abs(ceiling_of() - cache.ceiling) < 1e-9)
      assert.are.same({ i % 2 * 8, 512 }, { cache.slots, cache.block_size })
      assert.is_true(cache.hit <= cache.ceiling)
      assert.are.equal(cache.most_bytes, cache.most_states * cache.state_bytes)
    end
    assert.is_true(runs[3].cache.hit > runs[2].cache.hit, "more states find more")
    assert.is_nil(runs[2].cache.host)
    local html = program.read(page)
    assert.truthy(html:find("<td>prompt tokens that it served</td>", 1, true))
    assert.truthy(html:find("Prompt tokens from the state cache", 1, true))
    for _, name in ipairs(names) do assert.truthy(html:find(name, 1, true), name) end
    local cached, lines, first, saved = {}, 0, {}, 0
    for line in program.read(csv):gmatch "[^\n]+" do
      local form = "^([^,]*),(%d+),[^,]*,[^,]*,[^,]*,[^,]*,[^,]*,([^,]*),.*,(%d*)$"
      local name, i, ttft, tokens = line:match(form)
      if name then
        tokens = tonumber(tokens) or 0
        cached[name], lines = (cached[name] or 0) + tokens, lines + 1
        if name == "no cache" then first[i] = ttft end
        if name == "gdsf 8" and tokens > 0 then saved = saved + first[i] - ttft end
      end
    end
    assert.is_true(saved > 0, "requests that began with a state had their first token earlier")
    assert.are.equal(5 * runs[1].requests, lines)
    assert.are.equal(0, cached["no cache"])
    for i = 2, 5 do assert.are.equal(runs[i].cache.hit_tokens, cached[names[i]]) end
  end)

  it("prints a table of them, and joins policies and caches", function()
    local command = "simulate --quiet --trace %s --kv-unlimited --cache gdsf --policy fcfs --policy fair"
    local out, err, status = program.run(command:format(path))
    assert.are.equal(0, status, err)
    assert.matches("fcfs, no cache +fcfs, gdsf +fair, no cache +fair, gdsf", out)
    assert.matches("\n  prompt tokens that it served +%% +%- +[%d.]+%*? +%- +[%d.]+", out)
    local most = 100 * ceiling_of()
    local line = "\n    at most, by what prompts share +%%%% +%%- +%.1f +%%- +%.1f"
    assert.matches(line:format(most, most), out)
    assert.matches("fcfs, gdsf: [%d,]+ tokens scheduled = [%d,]+ %(prompt %+ output %- 1 of each%) %- [%d,]+ "
      .. "read from the state cache", out)
  end)

  it("searches the highest rate with each, alone, side by side and by merge", function()
    local command = "sweep --quiet --workload agents,sessions=2 --limit 20 --kv-unlimited --cache gdsf "
      .. ("--cache %s --cache-slots 9 --host-slots 3 --host-link 0.1 "):format(mine)
      .. "--rates 0.5,3 --attainment 40 --precision 100 "
    local out, err, status = program.run(command .. "--report " .. program.folder .. "/sweep.html")
    assert.are.equal(0, status, err)
    assert.matches("from the cache *\n.-\nno cache .- %-\n", out)
    for _, name in ipairs { "gdsf", "mine.lua" } do
      assert.matches("\n" .. name .. " .- [1-9][%d.]+\n", out)
      assert.matches("\n  " .. name .. ": ", out)
    end
    local html = program.read "sweep.html"
    for _, text in ipairs { "from the cache, %<", "prompt tokens that it served" } do
      assert.truthy(html:find(text, 1, true), text)
    end
    local beside, said = program.run(command .. "--jobs 2")
    assert.are.equal(out, beside, said)
    local files, jobs = {}, program.run(command .. "--policy fcfs --policy fair --print-jobs")
    for line in jobs:gmatch "gdnmeta ([^\n]+)" do
      local file = ("%s/%d.json"):format(program.folder, #files)
      local _, why, code = program.run(line:gsub("cell%-%S+$", file) .. " --quiet")
      assert.are.equal(0, code, why)
      files[#files + 1] = file
    end
    local names = {}
    for name in program.run("merge " .. table.concat(files, " ")):gmatch "\n(f[^\n]-)  " do
      names[#names + 1] = name
    end
    assert.are.same({ "fcfs, no cache", "fcfs, gdsf", "fcfs, mine.lua", "fair, no cache", "fair, gdsf",
                      "fair, mine.lua" }, names)
    assert.are.equal(12, #files)
  end)

  it("has sessions of its own where no workload is given, and says when a cache fails", function()
    local bad = program.write("bad.lua", "return { checkpoints = function() return 5 end }")
    local out, err, status = program.run("simulate --quiet --limit 20 --closed-loop --cache " .. bad)
    assert.are.equal(1, status)
    assert.matches("^workload +made%-up conversation, 20 requests", out)
    assert.matches("cache of bad.lua failed and was switched off, the built%-in one went on: step 1, "
      .. "checkpoints: checkpoints returned 5, want a list", err)
  end)

  it("replays by state slots alone, with the lab's figures everywhere", function()
    local page, csv = "l.html", "l.csv"
    local command = "simulate --quiet --slots-only --trace %s --cache gdsf --cache %s --cache-slots 4,16 %s"
    local out, err, status = program.run(command:format(path, mine, ""))
    assert.are.equal(0, status, err)
    local requests = assert(gdn.sim.trace.read(path))
    assert.truthy(out:find(("at most %.2f %% of prompt tokens"):format(100 * ceiling_of()), 1, true), out)
    assert.truthy(out:find("by state slots alone, without an engine", 1, true))
    local at = program.folder
    local files = ("--json - --report %s/%s --csv %s/%s"):format(at, page, at, csv)
    local json = program.run(command:format(path, mine, files))
    local replays = cjson.decode(json).replays
    local html, lines = program.read(page), program.read(csv)
    for i, slots in ipairs { 4, 16 } do
      local run = gdn.sim.lab.replay(requests, assert(gdn.cache "gdsf"), { slots = slots })
      local shown = ("%.2f"):format(100 * run.hit)
      assert.matches(("\ngdsf +%d +%s "):format(slots, shown), out)
      assert.is_true(math.abs(run.hit - replays[i].hit) < 1e-9)
      assert.truthy(html:find(("<td>gdsf</td><td>%d</td><td>%s</td>"):format(slots, shown), 1, true))
      local sum = 0
      local line = ("\ngdsf,%d,%%d+,[%%d.]+,%%d+,(%%d+)"):format(slots)
      for tokens in lines:gmatch(line) do sum = sum + tokens end
      assert.are.equal(run.hit_tokens, sum)
    end
    assert.matches("\nmine.lua +4 ", out)
    assert.are.equal(4, #replays)
  end)

  it("ends the lines of a replay with notes on what was not read", function()
    local lines = {}
    for i = 1, 3 do
      local line = '{"timestamp":%d000,"input_length":600,"output_length":2,"hash_ids":[1,%d],"odd":1}\n'
      lines[i] = line:format(i, i)
    end
    local odd = program.write("odd.jsonl", table.concat(lines))
    local out, err = program.run("simulate --quiet --slots-only --cache gdsf --cache-slots 4 --csv - --trace "
      .. odd)
    local list = {}
    for line in out:gmatch "[^\n]+" do list[#list + 1] = line end
    assert.are.same({ "cache,slots,request,arrival_s,prompt_tokens,cached_tokens", "gdsf,4,1,0.000000,600,0",
      "gdsf,4,2,1.000000,600,512", "gdsf,4,3,2.000000,600,512" }, { unpack(list, 1, 4) }, err)
    assert.is_true(#list > 4)
    for k = 5, #list do assert.matches("^# ", list[k]) end
    assert.matches("odd", list[#list])
  end)

  it("refuses what it cannot do", function()
    local loop = program.write("bad.lua", "return { worth = function() error 'no idea' end }")
    local nan = program.write("nan.lua", "return { worth = function(_, n, v) v[n] = 0 / 0 end }")
    local plain = program.write("p.csv", "arrival_s,prompt_tokens,output_tokens\n0,10,2\n")
    local empty = program.write("e.jsonl", "\n")
    for arguments, why in pairs {
      ["--cache lru"] = 'no cache "lru", want one of every_block',
      ["--cache ''"] = '%-%-cache = "", want a name or a path',
      ["--cache gdsf --cache gdsf"] = "%-%-cache gdsf stands there twice",
      ["--cache gdsf --cache-slots 1,x"] = '%-%-cache%-slots = "1,x", want integers in 0 .. 4194304',
      ["--cache gdsf --cache-slots 8,8"] = "each once",
      ["--cache gdsf --slots-only --cache-slots 0"] = 'slots = "0", want integers in 1 .. 4194304',
      ["--cache gdsf --slots 9 --cache-slots 0"] = "%-%-slots and %-%-cache%-slots exclude each other",
      ["--cache gdsf --slots-only --policy fair"] = "%-%-policy wants an engine, without %-%-slots%-only",
      ["--cache none --slots-only"] = "wants a cache",
      ["--cache gdsf --host-slots 1.5"] = 'host%-slots = "1.5", want an integer in 0 .. 4194304',
      ["--cache gdsf --host-slots 2 --host-link 0"] = 'host%-link = "0", want GB per second in 0.001',
      ["--cache gdsf --host-link 9"] = "%-%-host%-link wants %-%-host%-slots with it",
      ["--cache gdsf --slots-only --host-slots 2"] = "%-%-host%-slots wants an engine, without",
      ["--host-slots 3"] = "%-%-host%-slots wants %-%-cache with it",
      ["--cache-slots 3"] = "%-%-cache%-slots wants %-%-cache with it",
      ["--slots-only"] = "%-%-slots%-only wants %-%-cache with it",
      ["--label x --policy fcfs --policy fair"] = "%-%-label = x, want one run: of a policy, with one cache",
      ["--label x --cache gdsf --cache fifo"] = "%-%-label = x, want one run",
      ["--label ''"] = '%-%-label = "", want a name',
      ["--slots-only --cache gdsf --label x"] = "%-%-label wants an engine",
      ["--kv-unlimited --kv-tokens 9"] = "%-%-kv%-tokens and %-%-kv%-unlimited exclude each other",
      ["--workload agent"] = '%-%-workload = "agent", want agents, conversation, synthetic, or name=number',
      ["--workload agents,turns=3"] = "%-%-workload: unknown option turns, want one of block_size",
      ["--cache gdsf --workload requests=9"] = "generated has no identity of prompts",
      ["--cache gdsf --trace " .. plain] = "p.csv has no identity of prompts: want hash_ids",
      ["--cache gdsf --slots-only --trace " .. plain] = "p.csv has no identity of prompts",
      ["--cache gdsf --trace " .. empty] = "nothing in it",
      ["--cache gdsf --cache-mode align"] = "%-%-block%-size%) = 544, want a multiple or a part of the 512",
      ["--slots-only --cache-slots 2 --cache " .. loop .. " --trace " .. path] = "cache bad.lua: .*no idea",
      ["--slots-only --cache-slots 2 --cache " .. nan .. " --trace " .. path] = "worth left values.* = nan",
    } do
      local _, err, status = program.run("simulate --quiet " .. arguments)
      assert.are.equal(2, status, arguments .. ": " .. err)
      assert.matches(why, err)
    end
  end)

  it("of a sweep want prompts with identity before its first run", function()
    local _, err, status = program.run "sweep --rates 1 --cache gdsf --workload requests=9"
    assert.are.equal(2, status)
    assert.matches("^gdnmeta: cache: generated has no identity of prompts: [^\n]*\n$", err)
  end)
end)
