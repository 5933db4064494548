-- A session of the prompt within this process, line by line: what it writes, asks for, and when it may be
-- interrupted; its engine step by step; and the names that complete its objects. Against spec/goldens/texts.
local gdn = require "gdnmeta"
local input = require "gdnmeta.repl.input"
local noted = require "spec.support.noted"
local repl = require "gdnmeta.repl"
local sample_engine = require "gdnmeta.repl.sample_engine"
local signals = require "gdnmeta.native.signals"

local notes = noted.new "session-"

local LINES = { "=1, nil", "2", "  ", "x = {", "1 }", "=#x", "=", "3", "if x then", "", "= = 4",
                "error 'boom'", "error()", "error {}",
                "error(setmetatable({}, { __tostring = function() error 'no' end }))",
                "=setmetatable({}, { __tostring = function() error {} end })",
                "return", "=(function() end)()",
                "help", "step 'x'", "step(0)", "step(1.5)", "step(2)", "=meta.step, batch.num_rows", "step()",
                "=meta.step, batch.num_rows", "explain(3)", "explain({})", "explain 'nope'",
                "explain(meta, 'nope')", "explain 'num_rows'", "explain(meta, 'num_decodes')", "exits = 1",
                "=exits", "f = function()", "  error 'late'", "end f()" }

describe("A session #lua", function()
  local open, interrupts, sessions
  before_each(function()
    notes.clear()
    sessions = {}
    open, interrupts = input.open, input.interrupts
  end)
  after_each(function()
    input.open, input.interrupts = open, interrupts
    for _, session in ipairs(sessions) do
      session.sample.engine:close()
      session.sample.builder:close()
    end
  end)

  local function paint(kind, text) return kind == "head" and "<" .. text .. ">" or text end

  -- Lines typed one after the other, until there are none.
  local function play(lines, is_interactive)
    local session = repl.new(paint, function(text)
      notes.note("out", (text:gsub("gdnmeta %S+ on LuaJIT [^\n]-%. help", "gdnmeta on LuaJIT. help")))
    end,
      function(text) notes.note("err", text) end)
    local n = 0
    function input.open(env)
      assert.are.equal(session.env, env)
      return {
        interactive = is_interactive,
        line = function(prompt)
          n = n + 1
          notes.note(prompt, lines[n] or "the end")
          return lines[n]
        end,
        close = function() notes.note "close" end,
      }
    end
    function input.interrupts()
      notes.note "interrupts"
      return function(on) notes.note("interrupted", on) end
    end
    sessions[#sessions + 1] = session
    repl.run(session)
    return session
  end

  it("answers each line", function()
    play(LINES, false)
    notes.check "lines"
  end)

  it("ends at exit, at quit and at the end, also within a statement", function()
    for _, last in ipairs { "exit", " quit ", "while true do" } do
      for _, is_interactive in ipairs { false, true } do
        play({ "=5", last }, is_interactive)
      end
    end
    notes.check "ends"
  end)

  it("runs statements uncompiled, which could not be interrupted", function()
    local session = play({ "function f() return 1 end", "g = loadstring 'return 1'" }, true)
    local seen = {}
    local off = stub(jit, "off", function(f, is_deep) seen[#seen + 1] = { type(f), is_deep } end)
    repl.take(session, "x = 1")
    off:revert()
    assert.are.same({ { "function", true } }, seen)
  end)

  it("is interrupted by the signal's own handler, while a statement runs", function()
    local set, calls = signals.set, {}
    function signals.set(signal, handler)
      calls[#calls + 1] = { signal, handler }
      return #calls == 1 and "handler"
    end
    local switch = input.interrupts()
    switch(true)
    switch(false)
    signals.set = set
    local int, ignored = signals.SIGINT, signals.IGNORE
    assert.are.same({ { int, ignored }, { int, "handler" }, { int, ignored } }, calls)
  end)

  it("has an engine that goes on for ever", function()
    local sample = sample_engine.new()
    for n = 1, 60 do
      local step = sample:step()
      local stats = sample.engine.stats
      notes.note(n, sample.started, sample.now, sample.arrived, sample.luck, step.num_rows, step.num_tokens,
        step.graph, step.padded_rows, step.padded_tokens, stats.waiting, stats.running,
        table.concat(step.ids, " "), table.concat(step.finished, " "))
      if n % 10 == 1 then
        local drafts = {}
        for row = 0, step.num_rows - 1 do
          drafts[row + 1] = step.drafts[row] .. ":" .. step.accepted_drafts[row]
        end
        notes.note("  drafts", table.concat(drafts, " "))
      end
    end
    sample.engine:close()
    sample.builder:close()
    notes.check "sample"
  end)

  it("completes the names of its objects", function()
    local session = play({}, false)
    local env = session.env
    env.other = setmetatable({ here = 1, call = print, [5] = 2, ["a b"] = 3, _hidden = 4 },
      { __index = { there = 1, call = print, here = 2 } })
    env.made = setmetatable({}, { __index = function() return 7 end })
    env.nothing = false
    for _, word in ipairs { "gdn.", "gdn:", "batch.", "batch:", "meta.num", "meta:", "meta.batch_ptr.",
                            "meta.batch_ptr:", "builder:", "builder.b", "engine:s", "engine.s", "other.",
                            "other:", "other.call.", "made.", "made.x.", "nothing.", "nowhere.", "gdn.sim.r",
                            "exp", "st", "" } do
      local list = input.complete(word, word == "" and { b = 1, a = 2 } or env)
      notes.note(word, table.concat(list, " "))
    end
    notes.check "names"
  end)

  it("completes every name of the library, also of what is loaded on first use", function()
    local all, lazy = {}, { "cache", "engine", "metrics", "worker", "policy", "record", "reference", "sim" }
    for name in next, gdn do all["gdn." .. name] = true end
    for _, name in ipairs(lazy) do all["gdn." .. name] = true end
    all["gdn.on_deprecated"] = true
    local found = {}
    for _, name in ipairs(input.complete("gdn.", { gdn = gdn })) do found[name] = true end
    assert.are.same(all, found)
  end)
end)
