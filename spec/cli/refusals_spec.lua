-- What the library refuses is said by flag: no option of sim.run stands in a message that simulate or sweep
-- passes on, if there is a flag that sets it.
local flags = require "gdnmeta.cli.flags"
local programs = require "spec.support.program"
local refusals = require "gdnmeta.cli.refusals"

local TRACE = "arrival_s,prompt_tokens,output_tokens\n0,3,4\n1,3,4\n"
local AGENTS = "--workload agents,sessions=3 --cache "

describe("A refusal on the command line #lua", function()
  local program, trace, demotes
  setup(function()
    program = programs.new()
    trace = "--trace " .. program.write("t.csv", TRACE) .. " "
    demotes = program.write("d.lua", 'return { name = "mine", demote = function() return "host" end }')
  end)
  teardown(function() program.close() end)

  local function refused(command, message)
    local out, err, status = program.run(command)
    assert.are.same({ "", "gdnmeta: " .. message .. "\n", 2 }, { out, err, status }, command)
  end

  it("names the flag that was typed, or the one that is wanted", function()
    for options, message in pairs {
      [AGENTS .. demotes] = "cache mine has demote, which wants the option --host-slots",
      [trace .. "--drafts 3 --slots 4"] = "--slots of group 0 = 4, want at least 5",
      [trace .. "--max-tokens 10 --max-seqs 100"] = "--max-tokens = 10, want at least 100 (--max-seqs)",
      [trace .. "--cache-mode align --block-size 2 --drafts 3"] = "--drafts = 3, want less than --block-size",
      [trace .. "--cache-mode align --long-prefill 5"] =
        "--long-prefill = 5, want at least 544 (--block-size)",
      [trace .. "--kv-tokens 3"] = "--kv-tokens = 3, want at least 16 (kv_block_size)",
      [trace .. "--drafts 2 --accept mean=9"] = "--accept: mean = 9, want at most 3, drafts + 1",
      [trace .. "--drafts 2 --accept mean=2,drafts=1"] =
        '--accept = "mean=2,drafts=1", want pairs of mean, spread, half_context and seed',
      [trace .. "--closed-loop"] =
        "--closed-loop: no request has a session; sessions (--sessions N) deals them out",
    } do
      refused("simulate --quiet " .. options, message)
      refused("sweep --quiet --rates 1 " .. options, message)
    end
    refused("sweep --quiet --jobs 2 --rates 1 " .. trace .. "--kv-tokens 3",
            "a job failed: --kv-tokens = 3, want at least 16 (kv_block_size)")
    local one = program.write("one.csv", TRACE:match "^.-\n.-\n")
    refused("sweep --quiet --trace " .. one, "the workload has no rate of its own, want --rates")
  end)

  it("is so in the table, too, and where it is said of a request", function()
    local out = program.run("simulate --quiet " .. trace .. "--max-model-len 3")
    assert.truthy(out:find("want at most 2 (--max-model-len - 1)", 1, true), out)
  end)

  it("knows every flag of an option, and leaves paths, names of the model's and other words", function()
    for _, o in ipairs(flags.list) do
      if o[3]:find "_" then
        assert.are.equal(o[1] .. " = 1", refusals.by_flag("gdnmeta.engine: " .. o[3] .. " = 1"))
      end
    end
    assert.are.equal("--closed-loop lets turns wait",
                     refusals.by_flag "closed_loop (--closed-loop) lets turns wait")
    assert.are.equal("--think: no --think-time of seed, users",
                     refusals.by_flag "think: no --think-time of seed, users")
    for _, text in ipairs { "/a/kv_tokens.csv:3: x", "kv_tokens.csv: x", "kv_tokens/x", "./num_slots",
                            "x-num_slots", "my_num_slots = 1", "prompt_tokens = 3",
                            "requests[1].prompt = 0" } do
      assert.are.equal(text, refusals.by_flag(text))
      assert.are.equal(text, refusals.raised(text))
    end
    assert.are.equal("num_slots = 1", refusals.raised "num_slots = 1") -- not of the library
    assert.are.equal("--slots = 1", refusals.raised "sim.run: num_slots = 1")
  end)
end)
