local programs = require "spec.support.program"

describe("gdnmeta #lua", function()
  local program, gdnmeta, folder
  setup(function()
    program = programs.new()
    gdnmeta, folder = program.run, program.folder
  end)
  teardown(function() program.close() end)

  local wrong = {
    { "", "gdnmeta: a command is required; see gdnmeta --help" },
    { "simulate --rat 3",
      "gdnmeta: unknown option '--rat'\nDid you mean '--rate'?; see gdnmeta simulate --help" },
    { "simulate --rate fast", "gdnmeta: --rate = fast, want requests a second in 1e-06 .. 1000000" },
    { "simulate --kv-tokens=-3", 'gdnmeta: --kv-tokens = "-3", want an integer in 0 .. 1099511627776' },
    { "simulate --cost c0=1,c9=2",
      'gdnmeta: --cost: "c9=2" is no coefficient, want name=milliseconds such as c0=12' },
    { "simulate --trace nowhere.csv", "gdnmeta: nowhere.csv: No such file or directory" },
    { "simulate --trace a --workload requests=1", "gdnmeta: --trace and --workload exclude each other" },
    { "simulate --workload requests=many",
      'gdnmeta: --workload = "requests=many", want name=number,name=number' },
    { "simulate --workload request=3", "gdnmeta: workload.generate: unknown option request, want one of "
      .. "output_max, output_median, output_sigma, prompt_max, prompt_median, prompt_sigma, rate, requests, "
      .. "seed" },
    { "simulate --accept 0.9", "gdnmeta: --accept = 0.9, want --drafts above 0 beside it" },
    { "simulate --report nowhere/out.html", "gdnmeta: nowhere/out.html: No such file or directory" },
    { "sweep --json nowhere/out.json", "gdnmeta: nowhere/out.json: No such file or directory" },
    { "simulate --calibrate nowhere.csv", "gdnmeta: --calibrate: nowhere.csv: No such file or directory" },
    { "simulate --policy nowhere.lua", "gdnmeta: policy nowhere.lua: No such file or directory" },
    { "simulate --drafts 2 --accept 0.9",
      "gdnmeta: acceptance.new: rates has 1 positions, want 2, one a draft" },
    { "sweep --rates 3,-1", "gdnmeta: --rates = 3,-1, want numbers > 0 such as 2,4,8 or 2:12:2" },
    { "sweep --jobs 0", "gdnmeta: --jobs = 0, want a number in 1 .. 1024" },
    { "merge nowhere.json", "gdnmeta: nowhere.json: No such file or directory" },
    { "merge rockspec", "gdnmeta: rockspec: No such file or directory" },
    { "merge Makefile", "gdnmeta: Makefile: Expected value but found invalid token at character 1" },
  }
  for _, case in ipairs(wrong) do
    it("says what is wrong with `" .. case[1] .. "`, and exits with 2", function()
      assert.are.same({ "", case[2] .. "\n", 2 }, { gdnmeta(case[1]) })
    end)
  end

  it("shows where an error came from when asked", function()
    local _, err, status = gdnmeta "simulate --trace nowhere.csv --debug"
    assert.are.equal(2, status)
    assert.matches("^gdnmeta: nowhere.csv: No such file or directory\nstack traceback:\n", err)
  end)

  it("has help with examples for every command", function()
    for _, command in ipairs { "", "simulate ", "sweep ", "merge ", "inspect ", "replay " } do
      local out, err, status = gdnmeta(command .. "--help")
      assert.are.same({ "", 0 }, { err, status })
      assert.matches("^Usage: gdnmeta " .. command, out)
      assert.matches("\nexamples:\n  gdnmeta " .. command, out, 1, true)
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
      assert.are.equal(0, os.execute(("env -u LD_PRELOAD make install LUADIR=%s/share/lua/5.1 "
        .. "LIBDIR=%s/lib/lua/5.1 BINDIR=%s/bin"):format(folder, folder, folder)))
      assert.matches("^workload   generated, 3 requests", elsewhere(folder .. "/bin/gdnmeta"))
    end)
  end)
end)
