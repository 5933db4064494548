-- gdn.policy: the forms of a policy that it takes, and what it refuses by name.
local gdn = require "gdnmeta"
local new_path = require "spec.support.new_path"
local serve = require "spec.support.run_engine"

local SHIPPED = { "deadline", "decode_first", "fair", "fcfs", "priority", "shortest_prefill" }

-- A policy file that is gone after the spec.
local function with_file(source, body)
  local path = new_path ".lua"
  local file = assert(io.open(path, "wb"))
  file:write(source)
  file:close()
  local ok, problem = pcall(body, path)
  os.remove(path)
  if not ok then error(problem, 0) end
end

describe("gdnmeta.policy", function()
  it("knows the shipped ones, each of 10 to 40 lines (fair, with its books, 160) without ffi", function()
    for _, name in ipairs(SHIPPED) do
      local policy = assert(gdn.policy(name))
      assert.are.equal(name, policy.name)
      assert.is_true(policy.trusted)
      local file = assert(io.open(package.searchpath("gdnmeta.policy." .. name, package.path)))
      local source = file:read "*a"
      file:close()
      local _, lines = source:gsub("\n", "\n")
      local most = name == "fair" and 160 or 40
      assert.is_true(lines >= 10 and lines <= most, name .. " has " .. lines .. " lines")
      assert.is_nil(source:find "ffi")
    end
  end)

  it("loads again each time, so that counters are not shared", function()
    assert.are_not.equal(gdn.policy("fair").on_emit, gdn.policy("fair").on_emit)
  end)

  it("says which names there are", function()
    local policy, message = gdn.policy "fcsf"
    assert.is_nil(policy)
    assert.are.equal('no policy "fcsf", want one of ' .. table.concat(SHIPPED, ", ")
                     .. ", or the path of a Lua file", message)
  end)

  it("takes a table, a function, and a policy as it is", function()
    local mine = gdn.policy { name = "mine", key = function(r) return r.prompt_tokens end }
    assert.are.equal("mine", mine.name)
    assert.is_false(mine.trusted)
    assert.are.equal(mine, gdn.policy(mine))
    local step = function() end
    assert.are.equal(step, gdn.policy(step).step)
    assert.is_true(gdn.policy({ chunk = function() end }, { trusted = true }).trusted)
    assert.is_true(gdn.policy({ order = "fcfs", chunk = 7 }).trusted)
  end)

  it("takes a file that returns a table or a function", function()
    with_file("return { key = function(r) return -r.arrival end }", function(path)
      local policy = assert(gdn.policy(path))
      assert.are.equal(path, policy.name)
      assert.is_false(policy.trusted)
    end)
    with_file("return function(view, plan) plan:fill() end", function(path)
      assert.is_function(assert(gdn.policy(path)).step)
    end)
  end)

  it("takes the text of a file that the host has read, and opens nothing", function()
    local path = "no/such/file.lua"
    local policy = assert(gdn.policy(path, { source = "return { chunk = 5 }" }))
    assert.are.same({ path, 5, false }, { policy.name, policy.chunk_limit, policy.static })
    local none, message = gdn.policy(path, { source = "return {" })
    assert.is_nil(none)
    assert.matches("^policy no/such/file.lua:1: ", message)
    assert.are.equal("policy no/such/file.lua is bytecode, want text",
      select(2, gdn.policy(path, { source = string.dump(function() return {} end) })))
    assert.matches("^policy no/such/file.lua: .*instruction budget spent",
      select(2, gdn.policy(path, { source = "while true do end" })))
    with_file("return { chunk = 6 }", function(file)
      assert.are.equal(5, gdn.policy(file, { source = "return { chunk = 5 }" }).chunk_limit)
    end)
  end)

  it("has a name that every page and terminal can show, wherever it comes from", function()
    local long = ("n"):rep(1e5)
    for given, want in pairs {
      ["a\27[31m\n\255\0b"] = "a\\27[31m\\n\\255\\0b", ["é"] = "é", [long] = ("n"):rep(200) .. "...",
    } do
      assert.are.equal(want, gdn.policy({ name = given }).name)
      assert.are.equal(want, gdn.policy({}, { name = given }).name)
      with_file(("return { name = %q }"):format(given), function(path)
        assert.are.equal(want, gdn.policy(path).name)
      end)
    end
    local path = "./" .. ("d"):rep(300) .. "\27.lua"
    assert.are.equal(203, #gdn.policy(path, { source = "return {}" }).name)
  end)

  it("takes no path that the C library would cut short", function()
    with_file("return {}", function(path)
      for _, cut in ipairs { path .. "\0", path .. "\0.lua", "./\0" .. path } do
        local policy, message = gdn.policy(cut)
        assert.is_nil(policy)
        assert.are.equal(("policy path = %q, want a path without NUL bytes"):format(cut), message)
      end
    end)
  end)

  it("returns nil and the reason for a file that is no policy", function()
    local function problem(source)
      local message
      with_file(source, function(path)
        local policy
        policy, message = gdn.policy(path)
        assert.is_nil(policy)
        message = message:gsub("%S*lua_[^:]*%.lua", "FILE")
      end)
      return message
    end
    assert.are.equal("policy FILE is bytecode, want text", problem(string.dump(function() return {} end)))
    assert.matches("^policy FILE:1: ", problem("return {"))
    assert.matches("^policy FILE: FILE:1: broken", problem("error 'broken'"))
    assert.matches("^policy FILE: .*instruction budget spent", problem("while true do end"))
    assert.are.equal("policy FILE: error object is a table", problem("error {}"))
    assert.are.equal("policy FILE: in words", problem(
      "error(setmetatable({}, { __tostring = function() return 'in words' end }))"))
    assert.are.equal("policy FILE: returns a number, want a table or a function", problem("return 1"))
    assert.are.equal("policy FILE: returns nothing, want a table or a function", problem("key = 1"))
    local fields = ", want one of admit, chunk, decode_first, drafts, group, key, name, on_admit, "
      .. "on_arrival, on_emit, on_finish, on_preempt, order, preempt_for, static, step, victim"
    assert.are.equal("policy FILE: unknown field kye" .. fields, problem("return { kye = 1 }"))
    assert.are.equal("policy FILE: unknown field trusted" .. fields, problem("return { trusted = true }"))
    assert.matches("No such file", select(2, gdn.policy "no/such/file.lua"))
  end)

  it("raises at the caller for a wrong table or option", function()
    local function raises(message, ...)
      local arguments = { ... }
      assert.has_error(function() gdn.policy(unpack(arguments)) end, message)
    end
    raises("gdnmeta.policy: key = 1, want a function", { key = 1 })
    require("spec.support.raises")("gdnmeta.policy: key = 1, want a function",
                                   function() gdn.policy { key = 1 } end)
    raises('gdnmeta.policy: group = "team", want "user" or "class"', { group = "team" })
    raises("gdnmeta.policy: order and key are both given, want one", { order = "fcfs", key = print })
    raises("gdnmeta.policy: step and chunk are both given, want one: plan:fill() asks no hooks",
           { step = print, chunk = 5 })
    raises("gdnmeta.policy: step and decode_first are both given, want one: plan:fill() asks no hooks",
           { step = print, decode_first = false })
    raises("gdnmeta.policy: unknown option trust, want one of name, source, trusted",
           "fcfs", { trust = true })
    raises("gdnmeta.policy: source is given, and what is no path", "fcfs", { source = "return {}" })
    raises("gdnmeta.policy: source is given, and what is no path", {}, { source = "return {}" })
    raises("gdnmeta.policy: source = 1, want a string", "a.lua", { source = 1 })
    raises("gdnmeta.policy: true, want a name, a path, a table or a function", true)
  end)
end)

describe("A policy file", function()
  it("sees no files, no ffi, no clock, nothing that catches errors, and no table of the host's", function()
    local hidden = { "io", "os", "ffi", "jit", "debug", "package", "require", "load", "loadstring",
                     "loadfile",
                     "dofile", "getfenv", "setfenv", "getmetatable", "rawset", "rawget", "pcall", "xpcall",
                     "coroutine", "collectgarbage", "print", "newproxy", "module" }
    local source = { "local seen = {}" }
    for _, name in ipairs(hidden) do
      source[#source + 1] = ("if %s ~= nil then error('%s is there', 0) end"):format(name, name)
    end
    source[#source + 1] = "if math.random or string.dump then error('math.random is there', 0) end"
    source[#source + 1] = "string.rep, math.huge, table.sort = nil, 0, nil"
    source[#source + 1] = "leak = 1 return { key = function(r) return r.arrival end }"
    with_file(table.concat(source, "\n"), function(path)
      assert(gdn.policy(path))
      assert.is_function(string.rep)
      assert.are.equal(1 / 0, math.huge)
      assert.is_function(table.sort)
      assert.is_nil(rawget(_G, "leak"))
    end)
  end)

  it("that runs code where it is looked at, through metatables, is refused as for any other code", function()
    local sources = {
      ["want a function"] = "return setmetatable({ key = 1 }, { __index = function() end })",
      ["no idea"] = "return setmetatable({}, { __index = function() error 'no idea' end })",
      ["instruction budget spent"] =
        "return setmetatable({}, { __index = function() while true do end end })",
      ["unknown field a table"] =
        "return { [setmetatable({}, { __tostring = function() while true do end end })] = 1 }",
    }
    for message, source in pairs(sources) do
      with_file(source, function(path)
        local policy, why = gdn.policy(path)
        assert.is_nil(policy)
        assert.truthy(why:find(message, 1, true), why)
      end)
    end
  end)

  it("cannot write to what it is shown", function()
    local writes = { "r.known = 1", "ctx.now = 0", "ctx.cost.predict = 1", "setmetatable(r, {})",
                     "setmetatable(ctx, {})" }
    for _, write in ipairs(writes) do
      with_file(("return { key = function(r, ctx) %s return 0 end }"):format(write), function(path)
        local engine = serve.engine(path)
        engine:submit { id = 1, prompt_tokens = 5, max_tokens = 1 }
        local message = (engine:failures()[1] or {}).message
        assert.is_truthy(message, write .. " went through")
        assert.is_truthy(message:find("read-only", 1, true) or message:find("protected metatable", 1, true),
                         message)
        engine:close()
      end)
    end
  end)
end)

describe("What a hook is shown", function()
  it("is the request and the step as they are", function()
    local seen
    local engine = serve.engine({ chunk = function(r, want, ctx)
      seen = seen or { r.id, r.user, r.class, r.prompt_tokens, r.known, r.computed_tokens,
                       r.want, r.is_decode, r.age, r.emitted,
                       r.cached_prefix, r.slots, r.weight, r.priority, r.deadline, r.max_tokens, want }
      seen.ctx = { ctx.now, ctx.step, ctx.tokens_left, ctx.prefill_taken, ctx.requests_left, ctx.running,
                   ctx.waiting,
                   ctx.pad(5), ctx.chunk_multiple, ctx.max_drafts, ctx.rekey_limit, ctx.aging, ctx.kv_left }
      return want
    end }, { kv_tokens = 4096 })
    engine:submit { id = "a", prompt_tokens = 9, max_tokens = 3, arrival = 2, user = "ada", class = "chat",
                    weight = 2, priority = 7, ttft = 4 }
    engine:step(5)
    assert.are.same({ "a", "ada", "chat", 9, 9, 0, 9, false, 3, 0, 0, 0, 2, 7, 6, 3, 9,
                      ctx = { 5, 1, 64, 0, 4, 0, 1, 5, 1, 0, 128, 20, 256 } }, seen)
    engine:close()
  end)

  it("can ask to which size a step of so many tokens is padded", function()
    local sizes, refused = {}, {}
    local engine = serve.engine({ chunk = function(_, want, ctx)
      for n, tokens in ipairs { 0, 1, 2, 2.5, 4, 5, 99 } do sizes[n] = ctx.pad(tokens) end
      for n, tokens in ipairs { -1, "5", {} } do refused[n] = select(2, pcall(ctx.pad, tokens)) end
      return want
    end }, { capture_sizes = { 2, 4 } })
    engine:submit { id = 1, prompt_tokens = 9, max_tokens = 3 }
    engine:step(0)
    assert.are.same({ 0, 2, 2, 4, 4, 5, 99 }, sizes)
    for n = 1, 3 do assert.matches("ctx.pad: want a number of tokens$", refused[n]) end
    engine:close()
  end)

  it("offers the same random numbers in every run", function()
    local function draws(seed)
      local list = {}
      local engine = serve.engine({ key = function(_, ctx)
        list[#list + 1] = ctx.random()
        return 0
      end, static = true }, { seed = seed })
      for id = 1, 50 do engine:submit { id = id, prompt_tokens = 1, max_tokens = 1 } end
      engine:close()
      return list
    end
    local list = draws(1)
    assert.are.same(list, draws(1))
    assert.are_not.same(list, draws(2))
    local sum = 0
    for _, x in ipairs(list) do
      assert.is_true(x >= 0 and x < 1)
      sum = sum + x
    end
    assert.is_true(sum > 15 and sum < 35)
  end)
end)
