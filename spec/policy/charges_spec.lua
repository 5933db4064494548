-- What the bounded functions of string and table charge to a policy's budget, to the instruction, and where
-- they refuse: right at the end of what is taken, and one after it.
local bounded = require "gdnmeta.policy.contained.charged"
local gdn = require "gdnmeta"
local sandbox = require "gdnmeta.policy.contained.sandbox"
local raises = require "spec.support.raises"
local serve = require "spec.support.run_engine"

local charge, is_excused = bounded.charge, bounded.is_excused

local function charged(call, ...)
  local sum = 0
  bounded.charge = function(n) sum = sum + n end
  local ok, what = pcall(call, ...)
  bounded.charge = charge
  return sum, ok, what
end

local function ones(n)
  local list = {}
  for k = 1, n do list[k] = k end
  return list
end

local function strings(n, text)
  local list = {}
  for k = 1, n do list[k] = text end
  return list
end

describe("What a match costs", function()
  -- Of 98 bytes, which are 100 places: { pattern, steps }.
  local SUBJECT = ("x"):rep(98)
  local STEPS = {
    { "^y", 1 }, { "y", 100 }, { "y*", 1e4 }, { "y+", 1e4 }, { "y-", 1e4 }, { "y?", 200 }, { "y,", 100 },
    { "y.", 100 }, { "y>", 100 }, { "y@", 100 }, { "^y*", 100 }, { "^y?", 2 }, { "y*z*", 1e6 }, { "%*", 100 },
    { "%%*", 1e4 }, { "%bxy", 1e4 }, { "%axy", 100 }, { "%cxy", 100 }, { "(y)%1", 1e4 }, { "(y)%0", 1e4 },
    { "(y)%9", 1e4 }, { "(y)%:", 100 }, { "(y)%/", 100 }, { "[*]", 100 }, { "[*]*", 1e4 }, { "[^]*]", 100 },
    { "[]*]", 100 }, { "[]*]*", 1e4 }, { "[]]*", 1e4 },
    { "[^]*]+", 1e4 }, { "[^*]", 100 }, { "[%]*]", 100 }, { "[^*]*", 1e4 },
    { "[*\\*]", 100 }, { "y[*", 100 }, { "y%", 100 }, { "[^", 100 }, { "[", 100 }, { "^^y", 1 },
  }

  it("is its steps, by hundreds, and its subject's length", function()
    for _, case in ipairs(STEPS) do
      local pattern, steps = case[1], case[2]
      for _, name in ipairs { "find", "match", "gmatch" } do
        assert.are.equal(math.floor(steps / 100) + 1, (charged(bounded.string[name], SUBJECT, pattern)),
                         name .. " " .. pattern)
      end
      assert.are.equal(math.floor(steps / 100) + 1, (charged(bounded.string.gsub, SUBJECT, pattern, "")))
    end
    assert.are.equal(0, (charged(bounded.string.find, ("x"):rep(63), "^y")))
    assert.are.equal(1, (charged(bounded.string.find, ("x"):rep(64), "^y")))
    assert.are.equal(5, (charged(bounded.string.find, 123456, "y*z*"))) -- 8 places
  end)

  it("is nothing of a plain search, or where the arguments are none", function()
    assert.are.equal(0, (charged(bounded.string.find, SUBJECT, "y*", 1, true)))
    assert.are.same({ 0, false }, { charged(bounded.string.find, {}, "y*"), false })
    assert.are.same({ 0, false }, { charged(bounded.string.match, SUBJECT, {}), false })
  end)

  it("is nothing where the arguments are none, of which the original says what is wrong", function()
    for _, name in ipairs { "find", "match", "gmatch", "gsub" } do
      for _, wrong in ipairs { {}, { {}, "y", "" }, { "x" }, { "x", {}, "" }, { "x", false, "" } } do
        local _, want = pcall(string[name], unpack(wrong))
        local sum, ok, why = charged(bounded.string[name], unpack(wrong))
        local BAD = "bad argument #%d"
        assert.are.same({ 0, false, want:match(BAD) }, { sum, ok, why:match(BAD) })
      end
    end
  end)

  it("is paid by every policy of a file", function()
    local env = sandbox.environment()
    for _, name in ipairs { "string", "table", "math", "bit" } do
      for field, f in pairs(env[name]) do
        assert.are.equal((bounded[name] or {})[field] or require(name)[field], f, name .. "." .. field)
      end
    end
    for _, name in ipairs { "string", "table" } do
      for field in pairs(bounded[name]) do assert.is_function(env[name][field]) end
    end
  end)

  it("is refused above 1e7 steps", function()
    local subject = ("x"):rep(78123) -- 78,125 places, times 2^7
    local sum, ok = charged(bounded.string.find, subject, ("y?"):rep(7))
    assert.are.same({ 100000 + 1220, true }, { sum, ok })
    local message
    sum, ok, message = charged(bounded.string.find, subject .. "x", ("y?"):rep(7))
    assert.are.same({ 0, false }, { sum, ok })
    assert.are.equal("string.find: a pattern that may take 1e+07 steps on 78124 bytes, want at most 1e+07",
                     message)
  end)

  it("is the same result", function()
    assert.are.same({ 2, 3, "b" }, { bounded.string.find("abc", "(b)c", 2) })
    assert.are.equal("c", bounded.string.match("abc", "[^ab]", 2))
    assert.are.equal(nil, bounded.string.match("abc", "a", 2))
    assert.are.same({ "x-c", 2 }, { bounded.string.gsub("abc", "[ab]", { a = "x", b = "-" }, 2) })
    local list = {}
    for word in bounded.string.gmatch("a bc", "%a+") do list[#list + 1] = word end
    assert.are.same({ "a", "bc" }, list)
  end)
end)

describe("What a string costs", function()
  it("is its bytes, by 64", function()
    for _, case in ipairs {
      { 2, "ab", 64 }, { 1, "ab", 63 }, { 4, "ab", 64, "cd" }, { 2, "ab", 64, 7 }, { 0, "ab", -640 },
      { 0, 12, 640 }, { 10, "x", 640, "" }, { 2 ^ 18, "x", 2 ^ 24 },
    } do
      assert.are.equal(case[1], (charged(bounded.string.rep, unpack(case, 2))))
    end
    for _, name in ipairs { "lower", "upper", "reverse", "sub" } do
      for bytes, cost in pairs { [1024] = 0, [1025] = 16, [1087] = 16, [1088] = 17 } do
        local sum, ok, copy = charged(bounded.string[name], ("a"):rep(bytes), 1)
        assert.are.same({ cost, true, bytes }, { sum, ok, #copy }, name)
      end
    end
  end)

  it("is refused above 2^24 bytes", function()
    local sum, ok, message = charged(bounded.string.rep, "x", 2 ^ 24 + 1)
    assert.are.same({ 0, false, "string.rep: want at most 16777216 bytes" }, { sum, ok, message })
    sum, ok = charged(bounded.string.rep, "x", 2 ^ 23, "y")
    assert.are.same({ 2 ^ 18, true }, { sum, ok })
    assert.is_false((select(2, charged(bounded.string.rep, "x", 2 ^ 23 + 1, "y"))))
    local parts = strings(16, ("x"):rep(2 ^ 20))
    assert.are.same({ 2 ^ 18, true }, { charged(bounded.table.concat, parts), true })
    parts[17] = "x"
    sum, ok, message = charged(bounded.table.concat, parts)
    assert.are.same({ 0, false, "table.concat: want at most 16777216 bytes" }, { sum, ok, message })
  end)
end)

describe("What a list costs", function()
  it("is what is moved or looked at", function()
    for _, case in ipairs {
      { 2, 1 }, { 1, 17 }, { 0, 18 }, { 0, 32 }, { 0, 33 },
    } do
      local list = ones(32)
      local sum, ok = charged(bounded.table.insert, list, case[2], "new")
      assert.are.same({ case[1], true, 33, "new" }, { sum, ok, #list, list[case[2]] })
    end
    assert.are.equal(0, (charged(bounded.table.insert, ones(320), 7)))
    assert.are.equal(2, (charged(bounded.table.remove, ones(32))))
    assert.are.equal(1, (charged(bounded.table.remove, ones(31), 3)))
    assert.are.equal(5, (charged(bounded.table.sort, ones(10))))
    assert.are.equal(115, (charged(bounded.table.sort, ones(100))))
    for _, case in ipairs {
      { 1, strings(32, "ab") }, { 2, strings(32, "ab"), "cd" }, { 1, strings(32, "ab"), 5 },
      { 5, strings(16, 7) }, { 0, strings(32, "ab"), "", 2 }, { 0, strings(32, "ab"), "", 1, 31 },
      { 1, strings(40, "ab"), "", 5, 36 },
    } do
      assert.are.equal(case[1], (charged(bounded.table.concat, unpack(case, 2))))
    end
    for _, last in ipairs { 2, 1e6, 1e7 } do -- what is not there has no bytes, and is refused
      local sum, ok, message = charged(bounded.table.concat, { "x" }, "", 1, last)
      assert.are.same({ 0, false }, { sum, ok })
      assert.matches("^invalid value %(nil%) at index 2", message)
    end
  end)

  it("is refused where a place is outside of it", function()
    for _, at in ipairs { 0, 5, -1, 0 / 0, 2 ^ 40 } do
      local sum, ok, message = charged(bounded.table.insert, ones(3), at, "new")
      assert.are.same({ 0, false, "table.insert: want a place in 1 .. 4" }, { sum, ok, message })
    end
    assert.are.same({ 3, 2, 1 }, (function()
      local list = { 2, 3, 1 }
      bounded.table.sort(list, function(a, b) return a > b end)
      return list
    end)())
  end)

  it("is refused at the caller's line, as everything is", function()
    raises("table.insert: want a place in 1 .. 1", function() bounded.table.insert({}, 2, 3) end)
    raises("table.concat: want at most 16777216 bytes",
           function() bounded.table.concat { ("x"):rep(2 ^ 24), "x" } end)
    raises("string.rep: want at most 16777216 bytes", function() bounded.string.rep("x", 2 ^ 25) end)
    raises("string.match: a pattern that may take 1.07e+09 steps on 1022 bytes, want at most 1e+07",
           function() bounded.string.match(("x"):rep(1022), "x*x*") end)
  end)

  it("is not refused to an engine that a policy calls", function()
    bounded.is_excused = function() return true end
    local list, text = { 1 }, nil
    local _, ok = charged(bounded.string.find, ("x"):rep(78124), ("y?"):rep(7))
    local _, is_long = charged(bounded.string.rep, "x", 2 ^ 24 + 1)
    local inserted = pcall(bounded.table.insert, list, 3, "new")
    bounded.is_excused = is_excused
    assert.are.same({ true, true, true, nil }, { ok, is_long, inserted, text })
  end)
end)

describe("The libraries", function()
  local NAMES = { string = { "find", "match", "gmatch", "gsub", "rep", "lower", "reverse", "sub", "upper" },
                  table = { "insert", "remove", "concat", "sort" } }
  local LIBRARIES = { string = string, table = table }

  -- How many of the functions are the bounded ones.
  local function replaced()
    local n = 0
    for library, names in pairs(NAMES) do
      for _, name in ipairs(names) do
        if rawequal(LIBRARIES[library][name], bounded[library][name]) then n = n + 1 end
      end
    end
    return n
  end

  it("that a file has do the same where no budget is", function()
    local calls = {
      'string.find("xyz", "y*z")', 'string.match("xyz", "y")', 'string.gmatch("x", "y")',
      'string.gsub("x", "x", "y")', 'string.rep("x", 640)', 'string.sub(string.rep("x", 6400), 1)',
      "table.insert({ 1, 2 }, 1, 3)", "table.remove { 1 }", "table.concat({ 1, 2 })",
      "table.sort { 3, 1, 2 }",
    }
    local source = ("return { on_arrival = function() %s end }"):format(
      "local a, b, c, d, e, f, g, h, i, j = " .. table.concat(calls, ", "))
    local engine = serve.engine(assert(gdn.policy("./file.lua", { trusted = true, source = source })))
    assert(engine:submit(serve.request(1)))
    serve.run(engine)
    engine:close()
  end)

  it("have the bounded functions until the outermost call is over", function()
    local seen, find = { replaced() }, string.find
    bounded.enter()
    seen[2] = replaced()
    bounded.enter()
    seen[3] = replaced()
    bounded.leave()
    seen[4] = replaced()
    bounded.leave()
    seen[5] = replaced()
    bounded.enter()
    seen[6] = replaced()
    bounded.leave()
    seen[7] = replaced()
    assert.are.same({ 0, 13, 13, 13, 0, 13, 0 }, seen)
    assert.are.equal(find, string.find)
  end)
end)
