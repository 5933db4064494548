-- What a trace left out is said in every output of the commands, and no more of it is read than is wanted.
local cjson = require "cjson"
local programs = require "spec.support.program"

local NOTES = {
  "3 of 6 rows skipped: 1 without output tokens; 2 unreadable, the first in line 3: timestamp is missing, "
    .. "want a number >= 0",
  "1 row earlier than the row before, sorted by arrival",
  "hash_ids: prompts are known by blocks of 512 tokens",
  "not read: kind&<b>",
}

describe("Notes of a trace #lua", function()
  local program, gdnmeta, folder, path
  setup(function()
    program = programs.new()
    gdnmeta, folder = program.run, program.folder
    path = program.write("t.jsonl", [[
{"timestamp": 4000, "input_length": 9, "output_length": 2, "hash_ids": [1], "kind&<b>": 0}
{"timestamp": 1000, "input_length": 9, "output_length": 2, "hash_ids": [1]}
{"input_length": 9, "output_length": 2}
{"timestamp": 8000, "input_length": 9, "output_length": 0}
{"timestamp": 8000, "input_length"
{"timestamp": 9000, "input_length": 9, "output_length": 1}
]])
  end)
  teardown(function() program.close() end)

  local function run(more)
    local out, err, status = gdnmeta(("%s --quiet --trace %s"):format(more, path))
    assert.are.equal(0, status, err)
    return out
  end

  it("stand in the table of simulate and of sweep", function()
    for _, command in ipairs { "simulate", "sweep --rates 1,2 --precision 50" } do
      local out = run(command)
      for i, note in ipairs(NOTES) do
        note = i == 4 and 'not read: "kind&<b>"' or note
        assert.truthy(("\n" .. out):find("\nnote       " .. note .. "\n", 1, true), command .. out)
      end
    end
  end)

  it("stand on the page, in the JSON and in the CSV", function()
    local page = run "simulate --report -"
    assert.truthy(page:find((NOTES[1]:gsub(">", "&gt;")), 1, true))
    assert.truthy(page:find("not read: &quot;kind&amp;&lt;b&gt;&quot;", 1, true))
    local setup = cjson.decode(run "simulate --json -").runs[1].setup
    assert.are.equal(NOTES[1], setup.notices[1])
    assert.are.same({ 6, 3, 1, "mooncake" },
      { setup.trace.rows, setup.trace.skipped, setup.trace.unsorted, setup.trace.format })
    assert.are.same({ "kind&<b>" }, setup.trace.unread)
    local csv = run "simulate --csv -"
    assert.truthy(csv:find("\n# " .. NOTES[1] .. "\n# " .. NOTES[2] .. "\n# " .. NOTES[3] .. "\n", 1, true))
  end)

  it("survive as files: merge shows them again, and refuses what are none", function()
    run(("simulate --rate 2 --json %s/one.json"):format(folder))
    local out, err, status = gdnmeta(("merge %s/one.json"):format(folder))
    assert.are.equal(0, status, err)
    assert.truthy(out:find(NOTES[2], 1, true))
    local text = program.read("one.json"):gsub('"notices":%[', '"notices":[17,')
    out, err, status = gdnmeta("merge " .. program.write("two.json", text))
    assert.are.same({ "", 2 }, { out, status })
    assert.matches("two%.json:2: runs%[1%]%.setup%.notices = a table, want sentences\n$", err)
  end)

  it("come with requests that were read once, for several policies", function()
    local _, err,
      status = gdnmeta(("simulate --policy fcfs --policy fair --skip 1 --limit 1 --trace %s"):format(path))
    assert.are.equal(0, status)
    assert.matches("^fcfs: 1 requests in [^\n]+\nfair: 1 requests in ", err)
  end)

  it("are asked for rightly", function()
    local plain = program.write("plain.csv", "arrival_s,prompt_tokens,output_tokens\n0,50,3\n")
    local long = ("x"):rep(9)
    for _, case in ipairs {
      { "--time-unit h --trace " .. path, '--time-unit = "h", want one of s, ms, us, ns' },
      { "--time-unit s", "--time-unit wants --trace with it" },
      { "--trace-block-size 16", "--trace-block-size wants --trace with it" },
      { "--trace-block-size 0 --trace " .. path,
        '--trace-block-size = "0", want an integer in 1 .. 1048576' },
      { "--trace-block-size 16 --trace " .. plain,
        plain .. ": block_size = 16, want none: there are no hash_ids" },
      { "--closed-loop", "--closed-loop wants --trace with it" },
      { "--think 3", "--think = 3, want --closed-loop or --sessions with it" },
      { "--closed-loop --trace " .. path,
        "--closed-loop: no request has a session; sessions (--sessions N) deals them out" },
      { "--skip 3 --trace " .. path, path
        .. ": no request in it: skip passes over all 3; 3 of 6 rows skipped: 1 without output tokens; "
        .. "2 unreadable, the first in line 3: timestamp is missing, want a number >= 0" },
      { "--classes chat:0.5,prio=3 ",
        '--classes = "chat:0.5,prio=3", want name:share,setting=number;name:share,... '
        .. "with the settings priority, weight, and ttft, tpot, deadline in seconds (or ttft_ms ...)" },
      { "--classes " .. long,
        ("--classes: no request is of class %s; a share (%s:0.5) gives it some without one"):format(
        long, long) },
    } do
      local out, err, status = gdnmeta("simulate --quiet " .. case[1])
      assert.are.same({ "", "gdnmeta: " .. case[2] .. "\n", 2 }, { out, err, status })
    end
  end)

  it("are of the part that is wanted: the rest is not read", function()
    local lines = { "arrival_s,prompt_tokens,output_tokens" }
    for i = 1, 20000 do lines[i + 1] = ("%d,5,2"):format(i) end
    local file = program.write("long.csv", table.concat(lines, "\n") .. "\n")
    local trace, furthest = require "gdnmeta.sim.trace", 0
    local function progress(bytes, total) furthest = math.max(furthest, bytes / total) end
    local requests = assert(trace.read(file, { limit = 2000, skip = 1000, progress = progress }))
    assert.are.same({ 2000, 1001 }, { #requests, requests[1].arrival })
    assert.is_true(furthest < 0.2, furthest)
    assert(trace.read(file, { progress = progress }))
    assert.is_true(furthest > 0.9 and furthest <= 1)
  end)

  it("are of a file that is read block by block, as far as its lines are wanted", function()
    local left, most = 1000, 0
    local lines = require("gdnmeta.sim.trace.lines").of {
      seek = function() return 2 ^ 40 end,
      read = function(_, n)
        left, most = left - 1, math.max(most, n)
        return ("x\n"):rep(n / 2)
      end,
    }
    for _ = 1, 10 do assert.are.equal("x", lines:next()) end
    assert.are.equal(999, left)
    assert.is_true(most <= 2 ^ 17, most)
  end)

  it("are of a pipe as well", function()
    local fifo = folder .. "/fifo"
    assert(os.execute("mkfifo " .. fifo) == 0)
    assert(os.execute(("cat %s >%s &"):format(path, fifo)) == 0)
    local out, err, status = gdnmeta("simulate --quiet --trace " .. fifo)
    assert.are.equal(0, status, err)
    assert.truthy(out:find(NOTES[2], 1, true))
  end)
end)
