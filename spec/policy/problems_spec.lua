-- What is raised by other people's code, in words: the reason, bounded, whatever kind of object carries it.
local gdn = require "gdnmeta"
local problem = require "gdnmeta.policy.contained.raised"
local serve = require "spec.support.run_engine"

-- An exception as an embedding language hands it over.
local function exception(text)
  local object = newproxy(true)
  getmetatable(object).__tostring = type(text) == "function" and text or function() return text end
  return object
end

local function failure(raise)
  local engine = serve.engine({ name = "mine", chunk = raise }, { policy_budget = 5000 })
  assert(engine:submit(serve.request(1)))
  assert.is_true(assert(engine:step(0)).fallback)
  local first = engine:failures()[1]
  engine:close()
  return first.message, first.traceback
end

local function reloaded(name, loader)
  local kept, json = package.loaded[name], package.loaded["gdnmeta.record.format"]
  package.loaded[name], package.loaded["gdnmeta.record.format"], package.preload[name] = nil, nil, loader
  local format = require "gdnmeta.record.format"
  package.loaded[name], package.loaded["gdnmeta.record.format"], package.preload[name] = kept, json, nil
  return format
end

describe("What is raised", function()
  it("in a hook says why, whatever it is", function()
    for raised, wanted in pairs {
      [exception "ValueError: no idea"] = "ValueError: no idea",
      [setmetatable({}, { __tostring = function() return "a table's reason" end })] = "a table's reason",
      [exception(function() while true do end end)] = "error object is a userdata",
      [exception(function() error "worse" end)] = "error object is a userdata",
      [exception(function() coroutine.yield() end)] = "error object is a userdata",
      [exception(function() return {} end)] = "error object is a userdata",
      [{}] = "error object is a table", [7] = "7", [true] = "error object is a boolean",
    } do
      local message, traceback = failure(function() error(raised, 0) end)
      assert.are.equal(wanted, message)
      assert.matches("^" .. wanted:gsub("%p", "%%%0") .. "\nstack traceback:\n\t%[C%]: in function 'error'\n",
                     traceback)
    end
  end)

  it("while a file is read says why, whatever it is", function()
    for source, wanted in pairs {
      ["error {}"] = "error object is a table", ["error(true)"] = "error object is a boolean",
      ["error()"] = "error object is nil", ["error('why', 0)"] = "why",
      ["error(setmetatable({}, { __tostring = function() return 'a reason' end }))"] = "a reason",
      ["error(setmetatable({}, { __tostring = function() repeat until x end }))"] = "error object is a table",
    } do
      assert.are.same({ nil, "policy p.lua: " .. wanted }, { gdn.policy("p.lua", { source = source }) })
      assert.are.same({ nil, "cache c.lua: " .. wanted }, { gdn.cache("c.lua", { source = source }) })
    end
  end)

  it("is of bounded length, and nothing that a terminal obeys", function()
    for _, raise in ipairs { function() error(("x"):rep(1e6), 0) end, function() error("\27[31m\7\r", 0) end,
                             function() error(exception(("y"):rep(1e6)), 0) end } do
      local message, traceback = failure(raise)
      assert.is_true(#message < 500 and #traceback < 6000, #traceback)
      assert.is_nil((message .. traceback):find "[%z\1-\8\11-\31\127]")
    end
  end)

  it("by a stopwatch says why, too", function()
    local engine = serve.engine({ chunk = function(_, want) return want end },
      { policy_seconds = 1, stopwatch = function() error(exception "OSError: no clock", 0) end })
    assert(engine:submit(serve.request(1)))
    assert(engine:step(0))
    assert.matches("stopwatch failed: OSError: no clock", engine:failures()[1].message, 1, true)
    engine:close()
  end)

  it("where a module is loaded tells missing from forbidden", function()
    local format = reloaded("cjson", function() error(exception "ImportError: forbidden here", 0) end)
    assert.are.same({ nil, "the Lua module cjson cannot be loaded: ImportError: forbidden here" },
                    { format.json() })
    format = reloaded("cjson", function() error "undefined symbol: lua_next" end)
    assert.matches("cannot be loaded: .*undefined symbol: lua_next$", (select(2, format.json())))
    local module, why = problem.module("no_such_module", "a-rock")
    assert.is_nil(module)
    assert.are.equal("the Lua module no_such_module is missing: `luarocks install a-rock`", why)
  end)
end)

describe("Words from outside", function()
  local ODD = { ("i"):rep(1e6), "\27]0;title\7", "two\nlines", "\155\1", "\194\155x", "caf\195\169",
                '"quoted"' }

  -- Messages that show a word of the caller's.
  local function messages(word)
    local engine = serve.engine "fcfs"
    local builder = engine.builder
    local shown = {}
    local function add(ok, message) shown[#shown + 1] = assert(not ok and message) end
    add(engine:submit { id = word, prompt_tokens = 1e6, max_tokens = 1 })
    add(engine:cancel(word))
    add(engine:checkpoint(word))
    assert(engine:submit { id = word, prompt_tokens = 1, max_tokens = 1 })
    add(engine:submit { id = word, prompt_tokens = 1, max_tokens = 1 })
    local step = engine:step(0)
    for _, call in ipairs {
      function() engine:submit { id = 1, [word] = 1 } end,
      function() engine:submit { id = 1, user = {}, class = word } end,
      function() engine:complete(step, 0, { [word .. "!"] = {} }) end,
      function() engine:complete(step, 0, { [word] = { accepted_drafts = 5 } }) end,
      function() engine:complete(step, 0, { [word] = { [word] = 5 } }) end,
      function() engine:complete(word, 0) end, function() return engine[word] end,
      function() engine[word] = 1 end, function() return step[word] end,
      function() return builder[word] end,
      function() return gdn[word] end, function() gdn.engine { [word] = 1 } end,
      function() gdn.engine { builder = builder, max_model_len = word } end,
      function() gdn.builder { [word] = 1 } end, function() gdn.builder { device = word } end,
      function() gdn.policy { [word] = 1 } end, function() gdn.policy { chunk = word } end,
      function() gdn.policy({}, { [word] = 1 }) end, function() builder:build_raw { [word] = 1 } end,
      function() builder:batch():add { [word] = 1 } end, function() gdn.reorder { [word] = {} } end,
      function() return step.metadata[word] end, function() gdn.sim.run { [word] = 1 } end,
      function() gdn.reference.layer { [word] = 1 } end, function() assert(gdn.policy(word)) end,
      function() assert(engine:set_policy(word)) end,
    } do add(pcall(call)) end
    engine:close()
    return shown
  end

  it("are bounded and on one line in every message", function()
    for _, word in ipairs(ODD) do
      for n, message in ipairs(messages(word)) do
        message = tostring(message)
        assert.is_true(#message < 1500, n .. ": " .. message:sub(1, 200))
        assert.is_nil(message:find "[%z\1-\31\127]", n)
        assert.is_nil(message:find("\194\155", 1, true), n)
      end
    end
  end)

  it("are shown as they are where they are harmless", function()
    local words = require "gdnmeta.native.foreign_text"
    assert.are.equal("caf\195\169", words.clean "caf\195\169")
    assert.are.equal("a\\n\\27\\0001\\255", words.clean "a\n\27\0001\255")
    assert.are.equal(("x"):rep(60) .. "...", words.clean(("x"):rep(61)))
    assert.are.equal(("x"):rep(59) .. "...", words.clean(("x"):rep(59) .. "\195\169z"))
    assert.are.equal('"a\\"b\\\\"', words.quoted 'a"b\\')
    for _, odd in ipairs(ODD) do
      if #odd < 50 then assert.are.equal(odd, assert(loadstring("return " .. words.quoted(odd)))()) end
    end
  end)
end)
