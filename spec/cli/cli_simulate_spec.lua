-- gdnmeta simulate: table, progress, files.
local cjson = require "cjson"
local gnuplot = require "gdnmeta.report.gnuplot"
local programs = require "spec.support.program"
local terminals = require "spec.support.terminal"

local SMALL = "--workload requests=60,rate=6 "

describe("gdnmeta simulate #lua", function()
  local program, gdnmeta, read, write, folder
  setup(function()
    program = programs.new()
    gdnmeta, read, write, folder = program.run, program.read, program.write, program.folder
  end)
  teardown(function() program.close() end)

  it("prints a table on stdout and quiet lines on stderr", function()
    local out, err, status = gdnmeta("simulate --policy fcfs --policy fair " .. SMALL)
    assert.are.equal(0, status, err)
    local line = ": 60 requests in [%d,]+ steps, [%d.]+ s\n"
    assert.matches("^fcfs" .. line .. "fair" .. line .. "$", err)
    assert.matches("^workload   generated, 60 requests, [%d.]+ per second, seed 1\n", out)
    assert.matches("uncalibrated\n", out)
    assert.matches("\n  finished +requests +60 +60\n", out)
    assert.matches("\nfair against fcfs, request by request: first token ", out)
  end)

  it("hands the engine how much cache admissions leave, and how often a request may leave", function()
    local out, err, status = gdnmeta("simulate --kv-headroom 7 --preempt-limit 0 --json - " .. SMALL)
    assert.are.equal(0, status, err)
    local setup = cjson.decode(out).runs[1].setup
    assert.are.same({ 7, 0 }, { setup.kv_headroom, setup.preempt_limit })
  end)

  describe("on a terminal", function()
    local no_terminal = terminals.missing()

    -- What a terminal of so many columns is sent.
    local function watched(columns, more)
      local command = "stty cols %d; bin/gdnmeta simulate " .. (more or "--workload requests=4000,rate=20")
        .. " 2>&1 >/dev/null"
      local pipe = assert(io.popen(("env -u LD_PRELOAD -u GDNMETA_LIB script -qec '%s' /dev/null </dev/null")
        :format(command:format(columns))))
      local text = pipe:read "*a"
      pipe:close()
      return text
    end

    it("draws a bar", function()
      if no_terminal then return pending(no_terminal) end
      local text = watched(80)
      assert.matches("fcfs +%[#*%.*%] [%d,]+ of 4,000 requests", text)
      assert.matches("\r\27%[K", text)
    end)

    it("draws one while a large trace is read, and clears it away", function()
      if no_terminal then return pending(no_terminal) end
      local path = write("large.csv", "arrival_s,prompt_tokens,output_tokens\n"
        .. ("0.000000,1000,10\n"):rep(150000))
      local text = watched(80, ("--limit 3 --skip 149990 --trace " .. path))
      assert.matches("large.csv +%[#*%.*%] %d of 3 MiB", text)
      assert.is_nil(watched(80, "--limit 3 --quiet --trace " .. path):find "MiB")
    end)

    it("keeps to one line of a narrow one", function()
      if no_terminal then return pending(no_terminal) end
      local text = watched(16)
      assert.matches("\27%[K[%d,]+ of 4,000\r", text)
      assert.is_nil(text:find("of 4,000 requests", 1, true))
    end)
  end)

  it("says nothing on stderr when it is to be quiet", function()
    local _, err = gdnmeta("simulate --quiet " .. SMALL)
    assert.are.equal("", err)
  end)

  it("gives the same figures for the same seed", function()
    local function figures(seed)
      local out = gdnmeta("simulate --json - --seed " .. seed .. " " .. SMALL)
      local run = cjson.decode(out).runs[1]
      run.wall = nil
      return run
    end
    assert.are.same(figures(3), figures(3))
    assert.are_not.same(figures(3).ttft, figures(4).ttft)
  end)

  it("writes a line a request", function()
    local out = gdnmeta("simulate --csv - --policy fcfs --policy fair " .. SMALL)
    local lines = {}
    for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.are.equal("policy,request,user,arrival_s,prompt_tokens,output_tokens,queue_ms,ttft_ms,e2e_ms,"
      .. "class,priority,session", lines[1])
    assert.are.equal(1 + 2 * 60, #lines)
    assert.matches("^fcfs,1,user%d,0%.000000,1398,278,0%.000000,%d+%.%d+,%d+%.%d+,,,$", lines[2])
    assert.matches("^fair,60,user%d,", lines[121])
  end)

  it("writes a page with the table, the command and pictures", function()
    local arguments = ("simulate --policy fcfs %s--report %s/r.html"):format(SMALL, folder)
    local _, err, status = gdnmeta(arguments)
    assert.are.equal(0, status, err)
    local html = read "r.html"
    assert.matches("<pre>gdnmeta " .. arguments .. "</pre>", html, 1, true)
    assert.matches(", seed 1</dd>", html, 1, true)
    assert.matches("uncalibrated", html, 1, true)
    local _, figures = html:gsub("<figure>", "")
    assert.are.equal(gnuplot.available() and 4 or 0, figures)
    for _, outside in ipairs { "<script", "src=", "href=\"", "url%(", "@import" } do
      assert.is_nil(html:find(outside), "needs another file: " .. outside)
    end
  end)

  it("writes the table and which charts are missing without gnuplot", function()
    local needed = "$(command -v luajit) $(command -v env) $(command -v sh)"
    assert(os.execute(("mkdir -p %s/bin && ln -sf %s %s/bin/"):format(folder, needed, folder)) == 0)
    local _, err, status = gdnmeta(("simulate %s--report %s/n.html"):format(SMALL, folder),
      "PATH=" .. folder .. "/bin")
    assert.are.equal(0, status, err)
    local html = read "n.html"
    assert.matches(">Missing charts (gnuplot is not installed): Time to first token, Gaps "
      .. "between tokens, Tokens per step: fcfs, State slots. The tables have the numbers.<", html, 1, true)
    assert.is_nil(html:find("<svg", 1, true))
    assert.matches("<td>finished</td>", html, 1, true)
  end)

  it("runs a policy of one's own on a recorded workload", function()
    local header = "arrival_s,prompt_tokens,output_tokens,user\n"
    local trace = write("t.csv", header .. "0,50,3,a\n0.1,9,2,b\n5,7,1,a\n")
    local policy = write("mine.lua", "return { key = function(r) return r.prompt_tokens end }\n")
    local out, err, status = gdnmeta(
      ("simulate --trace %s --policy %s --preset constant-20ms"):format(trace, policy))
    assert.are.equal(0, status, err)
    assert.matches("^workload   t.csv, 3 requests, ", out)
    local conserved = "mine: 69 tokens scheduled = 69 (prompt + output - 1 of each); "
      .. "6 emitted = all outputs"
    assert.matches("\n" .. conserved .. "\n", out, 1, true)
  end)

  it("fits the step cost to a log", function()
    local lines = { "tokens_padded,prefill_tokens,seqs,ctx_sum,ms" }
    for i = 1, 40 do lines[i + 1] = ("%d,0,%d,0,%g"):format(i, i, 10 + 0.5 * i) end
    local log = write("log.csv", table.concat(lines, "\n"))
    local out, err, status = gdnmeta(("simulate --calibrate %s %s"):format(log, SMALL))
    assert.are.equal(0, status, err)
    assert.matches("^calibrated on 40 steps: mean error 0.0 %%\n    1 ..   1 rows:     1 steps, ", err)
    assert.matches("\nstep cost  coefficients given, calibrated\n", out)
  end)
end)
