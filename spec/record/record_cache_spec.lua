-- Recordings know what a request began with of the state cache, and gdnmeta inspect shows it.
local programs = require "spec.support.program"
local recordings = require "spec.support.recordings"
local serve = require "spec.support.run_engine"

describe("A recording of an engine with a state cache #lua", function()
  local program, path, lines
  setup(function()
    program = programs.new()
    path = program.folder .. "/r.jsonl"
    local e = serve.caching_engine { kv_blocks = 20, kv_block_size = 4 }
    local recording = assert(e:record(path))
    for id = 1, 2 do -- the second begins with 16 tokens
      assert(e:submit(serve.request("r" .. id, { prompt_tokens = 18, blocks = { 1, 2, 3, 4 } })))
      serve.run(e)
    end
    for id = 3, 4 do -- too long for both: one leaves, and begins again at its prompt's state
      local blocks = { 10 * id, 1, 2, 3, 4 }
      assert(e:submit(serve.request("r" .. id, { prompt_tokens = 21, max_tokens = 24, blocks = blocks })))
    end
    serve.run(e)
    assert.is_true(e.stats.preemptions > 0)
    assert(recording:close())
    e:close()
    lines = recordings.lines(recordings.read(path))
  end)
  teardown(function() program.close() end)

  local function inspect(more)
    local out, err, status = program.run(("inspect %s %s"):format(path, more or ""))
    assert.are.equal(0, status, err)
    return out
  end

  it("has the tokens in the step in which a request begins, and nowhere else", function()
    local began = {}
    assert(recordings.walk(path, function(step)
      for row, n in ipairs(step.cached or {}) do
        if n > 0 then began[#began + 1] = { step.ids[row], n, step.seq_len[row] - step.query_len[row] } end
      end
    end))
    assert.are.same({ "r2", 16, 16 }, began[1])
    assert.are.same({ 20, 20 }, { began[2][2], began[2][3] })
    assert.are.equal(2, #began)
  end)

  it("is drawn with hits: a line each, their sum, and by step", function()
    local out, found = inspect(), nil
    for number in out:gmatch "\n +(%d+) [^\n]+  %+ 16 cached in 1 row\n" do found = number end
    local at = "--step "
    assert.is_truthy(found)
    assert.matches("2 rows began with 36 tokens of the state cache, beside %d+ computed in all steps\n", out)
    assert.matches("\n  row 0 %(r2%) begins with 16 tokens of the state cache\n", inspect(at .. found))
  end)

  it("tells it of a request, also after a preemption", function()
    assert.matches("  started\n", inspect "--request r1")
    assert.matches("  started with 16 tokens of the state cache\n", inspect "--request r2")
    local story = inspect "--request r3" .. inspect "--request r4"
    assert.matches("preempted:.*\n[^\n]*started again with 20 tokens of the state cache\n", story)
  end)

  it("is replayed", function()
    local out, err, status = program.run("replay " .. path)
    assert.are.equal(0, status, err)
    assert.matches("all alike", out)
  end)

  it("knows which states came from the host", function()
    local e = serve.caching_engine({ host_slots = 4 }, { num_slots = 4, max_num_seqs = 1 })
    local host = program.folder .. "/host.jsonl"
    local recording = assert(e:record(host))
    for id, text in ipairs { 1, 2, 3, 4, 1 } do
      local blocks = { text, text, text, text }
      assert(e:submit(serve.request("r" .. id, { prompt_tokens = 18, max_tokens = 1, blocks = blocks })))
      serve.run(e)
    end
    assert(recording:close())
    e:close()
    local steps = {}
    assert(recordings.walk(host, function(step)
      if step.restored then steps[#steps + 1] = { step.ids[1], step.restored[1], step.cached[1] } end
    end))
    assert.are.same({ { "r5", 1, 16 } }, steps)
    local function out_of(more) return (program.run(("inspect %s %s"):format(host, more))) end
    assert.matches("+ 16 cached in 1 row, 1 of the host\n", out_of "", 1, true)
    assert.matches("copied from the host: 1 state\n", out_of "")
    assert.matches("started with 16 tokens of the state cache, copied from the host\n", out_of "--request r5")
    local out, err, status = program.run("replay " .. host)
    assert.are.same({ 0, true }, { status, out:find "all alike" ~= nil }, err)
    for wrong, message in pairs { ['"restored":[2]'] = "restored%[0%] = 2, want an integer in 0 .. 1",
                                  ['"restored":[1,0]'] = "restored has 2 elements, want 1" } do
      local changed = recordings.read(host):gsub('"restored":%[1%]', wrong)
      recordings.write(host .. ".wrong", changed)
      assert.matches(message, (select(3, recordings.walk(host .. ".wrong"))))
    end
  end)

  it("knows whose state of a step came from the host", function()
    local e = serve.caching_engine({ host_slots = 4 }, { num_slots = 5, max_num_seqs = 2 })
    local host, steps = program.folder .. "/rows.jsonl", {}
    local recording = assert(e:record(host))
    local function submit(id, text)
      assert(e:submit(serve.request(id, { prompt_tokens = 18, max_tokens = 1,
        blocks = { text, text, text, text } })))
    end
    for text = 1, 5 do
      submit("first" .. text, text)
      serve.run(e)
    end
    submit("other", 9)
    submit("again", 1)
    serve.run(e)
    assert(recording:close())
    e:close()
    assert(recordings.walk(host, function(step)
      if step.restored then steps[#steps + 1] = { step.ids, step.restored, step.cached } end
    end))
    assert.are.same({ { { "again", "other" }, { 1, 0 }, { 16, 0 } } }, steps)
  end)

  it("is refused where the tokens cannot be", function()
    for wrong, message in pairs {
      ['"cached":[15]'] = "cached%[0%] = 15, want 0 or 16, the tokens before its row",
      ['"cached":[16,0]'] = "cached has 2 elements, want 1", ['"cached":[-1]'] = "cached%[0%] = %-1, want",
      ['"cached":3'] = "cached = 3, want a list of 1",
    } do
      local changed = {}
      for i, line in ipairs(lines) do changed[i] = line:gsub('"cached":%[16%]', wrong) end
      recordings.write(path .. ".wrong", table.concat(changed, "\n") .. "\n")
      local _, _, why = recordings.walk(path .. ".wrong")
      assert.matches(message, why)
    end
  end)
end)
