-- gdnmeta simulate --cache: the table has what the lab finds, and what cannot be run is refused by name.
local gdn = require "gdnmeta"
local programs = require "spec.support.program"

describe("gdnmeta simulate --cache #lua", function()
  local program, path
  setup(function()
    program = programs.new()
    local lines = {}
    for i, r in ipairs(gdn.sim.dialogues.generate { kind = "synthetic", sessions = 40 }) do
      local form = '{"timestamp": %d, "input_length": %d, "output_length": %d, "hash_ids": [%s]}'
      lines[i] = form:format(i * 300, r.prompt, r.output, table.concat(r.blocks, ", "))
    end
    path = program.write("t.jsonl", table.concat(lines, "\n") .. "\n")
  end)
  teardown(function() program.close() end)

  it("shows hits, states and the ceiling of a trace, and a file's cache beside a shipped one", function()
    local mine = program.write("mine.lua", "return { worth = function(nodes, n, values) for i = 1, n do "
      .. "values[i] = nodes[i].tokens end end }")
    local command = "simulate --quiet --trace %s --cache gdsf --cache %s --cache-slots 4,16"
    local out, err, status = program.run(command:format(path, mine))
    assert.are.equal(0, status, err)
    local requests = assert(gdn.sim.trace.read(path))
    local ceiling = 100 * gdn.sim.lab.ceiling(requests)
    assert.truthy(out:find(("at most %.2f %% of prompt tokens"):format(ceiling), 1, true), out)
    for _, slots in ipairs { 4, 16 } do
      local run = gdn.sim.lab.replay(requests, assert(gdn.cache "gdsf"), { slots = slots })
      assert.truthy(out:find(("\ngdsf +%d +%.2f "):format(slots, 100 * run.hit):gsub("%.", "%%.")), out)
    end
    assert.matches("\nmine.lua +4 ", out)
    assert.matches("\nmine.lua +16 ", out)
  end)

  it("refuses what it cannot do", function()
    local loop = program.write("bad.lua", "return { worth = function() error 'no idea' end }")
    local plain = program.write("p.csv", "arrival_s,prompt_tokens,output_tokens\n0,10,2\n")
    for arguments, why in pairs {
      ["--cache lru"] = 'no cache "lru", want one of every_block',
      ["--cache gdsf --cache-slots 0"] = '%-%-cache%-slots = "0", want integers in 1 .. 4194304',
      ["--cache gdsf --json -"] = "%-%-json and %-%-cache exclude each other",
      ["--cache gdsf --trace " .. plain] = "p.csv has no hash_ids, which say what prompts share",
      ["--cache-slots 2 --cache " .. loop .. " --trace " .. path] = "cache bad.lua: .*no idea",
    } do
      local _, err, status = program.run("simulate --quiet " .. arguments)
      assert.are.equal(2, status, arguments)
      assert.matches(why, err)
    end
  end)
end)
