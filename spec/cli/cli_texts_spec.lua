-- What the commands print, whole: stdout, stderr and exit status against spec/goldens/texts.
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local programs = require "spec.support.program"
local recordings = require "spec.support.recordings"

local SMALL = " --workload requests=30,rate=6,prompt_max=900,output_max=40 "

describe("The commands print #lua", function()
  local program, write, folder, parts
  setup(function()
    program = programs.new()
    write, folder = program.write, program.folder
  end)
  teardown(function() program.close() end)
  before_each(function() parts = {} end)

  -- What differs from one run or machine to the next.
  local function plain(text)
    text = text:gsub(folder:gsub("%p", "%%%0"), "FOLDER"):gsub(gdn._VERSION:gsub("%p", "%%%0"), "VERSION")
    -- How long the host took: its figures, and with them the width of columns.
    text = text:gsub("\n(  [%l ,]+p[59][09] +us) [^\n]*", "\n%1 TIME")
    text = text:gsub("steps, [%d.]+ s\n", "steps, TIME\n")
    return (text:gsub("LuaJIT %d[^\n]*", "LuaJIT"):gsub("  +", text:find "TIME" and "  " or "%0"))
  end

  local function say(arguments, before)
    local out, err, status = program.run(arguments:gsub("FOLDER", folder), before)
    parts[#parts + 1] = plain(("$ gdnmeta %s\n%s"):format(arguments, out))
    if err ~= "" then parts[#parts + 1] = plain("stderr:\n" .. err) end
    parts[#parts + 1] = ("status %d\n"):format(status)
    return out
  end

  local function check(name) golden("cli-" .. name, table.concat(parts, "\n") .. "\n") end

  it("their help", function()
    for command in ("simulate sweep merge inspect replay repl doctor"):gmatch "%a+" do
      say(command .. " --help")
    end
    say "--help"
    say "--version"
    say "--version now"
    say "simulate --version --seed 3"
    say "simulat"
    say "doctor --nothing"
    check "help"
  end)

  it("what was simulated", function()
    write("trace.csv", "arrival_s,prompt_tokens,output_tokens,user,class,session_id\n0,50,3,a,x,s\n"
      .. "100,9,2,b,y,t\n200,70,4,a,x,s\n300,7,1,a,x,s\n")
    write("emitted.csv", "emitted_per_step\n1 2 1\n2 2\n")
    local trace = "simulate --preset constant-20ms --trace FOLDER/trace.csv "
    say(trace .. "--skip 1 --limit 2 --time-unit ms")
    say(trace .. "--time-unit ms --closed-loop --think 0.5 --csv -")
    say(trace .. "--drafts 2 --accept FOLDER/emitted.csv --async")
    say("simulate --quiet --drafts 2 --accept 0.9,0.5 --classes 'a:0.5,ttft=1;b:0.5,priority=2'" .. SMALL)
    say("simulate --quiet --drafts 2 --accept mean=2,spread=0.3 --sessions 4 --think 1" .. SMALL)
    say("simulate --policy fcfs --policy fair --users 3 --rate 20 --max-seqs 2" .. SMALL)
    check "simulate"
  end)

  it("what a policy did wrong", function()
    local hooks = {
      always = "chunk = function() return 0 / 0 end", never = "victim = function() return 0 / 0 end",
      once = "chunk = function(r, want, ctx) return ctx.step == 3 and 0 / 0 or want end",
      rarely = "chunk = function(r, want, ctx) return ctx.step % 2 == 0 and 0 / 0 or want end",
    }
    for _, name in ipairs { "always", "never", "once", "rarely" } do
      write(name .. ".lua", ("return { %s }"):format(hooks[name]))
      say("simulate --quiet --kv-tokens 1200 --max-seqs 8 --policy FOLDER/" .. name .. ".lua" .. SMALL)
    end
    check "failures"
  end)

  it("how the step cost was fitted", function()
    local lines = { "tokens_padded,prefill_tokens,seqs,ctx_sum,ms" }
    for i = 1, 40 do lines[i + 1] = ("%d,0,%d,0,%g"):format(i, i - 1, 10 + 0.5 * i + i % 3) end
    write("log.csv", table.concat(lines, "\n"))
    local out = say("simulate --calibrate FOLDER/log.csv" .. SMALL)
    assert.truthy(out)
    for n = 1, #lines do -- a bad one on every line
      local was = lines[n]
      lines[n] = n == 1 and "a,b" or "1,2,3,4,0"
      write("log.csv", table.concat(lines, "\n"))
      if n < 4 or n == #lines then say "simulate --calibrate FOLDER/log.csv" end
      lines[n] = was
    end
    check "calibrate"
  end)

  it("what a sweep found, and its jobs", function()
    local sweep = "sweep --policy fcfs --policy fair --precision 60 --ttft-ms 250 "
    say(sweep .. "--rates 5:60:55" .. SMALL)
    say(sweep .. "--rates 2,60 --quiet --jobs 2" .. SMALL)
    say("sweep --attainment 50 --ttft-ms 30 --preset constant-20ms" .. SMALL)
    say(sweep .. "--rates 2:3:0.25 --print-jobs --async --users 3 --accept mean=2 --drafts 2")
    say "sweep --rates 0.3:0.9:0.1 --print-jobs"
    say "sweep --rates 1:1001:1 --print-jobs --precision 101"
    for rates in ("1:1002:1 1:2:0 2:1:1 1:x:1 1, 1e-7 1e-6,1e6 1e7 1:1:1 1,1"):gmatch "%S+" do
      say("sweep --print-jobs --rates " .. rates)
    end
    say "sweep --policy 'a b.lua' --policy a-b.lua --policy=-c --rates 1,2 --print-jobs"
    check "sweep"
  end)

  it("what they could not do", function()
    for _, arguments in ipairs {
      "simulate --cost c0=1 --calibrate x", "simulate --accept 0.9,x --drafts 2", "simulate --time-unit s",
      "simulate --accept x --drafts 2", "simulate --accept 0.9,0.8,0.9 --drafts 3", "simulate --think 3",
      "simulate --closed-loop", "simulate --classes 'a:0;b:0'", "simulate --classes x=1",
      "simulate --json FOLDER/x --csv FOLDER/x", "simulate --csv FOLDER/x --report FOLDER/x",
      "simulate --report FOLDER", "merge Makefile", "inspect Makefile", "inspect FOLDER",
      "replay FOLDER/none", "simulate --workload rate=0", "simulate --cost active=2",
      "simulate --cost c0=1e7", "merge FOLDER/none FOLDER/none",
    } do
      say(arguments)
    end
    check "refusals"
  end)

  describe("of recordings", function()
    local lines

    -- Steps 1 .. 26 of two groups with drafts; `edit` maps a line's number and text to another text.
    local function record(name, options, builder)
      local e = recordings.engine(options, builder)
      local recording = assert(e:record(folder .. "/" .. name))
      recordings.serve(e, 26)
      recording:close()
      e:close()
      lines = recordings.lines(program.read(name))
    end

    local function edited(name, edit)
      local list = {}
      for n, line in ipairs(lines) do list[n] = edit(n, line) or line end
      write(name, table.concat(list, "\n") .. "\n")
    end

    it("what is in them", function()
      record("steps", { kv_tokens = 4096 }, { num_speculative_tokens = 2, full_cuda_graph = true,
                                             max_cudagraph_capture_size = 16 })
      say "inspect FOLDER/steps"
      say "inspect FOLDER/steps --step 1"
      say "inspect FOLDER/steps --step 7"
      say "inspect FOLDER/steps --step 27"
      say "inspect FOLDER/steps --request 3"
      say "inspect FOLDER/steps --request 26"
      record("one", {}, { num_groups = 1, num_speculative_tokens = 1 })
      say "inspect FOLDER/one --step 3"
      say "inspect FOLDER/one"
      edited("cut", function(n) return n == #lines and "{" or nil end)
      say "inspect FOLDER/cut --request 3"
      check "inspect"
    end)

    it("what became of each request", function()
      local e = recordings.engine({ kv_tokens = 64, max_model_len = 60, kv_headroom = 0 },
        { max_num_seqs = 2, max_num_batched_tokens = 24 })
      local recording = assert(e:record(folder .. "/fates"))
      for now = 1, 22 do
        if now <= 7 then
          e:submit { id = now, prompt_tokens = 16 + 4 * now, max_tokens = 3 + 2 * now, arrival = now }
        end
        if now == 9 then e:cancel(2) end
        if now == 12 then e:cancel(6) end
        if now == 14 then e:submit { id = 6, prompt_tokens = 5, max_tokens = 1, arrival = now } end
        assert(e:complete(assert(e:step(now)), now + 0.5))
      end
      recording:close()
      e:close()
      for id = 1, 8 do say("inspect FOLDER/fates --request " .. id) end
      check "fates"
    end)

    it("what comes out otherwise", function()
      record("steps", {}, { num_speculative_tokens = 2 })
      say "replay FOLDER/steps"
      for _, rules in ipairs { "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
        say("replay FOLDER/steps --rules " .. rules)
      end
      local function counts(n, line)
        return n > 1 and line:gsub('"counts":%[%d+', '"counts":[7')
      end
      edited("all", counts) -- more than are named
      say "replay FOLDER/all"
      for _, most in ipairs { 1, 20, 21 } do
        edited("some", function(n, line) return n <= most + 1 and counts(n, line) end)
        say "replay FOLDER/some"
      end
      edited("other", function(n, line)
        if n == 4 then return (line:gsub('"seq_len":%[%d+', '"seq_len":[1')) end -- refused
        if n == 6 then return (line:gsub('"chunk_indices":', '"checkpoint_rows":')) end
        if n == 9 then -- in both groups
          return (line:gsub('("spec_state_indices_tensor":%[)"(%x+)","(%x+)"', '%1"0%20","0%30"'))
        end
        if n == 10 then
          line = line:gsub('("spec_state_indices_tensor":%["%x+)%x"', '%1f"')
          return (line:gsub('("num_accepted_tokens":%["%x+)%x"', '%1f"'))
        end
      end)
      say "replay FOLDER/other"
      edited("digits", function(n, line)
        return n == 8 and line:gsub('("spec_state_indices_tensor":%[")%x', "%1g")
      end)
      say "replay FOLDER/digits"
      edited("two", function(n, line)
        if n == 3 or n == 7 then
          return (line:gsub('("spec_state_indices_tensor":%["%x+)%x","(%x+)%x"', '%1f","%2e"'))
        end
      end)
      say "replay FOLDER/two"
      say "replay FOLDER/two --rules vllm-2026-04"
      lines[#lines] = nil
      edited("cut", function() end)
      say "replay FOLDER/cut"
      check "replay"
    end)
  end)

  it("what is missing, where nothing is there", function()
    local needed = "$(command -v luajit) $(command -v env) $(command -v sh)"
    assert(os.execute(("mkdir -p %s/bin && ln -sf %s %s/bin/"):format(folder, needed, folder)) == 0)
    local bare = ("LUA_PATH='./lua/?.lua;./lua/?/init.lua' LUA_CPATH= GDNMETA_LIBCUDA=none PATH=%s/bin")
      :format(folder)
    say("doctor", bare)
    say("simulate", bare)
    assert.matches("library   gdnmeta VERSION, ABI %d+, /[^\n]*libgdnmeta[^\n]*%.so", parts[1])
    for i, part in ipairs(parts) do parts[i] = part:gsub("(library   gdnmeta)[^\n]*", "%1") end
    check "bare"
  end)

  it("what is there, where everything is", function()
    local needed = "$(command -v luajit) $(command -v env) $(command -v sh) $(command -v tail)"
    assert(os.execute(("mkdir -p %s/every && ln -sf %s %s/every/"):format(folder, needed, folder)) == 0)
    for name in ("gnuplot xargs nvcc busted luacheck"):gmatch "%a+" do
      write("every/" .. name, ("#!/bin/sh\necho %s $1; echo of today; echo and more\n"):format(name))
      assert(os.execute(("chmod +x %s/every/%s"):format(folder, name)) == 0)
    end
    write("readline.lua", "return 'no table'")
    write("argparse.lua", "error 'broken'")
    write("cjson.lua", "return { _VERSION = '1.2' }")
    say("doctor", ("LUA_PATH='%s/?.lua;./lua/?.lua;./lua/?/init.lua' PATH=%s/every "
      .. "GDNMETA_LIBCUDA=build/libfakecuda.so"):format(folder, folder))
    parts[1] = parts[1]:gsub("(library   gdnmeta)[^\n]*", "%1")
    check "doctor"
  end)
end)
