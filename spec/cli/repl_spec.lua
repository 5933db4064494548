-- The prompt: driven through a pipe and on a terminal.
local gdn = require "gdnmeta"
local input = require "gdnmeta.repl.input"
local libc = require "gdnmeta.native.libc"
local programs = require "spec.support.program"
local sample_engine = require "gdnmeta.repl.sample_engine"
local terminals = require "spec.support.terminal"


describe("gdnmeta repl #lua", function()
  local program
  setup(function() program = programs.new() end)
  teardown(function() program.close() end)

  -- stdout, stderr and exit status of a session that was typed into a pipe.
  local function session(...)
    local path = program.write("in", table.concat({ ... }, "\n") .. "\n")
    return program.run("repl", "cat " .. path .. " |")
  end

  it("shows values of expressions, and goes on after an error", function()
    local out, err, status = session("=1 + 1, 'two'", "1 + 2", "nosuch.field = 1", "x = = 3",
      'error "boom"', "error { 1 }", "=meta.nope", "step(0)", 'explain(3)', "=3", "", "x = 7", "=x")
    assert.are.same({ "2\ttwo\n3\n3\n7\n", 0 }, { out, status })
    assert.are.equal(table.concat({
      "attempt to index global 'nosuch' (a nil value)", "unexpected symbol near '='", "boom", "  [1] = 1",
      'gdnmeta.Metadata: no field "nope"', "step(n): want how many steps, at least 1",
      "explain(meta, name): want the metadata of a build", "" }, "\n"), err)
  end)

  it("goes on after what cannot be shown", function()
    local raising = "setmetatable({}, { __tostring = function() error 'no' end })"
    local out, err, status = session("x = " .. raising, "=x, 1", "error(x)",
      "=setmetatable({}, { __index = function() error {} end })", "=2")
    assert.are.same({ "a table that cannot be shown: prompt:1: no\t1\n{}\n2\n", -- fields are looked at raw
                      "a table that cannot be shown: prompt:1: no\n", 0 }, { out, err, status })
  end)

  it("helps whether it is called or named", function()
    local called, err, status = session "help()"
    assert.are.same({ "", 0, true }, { err, status, called:find("explain(meta)", 1, true) ~= nil })
    assert.are.equal(called, (session "help"))
  end)

  it("takes statements over several lines", function()
    local out, err = session("for i = 1, 2 do", "  print(i)", "end", "=", "40 + 2", "f = function(x)",
      "return x", "end", "=f [[a", "b]]", "if x", "", "=5")
    assert.are.same({ "1\n2\n42\na\nb\n5\n", "the statement is not whole\n" }, { out, err })
    assert.are.same({ "1\n", "the statement is not whole\n", 0 }, { session("=1", "for i = 1, 2 do") })
  end)

  it("ends at exit and at the end of the input", function()
    assert.are.same({ "1\n", "", 0 }, { session("=1", "exit", "=2") })
    assert.are.same({ "1\n", "", 0 }, { session("=1", "  quit", "=2") })
    assert.are.same({ "", "", 0 }, { program.run "repl </dev/null" })
  end)

  it("draws the step, its rows, its batch and the engine", function()
    local out, err, status = session("=meta", "=batch", "=engine")
    assert.are.same({ "", 0 }, { err, status })
    assert.are.equal([[
gdnmeta.Metadata: step 1, 3 rows, 96 tokens
  p  prefills          3 rows       96 tokens
  |pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp|
      row  class        tokens  positions       reads  writes
        0  prefill          73  0 .. 72         fresh  1
        1  prefill          10  73 .. 82        fresh  4
        2  prefill          13  83 .. 95        fresh  7
gdnmeta.Batch: 3 of 8 rows, 96 tokens
   row  query_len   seq_len  drafts  accepted  prompt_done  table_row  read_column
p    0         73        73       -         1           no          0           -1
p    1         10        10       -         1           no          1           -1
p    2         13        13       -         1           no          2           -1
gdnmeta.Engine(policy=decode_first, 3 running, 0 waiting, 0 in flight)
  state slots: 9 of 24 in use
       id  state    prompt  computed  emitted  of most  drafts
        a  running      73        73        1        9       2  |ppppppppppppppppppppp...|
        b  running      10        10        1       14       2  |pppppppppp..............|
        c  running      77        13        0        6       0  |pppp....................|
]], out)
  end)

  it("runs the engine on in virtual time, and shows what is padding", function()
    local out, err, status = session("step()", "step()", "step(2)", "=meta.step, meta.num_rows")
    assert.are.same({ "", 0 }, { err, status })
    assert.matches("^step 2 at 16%.8 ms, takes 15%.5 ms, graph eager\n", out)
    assert.matches("\n      row  class        tokens  positions       reads  writes         request\n"
      .. "        0  spec decode       3  0 .. 2          1      1 2 3          a\n", out, 1, true)
    assert.matches("\nstep 4 at [%d.]+ ms, takes [%d.]+ ms, graph full: finishes a\nstep 5 at ", out)
    assert.matches("\n        3  padding           3  9 .. 11\n", out, 1, true)
    assert.matches("\n5\t%d+\n$", out)
  end)

  it("explains fields, and lists them", function()
    local out, err, status = session('explain(meta, "chunk_indices")', 'explain "num_prefills"',
      "explain(meta)", 'explain(meta, "nope")')
    assert.are.same({ 'no field "nope"; explain(meta) lists them\n', 0 }, { err, status })
    assert.matches("^chunk_indices: int32%[4, 2%]\n", out)
    assert.matches("\n  Here 4 chunks: from chunk 0 of prefill 0 to chunk 0 of prefill 2.\n", out, 1, true)
    assert.matches("\n  Here 3 of the step's 3 rows.\n", out, 1, true)
    assert.matches("\n  num_rows                       3\n", out, 1, true)
    assert.matches("\n  spec_query_start_loc           -\n", out, 1, true)
  end)

  it("goes on when its objects were closed", function()
    local out, err, status = session("builder:close()", "=meta", "=builder", "step()", "=batch",
      "engine:close()", "=batch", "=engine", 'explain(meta, "num_rows")', "=1")
    assert.are.equal(0, status)
    assert.matches("^gdnmeta.Metadata%(closed%)\n", out)
    assert.matches("\ngdnmeta.Batch%(closed%)\n.*closed%)\n1\n$", out)
    assert.matches("closed\n", err)
  end)

  describe("on a terminal", function()
    local no_terminal = terminals.missing()

    -- What a terminal shows. keys: pairs of what comes, after the keys before, and what is typed then.
    local function typed(keys, environment)
      local screen, seen = program.write("screen", ""), 0
      local command = "timeout 60 env -u LD_PRELOAD -u GDNMETA_LIB HOME=%s TERM=xterm %s "
        .. "script -qec 'bin/gdnmeta repl' /dev/null >%s"
      local pipe = assert(io.popen(command:format(program.folder, environment or "", screen), "w"))
      local function text() return (program.read("screen"):gsub("\r", "")) end
      for _, pair in ipairs(keys) do
        local left = 3000
        while not text():find(pair[1], seen + 1) do
          left = left > 0 and left - 1 or error(("the terminal does not show %q: %s"):format(pair[1], text()))
          libc.libc_poll(nil, 0, 10)
        end
        seen = #text()
        pipe:write(pair[2])
        pipe:flush()
      end
      pipe:close() -- waits for its end
      return text()
    end

    local PLAIN = [[LUA_INIT='package.preload.readline = function() error "none" end']]

    it("greets, prompts and draws in colour", function()
      if no_terminal then return pending(no_terminal) end
      local text = typed({ { "gdn> ", "=meta\nfor i = 1, 1 do\nprint(i)\nend\nexit\n" } }, PLAIN)
      assert.matches("gdnmeta " .. gdn._VERSION .. " on LuaJIT", text, 1, true)
      assert.matches("gdn> ", text, 1, true)
      assert.matches("\ngdnmeta.Metadata: step 1, 3 rows, 96 tokens\n", text, 1, true)
      assert.matches("gdn> ...> ...> 1\n", text, 1, true)
      assert.matches("\27[33m        0  prefill", text, 1, true)
    end)

    it("draws without colour where that is wished", function()
      if no_terminal then return pending(no_terminal) end
      local text = typed({ { "gdn> ", "=meta\nexit\n" } }, PLAIN .. " NO_COLOR=1")
      assert.matches("        0  prefill", text, 1, true)
      assert.is_nil(text:find("\27[33m", 1, true))
    end)

    it("is interrupted while a statement runs, as often as wanted, and not while it waits", function()
      if no_terminal then return pending(no_terminal) end
      local long = "io.write('be', 'gins') io.flush() for i = 1, 5e9 do end\n"
      local text = typed({ { "gdn> ", "\3=40 + 1\n" }, { "\n41\ngdn> ", "\3" .. long }, { "begins", "\3" },
                           { "interrupted!\ngdn> ", long }, { "begins", "\3" },
                           { "interrupted!\ngdn> ", "=40 + 2\nexit\n" } }, PLAIN)
      assert.matches("\n41\n.*interrupted!\n.*interrupted!\n.*\n42\n", text)
    end)

    -- What the prompt asks of that module, and its answers when it is asked as the module does.
    local READLINE = [[
local complete
package.preload.readline = function()
  return {
    set_readline_name = print, set_completion_append_character = function(c) print("append", #c) end,
    set_options = function(o) print("options", o.keeplines, o.histfile:match "[^/]*$") end,
    set_complete_function = function(f) complete = f end, save_history = function() print "saved" end,
    readline = function()
      for _, line in ipairs { "=gdn.po", "gdn.p", "= 1 + engine:su", "nosuch.", "x = batch:p" } do
        for from = math.max(1, #line - 2), #line do
          print(line, from, table.concat(complete(line, from, #line), " ") .. ".")
        end
      end
    end,
  }
end
]]

    it("asks readline for completion and a history", function()
      if no_terminal then return pending(no_terminal) end
      local text = typed({}, ("LUA_INIT=@%s"):format(program.write("readline.lua", READLINE)))
      assert.are.equal([[
gdnmeta
options	1000	.gdnmeta_history
append	0
=gdn.po	5	.policy.
=gdn.po	6	policy.
=gdn.po	7	olicy.
gdn.p	3	n.policy.
gdn.p	4	.policy.
gdn.p	5	policy.
= 1 + engine:su	13	:submit.
= 1 + engine:su	14	submit.
= 1 + engine:su	15	ubmit.
nosuch.	5	.
nosuch.	6	.
nosuch.	7	.
x = batch:p	9	h:pad h:push.
x = batch:p	10	:pad :push.
x = batch:p	11	pad push.
]], text:gsub("gdnmeta [^\n]*\n", ""):match "gdnmeta\noptions.*x = [^\n]*\n")
      assert.matches("saved", text, 1, true)
    end)

    it("completes names and keeps a history where readline is there", function()
      if no_terminal then return pending(no_terminal) end
      if not pcall(require, "readline") then return pending "the Lua module readline is missing" end
      local text = typed { { "gdn> ", "=meta.num_spec_decode_\t\nexit\n" } }
      assert.matches("=meta.num_spec_decode_tokens", text, 1, true)
      assert.matches("=meta.num_spec_decode_tokens\n", program.read ".gdnmeta_history", 1, true)
    end)
  end)
end)

describe("Completion", function()
  local env = setmetatable({ gdn = gdn }, { __index = _G })
  local sample

  setup(function()
    sample = sample_engine.new()
    local step = sample:step()
    env.engine, env.builder, env.meta, env.batch = sample.engine, sample.builder, step.metadata, step.batch
    env.closed = setmetatable({}, { __index = function() error "closed" end })
  end)
  teardown(function()
    sample.engine:close()
    sample.builder:close()
  end)

  it("knows what may follow", function()
    assert.are.same({ "gdn.policy" }, input.complete("gdn.po", env))
    assert.are.same({ "engine:submit" }, input.complete("engine:su", env))
    assert.are.same({}, input.complete("engine:sta", env))
    assert.are.same({ "engine.stats.waiting", "engine.stats.wasted_rows", "engine.stats.wasted_tokens" },
                    input.complete("engine.stats.wa", env))
    assert.are.same({ "meta.chunk_indices" }, input.complete("meta.chunk_i", env))
    assert.are.same({ "meta.chunk_indices:at", "meta.chunk_indices:dlpack", "meta.chunk_indices:totable" },
                    input.complete("meta.chunk_indices:", env))
    assert.are.same({ "batch:pad", "batch:push" }, input.complete("batch:p", env))
    assert.are.same({ "batch", "builder" }, input.complete("b", { batch = 1, builder = 2, step = 3 }))
    assert.are.same({ "string.rep", "string.reverse" }, input.complete("string.re", env))
    assert.are.same({}, input.complete("nosuch.thing.x", env))
    assert.are.same({}, input.complete("closed.x.y", env))
    local twice = setmetatable({ one = 1 }, { __index = { one = 2, only = 3, [1] = 4, ["o x"] = 5 } })
    assert.are.same({ "t.one", "t.only" }, input.complete("t.o", { t = twice }))
  end)
end)
