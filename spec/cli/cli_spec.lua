-- gdnmeta as a program: mistakes, help, doctor, and finding its modules.
local programs = require "spec.support.program"

describe("gdnmeta #lua", function()
  local program, gdnmeta, folder
  setup(function()
    program = programs.new()
    gdnmeta, folder = program.run, program.folder
  end)
  teardown(function() program.close() end)

  local RATES = 'gdnmeta: --rates = "%s", want different rates in 1e-06 .. 1000000 such as 2,4,8 or 2:12:2'
  local wrong = {
    { "", "gdnmeta: a command is required; see gdnmeta --help" },
    { "simulate --rat 3",
      "gdnmeta: unknown option '--rat'\nDid you mean '--rate'?; see gdnmeta simulate --help" },
    { "simulate --rate fast", [[gdnmeta: --rate = "fast", want requests per second in 1e-06 .. 1000000]] },
    { "simulate --kv-tokens=-3", 'gdnmeta: --kv-tokens = "-3", want an integer in 0 .. 1099511627776' },
    { "simulate --cost c0=1,c9=2",
      'gdnmeta: --cost: "c9=2" is no coefficient, want name=milliseconds such as c0=12, of active, c0, '
        .. "c_att, c_cpu, c_cpu_row, c_ctx, c_draft, c_eager, c_experts, c_pf, c_seq, c_state, c_tok, c_w, "
        .. "overlap" },
    { "simulate --trace nowhere.csv", "gdnmeta: nowhere.csv: No such file or directory" },
    { "simulate --trace a --workload requests=1", "gdnmeta: --trace and --workload exclude each other" },
    { "simulate --workload requests=many",
      'gdnmeta: --workload = "requests=many", want name=number,name=number' },
    { "simulate --workload request=3", "gdnmeta: --workload: unknown option request, want one of "
      .. "output_max, output_median, output_sigma, prompt_max, prompt_median, prompt_sigma, rate, requests, "
      .. "seed" },
    { "simulate --accept 0.9,1.2.3 --drafts 2",
      'gdnmeta: --accept = "0.9,1.2.3", want numbers such as 0.9,0.8, which 1.2.3 is not' },
    { "simulate --accept 0.9", "gdnmeta: --accept = 0.9, want --drafts above 0 with it" },
    { "simulate --report nowhere/out.html", "gdnmeta: nowhere/out.html: No such file or directory" },
    { "sweep --json nowhere/out.json", "gdnmeta: nowhere/out.json: No such file or directory" },
    { "simulate --calibrate nowhere.csv", "gdnmeta: --calibrate: nowhere.csv: No such file or directory" },
    { "simulate --policy nowhere.lua", "gdnmeta: policy nowhere.lua: No such file or directory" },
    { "simulate --drafts 65", [[gdnmeta: --drafts = "65", want an integer in 0 .. 64]] },
    { "simulate --drafts 2 --accept 0.9",
      "gdnmeta: --accept: rates has 1 numbers, want 2, one per draft" },
    { "sweep --rates 3,-1", RATES:format "3,-1" },
    { "sweep --jobs 0", [[gdnmeta: --jobs = "0", want an integer in 1 .. 1024]] },
    { "sweep --jobs 1.5", [[gdnmeta: --jobs = "1.5", want an integer in 1 .. 1024]] },
    { "sweep --rates 2,2", RATES:format "2,2" },
    { "sweep --rates 0x10", RATES:format "0x10" },
    { "sweep --rates 5:1:1", RATES:format "5:1:1" },
    { "sweep --rates ''", RATES:format "" },
    { "sweep --precision nan", [[gdnmeta: --precision = "nan", want a number in 0.01 .. 100]] },
    { "sweep --policy '' --rates 1 --print-jobs", [[gdnmeta: --policy = "", want a name or a path]] },
    { "simulate --seed 1 --seed=2",
      "gdnmeta: option '--seed' must be used at most 1 time; see gdnmeta simulate --help" },
    { "simulate --policy ''", [[gdnmeta: --policy = "", want a name or a path]] },
    { "simulate --policy fcfs --policy nowhere.lua",
      "gdnmeta: policy nowhere.lua: No such file or directory" },
    { "simulate --kv-tokens -1", 'gdnmeta: --kv-tokens = "-1", want an integer in 0 .. 1099511627776' },
    { "simulate --ttft-ms -inf", 'gdnmeta: --ttft-ms = "-inf", want a number in 0 .. 1000000000' },
    { "simulate --seed 1.5", 'gdnmeta: --seed = "1.5", want an integer in 0 .. 4294967295' },
    { "simulate --seed ''", 'gdnmeta: --seed = "", want an integer in 0 .. 4294967295' },
    { "simulate --rate 0x10", [[gdnmeta: --rate = "0x10", want requests per second in 1e-06 .. 1000000]] },
    { "simulate --trace ''", 'gdnmeta: --trace = "", want a path' },
    { "simulate --cost ''", 'gdnmeta: --cost = "", want name=milliseconds such as c0=12' },
    { "simulate --cost c0=1,c0=2", "gdnmeta: --cost: c0 stands there twice, want it once" },
    { "simulate --cost c0=0x10", "gdnmeta: --cost: c0 = 0x10, want milliseconds in 0 .. 1000000" },
    { "simulate --preset x", 'gdnmeta: --preset = "x", want one of 4xh100-qwen3-next-80b-a3b, constant-20ms, '
      .. "h100-qwen3.6-27b-fp8, h100-qwen3.6-35b-a3b-fp8" },
    { "simulate --workload requests=1,requests=2",
      'gdnmeta: --workload = "requests=1,requests=2", want requests once' },
    { "simulate --workload requests=0x10",
      'gdnmeta: --workload = "requests=0x10", want name=number,name=number' },
    { "simulate --drafts 2 --accept ''",
      'gdnmeta: --accept = "", want shares, name=number pairs or a path' },
    { "simulate --json ''", 'gdnmeta: --json = "", want a path, or - for stdout' },
    { "simulate --json - --csv -", "gdnmeta: --csv = -, want another file than --json" },
    { "merge --attainment nan x", 'gdnmeta: --attainment = "nan", want a number in 0.01 .. 100' },
    { "merge --report '' x", 'gdnmeta: --report = "", want a path, or - for stdout' },
    { "merge ''", 'gdnmeta: files = "", want paths' },
    { "replay ''", 'gdnmeta: file = "", want a path' },
    { "merge nowhere.json", "gdnmeta: nowhere.json: No such file or directory" },
    { "merge rockspec", "gdnmeta: rockspec: No such file or directory" },
    { "merge Makefile", "gdnmeta: Makefile:1: Expected value but found invalid token at character 1" },
  }
  for _, case in ipairs(wrong) do
    it("says what is wrong with `" .. case[1] .. "`, and exits with 2", function()
      assert.are.same({ "", case[2] .. "\n", 2 }, { gdnmeta(case[1]) })
    end)
  end

  it("shows where an error came from when asked", function()
    local _, err, status = gdnmeta "simulate --trace nowhere.csv --debug"
    assert.are.equal(2, status)
    assert.matches("^gdnmeta: nowhere.csv: No such file or directory\nstack traceback:\n"
      .. "%s+%[C%]: in function 'error'\n[^\n]+: in function 'fail'\n", err)
  end)

  it("has help with examples for every command", function()
    for _, command in ipairs { "", "simulate ", "sweep ", "merge ", "inspect ", "replay " } do
      local out, err, status = gdnmeta(command .. "--help")
      assert.are.same({ "", 0 }, { err, status })
      assert.matches("^Usage: gdnmeta " .. command, out)
      assert.matches("\nexamples:\n  gdnmeta " .. command, out, 1, true)
    end
  end)

  it("says in the help what each option is when it is not given", function()
    local n = 0
    for _, command in ipairs { "simulate", "sweep", "merge", "inspect", "replay" } do
      local help = gdnmeta(command .. " --help"):match "\nOptions:(\n.-)\n\n"
      for option, text in help:gmatch "\n   (%-%-[%w-]+ %u+) +([^\n]+)" do
        assert.is_truthy(text:find "%(.+%)", ("%s %s: %s"):format(command, option, text))
        n = n + 1
      end
    end
    assert.are.equal(88, n)
  end)

  it("says there what sim.run does without it", function()
    local OPTIONS = require("gdnmeta.sim.scenario").OPTIONS
    for _, o in ipairs(require("gdnmeta.cli.flags").list) do
      local default = (OPTIONS[o[3]] or {})[1]
      if default then
        local said = o[5]:match("%((" .. tostring(default):gsub("%p", "%%%0") .. ")%)")
        assert.are.equal(tostring(default), said, o[1])
      end
    end
  end)

  it("doctor says what is there", function()
    local out, err, status = gdnmeta "doctor"
    assert.are.same({ "", 0 }, { err, status })
    assert.matches("^ok       LuaJIT    LuaJIT 2", out)
    assert.matches("\nok       library   gdnmeta %d", out)
    assert.matches("\nok       cjson ", out)
  end)

  describe("finds its modules from another folder", function()
    local function elsewhere(path)
      local pipe = assert(io.popen("cd / && env -u LD_PRELOAD -u GDNMETA_LIB -u LUA_PATH -u LUA_CPATH "
        .. path .. " simulate --quiet --workload requests=3 | head -n 1"))
      local text = pipe:read "*a"
      pipe:close()
      return text
    end

    it("in a checkout #system", function()
      assert.matches("^workload   generated, 3 requests", elsewhere "$OLDPWD/bin/gdnmeta")
    end)

    it("where it is installed #system", function()
      assert.are.equal(0, os.execute(("env -u LD_PRELOAD make install PREFIX=%s"):format(folder)))
      assert.matches("^workload   generated, 3 requests", elsewhere(folder .. "/bin/gdnmeta"))
    end)
  end)
end)
