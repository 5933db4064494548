-- Where the lines of a session come from: a pipe, a person with readline, which is made up here, and one
-- without; and which names complete a word.
local input, terminal, asked, readline

local function reopen()
  package.loaded["gdnmeta.repl.input"] = nil
  input = require "gdnmeta.repl.input"
end

describe("The session's input #lua", function()
  local libc = require "gdnmeta.native.libc"
  before_each(function()
    terminal, asked = {}, {}
    package.loaded["gdnmeta.native.libc"] = setmetatable({
      libc_isatty = function(descriptor) return terminal[descriptor] or 0 end,
    }, { __index = function(_, name) return libc[name] end })
    readline = {
      set_readline_name = function(name) asked.name = name end,
      set_options = function(options) asked.options = options end,
      set_complete_function = function(complete) asked.complete = complete end,
      set_completion_append_character = function(text) asked.append = text end,
      readline = function() return "a line" end, save_history = function() end,
    }
    package.loaded.readline, package.preload.readline = readline, nil
    reopen()
  end)
  after_each(function()
    package.loaded["gdnmeta.native.libc"], package.loaded.readline = libc, nil
    package.preload.readline, package.loaded["gdnmeta.repl.input"] = nil, nil
  end)

  it("is a pipe unless stdin is a terminal", function()
    terminal = { [1] = 1, [2] = 1 }
    local pipe = input.open {}
    local read = stub(io, "read", function(what) return what == "*l" and "piped" end)
    assert.are.same({ false, "piped" }, { pipe.interactive, pipe.line "> " })
    read:revert()
    assert.is_nil(pipe.close())
    assert.are.same({}, asked)
  end)

  it("has history and completion by readline", function()
    terminal = { [0] = 1 }
    local home = os.getenv
    for _, place in ipairs { "/root", false } do
      local env = stub(os, "getenv", function(name)
        if name == "HOME" then return place or nil end
        return home(name)
      end)
      local lines = input.open { meta = { num_rows = 1, num_prefills = 2 }, me = 3 }
      env:revert()
      assert.are.same({ true, readline.readline, readline.save_history },
        { lines.interactive, lines.line, lines.close })
      local history = place and "/root/.gdnmeta_history" or ""
      assert.are.same({ "gdnmeta", "", { keeplines = 1000, histfile = history } },
        { asked.name, asked.append, asked.options })
    end
    -- What stands in the line, and which part of it readline takes for the word.
    local function complete(line, from) return asked.complete(line, from, #line) end
    assert.are.same({ "num_prefills" }, complete("= meta.num_p", 8))
    assert.are.same({ "meta.num_prefills" }, complete("= meta.num_p", 3))
    assert.are.same({ "me", "meta" }, complete("me", 1))
    assert.are.same({ "me", "meta" }, complete("print(me", 7))
  end)

  it("is a plain prompt without readline", function()
    terminal, package.loaded.readline = { [0] = 1 }, nil
    package.preload.readline = function() error "not there" end
    local lines = input.open {}
    local shown = {}
    local read = stub(io, "read", function() return "typed" end)
    local write = stub(io, "write", function(text) shown[#shown + 1] = text end)
    local flush = stub(io, "flush", function() shown[#shown + 1] = "flush" end)
    local line = lines.line "gdn> "
    for _, stubbed in ipairs { read, write, flush } do stubbed:revert() end
    assert.are.same({ true, "typed", { "gdn> ", "flush" } }, { lines.interactive, line, shown })
    assert.is_nil(lines.close())
  end)

  it("completes parts joined by dots and colons, and gives up where a part is none", function()
    local env = { a = { b = { count = 1, call = function() end }, bad = 2 }, ab = 3,
                  wild = setmetatable({}, { __index = function(_, name) error(name) end }) }
    for word, wanted in pairs {
      [""] = { "a", "ab", "wild" }, a = { "a", "ab" }, ["a."] = { "a.b", "a.bad" }, ["a.ba"] = { "a.bad" },
      ["a.b."] = { "a.b.call", "a.b.count" }, ["a.b:"] = { "a.b:call" }, ["a.none."] = {}, ["none.x"] = {},
      ["wild.x.y"] = {}, ["a.b.c"] = { "a.b.call", "a.b.count" }, zz = {},
    } do
      assert.are.same(wanted, input.complete(word, env), word)
    end
  end)
end)
