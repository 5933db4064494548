-- How far uncompiled.lua follows a policy's code, and how far foreign_text.lua shows what comes from outside:
-- right at the end of each limit, and one after it.
local uncompiled = require "gdnmeta.policy.contained.uncompiled"
local words = require "gdnmeta.native.foreign_text"

-- A function of this file, and one of another: would either be compiled?
local function spin()
  return function(n)
    local sum = 0
    for k = 1, n do sum = sum + k end
    return sum
  end
end
local stranger = assert(loadstring([[
  return function()
    return function(n)
      local sum = 0
      for k = 1, n do sum = sum + k end
      return sum
    end
  end
]], "@stranger.lua"))()

local looked_at, is_started

local function note(what, _, f)
  if what == "start" and f == looked_at then is_started = true end
end

-- Does the compiler begin with it? Of what is kept from it, no trace is ever begun. Loops share 64 counters,
-- and one whose trace failed sets its own back by up to 30,000 rounds.
local function is_compiled(f)
  looked_at, is_started = f, false
  jit.attach(note, "trace")
  for _ = 1, 5 do f(20000) end
  jit.attach(note)
  return is_started
end
jit.off(is_compiled)

-- A fresh prototype a call: what is said of one function holds for all of its prototype.
local function fresh(make) return loadstring(string.dump(make()), debug.getinfo(make, "S").source) end

local function tables(n)
  local list = {}
  for k = 1, n do list[k] = {} end
  return list
end

describe("A policy's code", function()
  it("is followed through 10,000 objects", function()
    for before, followed in pairs { [9997] = true, [9998] = false } do
      local reached, list = fresh(spin), tables(before)
      list[#list + 1] = reached
      uncompiled.keep(function() return list end) -- it is the first, and the list the second
      assert.are.equal(followed, not is_compiled(reached))
    end
  end)

  it("is followed through 10,000 objects, where they are helpers of other files", function()
    for before, followed in pairs { [9998] = true, [9999] = false } do
      local reached, names, fields = fresh(stranger), {}, {}
      for k = 1, before do
        names[k] = "x = h.f" .. k
        fields["f" .. k] = fresh(stranger)
      end
      local h = setmetatable(fields, { last = reached }) -- a metatable's fields come after its table's
      local f = assert(loadstring("local h, x = ... return function() " .. table.concat(names, " ") .. " end",
                                  "@policy.lua"))(h)
      uncompiled.keep(f)
      assert.are.equal(followed, not is_compiled(reached))
    end
  end)

  it("is followed into tables of tables, by the names in it", function()
    for depth, followed in pairs { [1] = true, [2] = true, [3] = true, [4] = false } do
      local reached, host = fresh(stranger), {}
      local at = host
      for _ = 1, depth - 1 do
        at.f = {}
        at = at.f
      end
      at.f, at.unnamed = reached, fresh(stranger)
      uncompiled.keep(function() return host.f end)
      if depth == 1 then assert.is_true(is_compiled(at.unnamed)) end
      -- Its own upvalues are followed whole, so that only what is another file's tells.
      assert.are.equal(followed, not is_compiled(reached), depth)
    end
  end)

  it("is followed by the names that functions within it say, too", function()
    local host = { f = fresh(stranger), g = fresh(stranger), h = fresh(stranger), unnamed = fresh(stranger) }
    uncompiled.keep(function()
      local function inner() return host.f, function() return host.g end end
      return inner, host.h
    end)
    assert.are.same({ false, false, false, true }, { is_compiled(host.f), is_compiled(host.g),
                                                     is_compiled(host.h), is_compiled(host.unnamed) })
  end)

  it("is followed to keys, values and metatables, and left where it is the library's own", function()
    local key, value, method, bare = fresh(spin), fresh(spin), fresh(spin), fresh(spin)
    local t = setmetatable({ [key] = { value } }, { __unm = method })
    uncompiled.keep(function() return t, bare end)
    for _, f in ipairs { key, value, method, bare } do assert.is_false(is_compiled(f)) end
    local source = debug.getinfo(uncompiled.keep, "S").source
    assert.is_true(uncompiled.is_ours(source) and uncompiled.is_ours(source, "policy/contained/uncompiled"))
    for _, other in ipairs { "=[C]", "@" .. source, source:sub(2), "@policy.lua" } do
      assert.is_false(uncompiled.is_ours(other))
    end
    assert.is_false(uncompiled.is_ours(source, "policy/contained/charged"))
  end)

  it("is followed to the globals of its file, by whatever name it calls them", function()
    local environment = setmetatable({ reached = fresh(spin), left = stranger() }, { __index = _G })
    local key = setfenv(fresh(function() return function(name) return getfenv()[name] end end), environment)
    uncompiled.keep(key)
    assert.is_false(is_compiled(environment.reached))
    assert.is_true(is_compiled(environment.left))
  end)

  it("is followed through 100 tables of missing fields", function()
    for n, followed in pairs { [100] = true, [101] = false } do
      local reached = fresh(spin)
      local t = setmetatable({}, { __index = reached })
      for _ = 2, n do t = setmetatable({}, { __index = t }) end
      uncompiled.keep_index(t)
      assert.are.equal(followed, not is_compiled(reached))
    end
  end)
end)

describe("Words of others", function()
  local ESCAPED = "^[\\%d]+$"

  it("are plain where they are well-formed UTF-8, and moves of the cursor are not", function()
    for text, is_plain in pairs {
      ["\1"] = false, ["\31"] = false, [" "] = true, ["~"] = true, ["\127"] = false, ["\128"] = false,
      ["\191"] = false, ["\192\128"] = false, ["\193\191"] = false, ["\194\128"] = false,
      ["\194\159"] = false, ["\194\160"] = true, ["\195\128"] = true, ["\195\191"] = true,
      ["\195\127"] = false, ["\195\192"] = false, ["\195"] = false, ["\223\191"] = true,
      ["\224\160\128"] = true, ["\224\160"] = false, ["\226\128\167"] = true, ["\226\128\168"] = false,
      ["\226\128\174"] = false, ["\226\128\175"] = true, ["\226\129\165"] = true, ["\226\129\166"] = false,
      ["\226\129\191"] = false, ["\226\130\172"] = true, ["\226\127\128"] = false, ["\226\130\192"] = false,
      ["\225\128\168"] = true, ["\227\129\166"] = true, ["\239\191\189"] = true,
      ["\240\159\152\128"] = true, ["\240\159\152"] = false, ["\244\128\128\128"] = true,
      ["\245\128\128\128"] = false, ["\255"] = false,
    } do
      local shown, bytes = words.clean(text), table.concat({ text:byte(1, -1) }, " ")
      if is_plain then assert.are.equal(text, shown, bytes) end
      if not is_plain then assert.are_not.equal(text, shown, bytes) end
      local has_letters = #text > 1 and text:byte(2) < 128
      if not is_plain and not has_letters then assert.is_truthy(shown:find(ESCAPED), bytes) end
    end
    assert.are.equal("a\\tb\\rc\\nd\\0e\\127f", words.clean "a\tb\rc\nd\0e\127f")
    assert.are.equal("\\1x\\0010\\0019", words.clean "\1x\0010\0019")
    assert.are.equal("\\226\\128\\168z", words.clean "\226\128\168z")
  end)

  it("are cut after so many bytes, and not within a character", function()
    for n, shown in pairs { [60] = ("x"):rep(60), [61] = ("x"):rep(60) .. "..." } do
      assert.are.equal(shown, words.clean(("x"):rep(n)))
      assert.are.equal('"' .. shown .. '"', words.quoted(("x"):rep(n)))
    end
    assert.are.equal(("x"):rep(58) .. "\195\169", words.clean(("x"):rep(58) .. "\195\169"))
    assert.are.equal(("x"):rep(57) .. "\226\130\172", words.clean(("x"):rep(57) .. "\226\130\172"))
    assert.are.equal(("x"):rep(58) .. "...", words.clean(("x"):rep(58) .. "\226\130\172"))
    assert.are.equal("xx...", words.clean("xxx", 2))
    assert.are.equal('"\\"\\""', words.quoted('""', 2))
    assert.are.equal('"\\"\\"..."', words.quoted('"""', 2))
    for n, shown in pairs { [400] = ("x"):rep(400), [401] = ("x"):rep(400) .. "..." } do
      assert.are.equal(shown, words.message(("x"):rep(n)))
      assert.are.equal("a\n\t" .. shown, words.message("a\n\t" .. ("x"):rep(n), true))
    end
  end)

  it("keep their lines where they are asked to: 4,000 bytes of them, and 101 lines", function()
    local line = ("x"):rep(400)
    local ten = (line .. "\n"):rep(10)
    assert.are.equal(ten, words.message(ten, true))
    assert.are.equal(ten .. "...", words.message(ten .. "y", true))
    assert.are.equal(("\n"):rep(100), words.message(("\n"):rep(100), true))
    assert.are.equal(("\n"):rep(101) .. "...", words.message(("\n"):rep(101), true))
    assert.are.equal("a\\tb\nc", words.message("a\tb\nc", true))
    assert.are.equal("a\\tb\\nc", words.message "a\tb\nc")
    assert.are.equal("a...\nc...\n", words.lines("a\tb\nccc\n", 1))
    assert.are.equal("ab\ncd", words.lines("ab\ncd", 2))
    assert.are.equal("a\\tb\n\nc", words.lines("a\tb\n\nc", 9))
  end)
end)
