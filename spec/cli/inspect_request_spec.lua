-- How gdnmeta inspect --request tells what became of a request.
local programs = require "spec.support.program"
local recordings = require "spec.support.recordings"

local WORDS = require("gdnmeta.record.waiting_reasons").WORDS

describe("gdnmeta inspect --request", function()
  local program, path
  setup(function()
    program = programs.new()
    path = program.folder .. "/steps.jsonl"
    local e = recordings.engine({ max_num_seqs = 2 }, { max_num_batched_tokens = 32 })
    local recording = assert(e:record(path))
    assert(e:submit { id = "a", prompt_tokens = 70, max_tokens = 6 })
    assert(e:submit { id = "b", prompt_tokens = 40, max_tokens = 30 })
    assert(e:submit { id = 17, prompt_tokens = 20, max_tokens = 6 })
    for now = 1, 20 do
      if now == 12 then e:cancel "b" end
      local step = assert(e:step(now))
      if step.num_rows > 0 then assert(e:complete(step, now)) end
    end
    recording:close()
    e:close()
  end)
  teardown(function() program.close() end)

  it("tells a request's story", function()
    local out, err, status = program.run("inspect " .. path .. " --request 17")
    assert.are.same({ "", 0 }, { err, status })
    assert.are.equal([[
       1                    1.000  came into the queue
       1 .. 2               1.000  waited 2 steps: ]] .. WORDS.budget .. [[; place 2 of 2 by arrival
       3 .. 8               3.000  waited 6 steps: ]] .. WORDS.seats .. [[; place 1 of 1 by arrival
       9                    9.000  started
       9                    9.000  20 tokens of text, up to 20
      10 .. 14             10.000  5 decodes, up to token 25
      14                   14.000  finished: it came to its length
]], out)
    out = program.run("inspect " .. path .. " --request b")
    assert.matches("\n +12 +12%.000  cancelled\n$", out)
    assert.matches("\n +5 %.%. 11 +5%.000  7 decodes, up to token 47\n", out)
  end)

  -- Runs that many steps from step 1 on, at 0 s, half a second each; returns what is told of "w".
  local function story(policy, list, n)
    local e = recordings.engine({ policy = policy })
    local file = program.folder .. "/story.jsonl"
    local recording = assert(e:record(file))
    for k = 1, n do
      for _, r in ipairs(list[k] or {}) do
        r.arrival = 0.5 * (k - 1)
        assert(e:submit(r))
      end
      local step = assert(e:step(0.5 * (k - 1)))
      if step.num_rows > 0 then assert(e:complete(step, 0.5 * k)) end
    end
    assert(recording:close())
    e:close()
    local out, err, status = program.run("inspect " .. file .. " --request w")
    assert.are.same({ "", 0 }, { err, status })
    return out
  end

  it("tells of steps in which nothing ran, also of those in which nothing changed", function()
    local ADMIT = { admit = function(r, ctx) return r.id ~= "w" or ctx.step > 5 end }
    local w = { id = "w", prompt_tokens = 9, max_tokens = 2 }
    local held = "waited %d steps: " .. WORDS.held .. "; place %s of %d by arrival\n"
    assert.are.equal([[
       1                    0.000  came into the queue
       1 .. 5               0.000  ]] .. held:format(5, "1", 1) .. [[
       6                    2.500  started
       6                    2.500  9 tokens of text, up to 9
       7                    3.000  1 decode, up to token 10
       7                    3.000  finished: it came to its length
]], story(ADMIT, { { w } }, 9))
    assert.are.equal([[
       2                    0.500  came into the queue
       2 .. 5               0.500  ]] .. held:format(4, "1", 1) .. [[
       6                    2.500  started
       6                    2.500  9 tokens of text, up to 9
       7                    3.000  1 decode, up to token 10
       7                    3.000  finished: it came to its length
]], story(ADMIT, { [2] = { w }, [3] = { { id = "b", prompt_tokens = 5, max_tokens = 1 } } }, 7))
    local none = { admit = function(r) return r.id ~= "w" end }
    assert.are.equal(("%8d %24.3f  came into the queue\n       1 .. 50 %18.3f  %s%33s  waiting when the "
      .. "recording ended\n"):format(1, 0, 0, held:format(50, "1", 1), ""), story(none, { { w } }, 50))
    local _, lines = recordings.read(program.folder .. "/story.jsonl"):gsub("\n", "")
    assert.are.equal(4, lines) -- header, the first step, what came after it, end
  end)

  it("is found by an id that is recorded without its end", function()
    local e, long, file = recordings.engine(), ("x"):rep(500), program.folder .. "/long.jsonl"
    local recording = assert(e:record(file))
    assert(e:submit { id = long, prompt_tokens = 3, max_tokens = 1 })
    assert(e:complete(assert(e:step(0)), 1))
    recording:close()
    e:close()
    local out, err, status = program.run("inspect " .. file .. " --request " .. long)
    assert.are.same({ "", 0 }, { err, status })
    assert.matches("finished", out)
  end)

  it("says what it cannot tell", function()
    local _, err, status = program.run("inspect " .. path .. " --request nobody")
    assert.are.same({ ('gdnmeta: %s has no request "nobody"\n'):format(path), 2 }, { err, status })
    _, err, status = program.run "inspect fuzz/corpus/recording/steps --request 1"
    local old = "gdnmeta: fuzz/corpus/recording/steps: recorded as version 1, which has no request ids\n"
    assert.are.same({ old, 2 }, { err, status })
    _, err, status = program.run("inspect " .. path .. " --request 1 --step 2")
    assert.are.same({ "gdnmeta: --step and --request exclude each other\n", 2 }, { err, status })
  end)

  it("tells nothing that a terminal would obey", function()
    local text = recordings.read(path):gsub('"did":%["length"%]', '"did":["\\u001b[2J"]')
    local out, _, status = program.run("inspect " .. program.write("bad.jsonl", text) .. " --request 17")
    assert.are.equal(0, status)
    assert.is_nil(out:gsub("\n", ""):find "%c")
    assert.matches("  [?\\][27]*%[2J\n$", out)
  end)
end)
