-- What gdn.policy and gdn.cache make of what they are given: names, fields, what is trusted, and which of its
-- functions are kept out of the compiler.
local gdn = require "gdnmeta"
local new_path = require "spec.support.new_path"
local uncompiled = require "gdnmeta.policy.contained.uncompiled"

local function f() return 1 end
local function g() return {} end

describe("Hooks that are made", function()
  local path
  before_each(function()
    path = new_path ".lua"
    local out = assert(io.open(path, "w"))
    out:write "return {}"
    out:close()
  end)
  after_each(function() os.remove(path) end)

  it("have the name that the host gives, else their own, a path's or none, of 200 bytes at most", function()
    local base = path:match "[^/]*$"
    for kind, case in pairs { cache = { hooks = { keep = f }, path = base },
                              policy = { hooks = { chunk = 5 }, path = path } } do
      local make, named = gdn[kind], {}
      for name, value in pairs(case.hooks) do named[name] = value end
      named.name = "its own"
      for _, n in ipairs { 199, 200 } do
        assert.are.equal(("x"):rep(n), make(case.hooks, { name = ("x"):rep(n) }).name)
      end
      assert.are.equal(("x"):rep(200) .. "...", make(case.hooks, { name = ("x"):rep(201) }).name)
      assert.are.equal("its own", make(named, { name = "given" }).name)
      assert.are.equal("given", make(case.hooks, { name = "given" }).name)
      assert.are.equal("anonymous", make(case.hooks).name)
      assert.are.equal(case.path, make(path).name)
      assert.are.equal("given", make(path, { name = "given" }).name)
      assert.are.equal("given", make("nowhere/a.lua", { name = "given", source = "return {}" }).name)
    end
    assert.are.equal("fcfs", gdn.policy({ order = "fcfs" }).name)
    assert.are.equal("fifo", gdn.cache("fifo").name)
  end)

  it("are taken again as they are, and made anew from what they are made of", function()
    for kind, name in pairs { policy = "fcfs", cache = "fifo" } do
      local made = gdn[kind](name)
      assert.is_true(rawequal(made, gdn[kind](made)))
      assert.is_false(rawequal(made, gdn[kind](name)))
    end
  end)

  it("are kept out of the compiler, unless they are trusted", function()
    local kept = {}
    local keep = stub(uncompiled, "keep", function(hook) kept[#kept + 1] = hook end)
    local function count(make, what, options)
      kept = {}
      local made = make(what, options)
      return { #kept, made.trusted }
    end
    assert.are.same({ 2, false }, count(gdn.cache, { keep = f, worth = g }))
    assert.are.same({ 0, true }, count(gdn.cache, { keep = f, worth = g }, { trusted = true }))
    assert.are.same({ 0, true }, count(gdn.cache, "fifo"))
    assert.are.same({ 0, false }, count(gdn.cache, path))
    assert.are.same({ 2, false }, count(gdn.policy, { key = f, admit = g }))
    assert.are.same({ 0, true }, count(gdn.policy, { key = f, admit = g }, { trusted = true }))
    assert.are.same({ 0, true }, count(gdn.policy, { key = f, trusted = true }))
    assert.are.same({ 1, false }, count(gdn.policy, f))
    assert.are.same({ 0, true }, count(gdn.policy, "fcfs"))
    assert.are.same({ 0, true }, count(gdn.policy, { order = "fcfs", chunk = 5 }))
    keep:revert()
  end)

  it("say in a text whether they are trusted", function()
    assert.are.same({ "gdnmeta.Cache(anonymous)", "gdnmeta.Cache(anonymous, trusted)",
                      "gdnmeta.Cache(fifo, trusted)", "gdnmeta.Policy(anonymous)",
                      "gdnmeta.Policy(anonymous, trusted)" },
      { tostring(gdn.cache { keep = f }), tostring(gdn.cache({ keep = f }, { trusted = true })),
        tostring(gdn.cache "fifo"), tostring(gdn.policy(f)), tostring(gdn.policy(f, { trusted = true })) })
  end)

  it("have nothing where nothing is given, and a default where there must be something", function()
    local made = gdn.cache { keep = f }
    assert.are.same({}, { made.worth, made.demote })
    assert.are.equal(f, made.keep)
    assert.are.same({ 7 }, made.checkpoints { prompt_end = 7 })
    made = gdn.policy { key = f, chunk = 5.5, drafts = 0, victim = "last" }
    assert.are.same({ 5, 0, "last", true, false }, { made.chunk_limit, made.drafts_limit, made.victim_kind,
      made.decode_first, made.static })
    for _, name in ipairs { "chunk", "drafts", "victim", "order", "admit", "step", "group", "preempt_for",
                            "on_emit", "scores_stay" } do
      assert.is_nil(made[name] or nil, name)
    end
    made = gdn.policy { key = f, chunk = f, drafts = f, victim = f, preempt_for = true, decode_first = false }
    assert.are.same({ f, f, f, f, false }, { made.chunk, made.drafts, made.victim, made.preempt_for,
      made.decode_first })
    local other = gdn.policy { key = f, victim = f, preempt_for = g }
    assert.are.same({ f, g }, { other.victim, other.preempt_for })
    assert.has_error(function() return gdn.policy { key = f, victim = "last", preempt_for = true } end)
  end)

  it("of static keys keep their scores unless a victim or a claim is asked for", function()
    local stays = {}
    for _, fields in ipairs { {}, { victim = f }, { victim = "last" }, { preempt_for = f },
                              { preempt_for = false }, { static = false } } do
      fields.order = "priority"
      stays[#stays + 1] = gdn.policy(fields).scores_stay and true or false
    end
    assert.are.same({ true, false, false, false, true, true }, stays)
    assert.is_nil(gdn.policy { key = f }.scores_stay or nil)
  end)

  it("are made afresh for an engine where a shipped part keeps books", function()
    for _, what in ipairs { "fair", { order = "fair", group = "user" } } do
      local made = gdn.policy(what)
      assert.is_true(rawequal(made, made:fresh()))
      local again = made:fresh()
      assert.is_false(rawequal(made, again))
      assert.are.same({ made.name, made.trusted, made.group }, { again.name, again.trusted, again.group })
    end
    for _, what in ipairs { { key = f }, { order = "fcfs" }, f } do
      local made = gdn.policy(what)
      assert.is_true(rawequal(made, made:fresh()) and rawequal(made, made:fresh()))
    end
  end)
end)
