-- The loops that call a policy's hooks, each alone: what it gives the hook, what it takes for an answer and
-- where that goes, in which words it refuses, and that it ends with leave().
local call_hooks = require "gdnmeta.engine.hooks.call_hooks"

local NAN, HUGE = 0 / 0, math.huge
local R, CTX = {}, {}

local function loops_of()
  local self = { left = 0 }
  local view = { cursor = { i = -1, hook = false }, r = R, ctx = CTX,
                 requests = { key = {}, keyed = {}, score = {}, allowed = {},
                              drafts = { [3] = 2, [5] = 0, [7] = 4 } },
                 leave = function() self.left = self.left + 1 end }
  self.view, self.loops = view, call_hooks(view)
  return self
end

-- A hook that answers one value after the other, and notes who was shown and what it was given.
local function hook(self, values)
  self.seen = {}
  return function(...)
    local given = { ... }
    assert(given[1] == R and given[#given] == CTX)
    self.seen[#self.seen + 1] = self.view.cursor.i
    self.extra = #given == 3 and given[2] or nil
    local value = values[#self.seen]
    if type(value) == "table" then return value[1], value[2] end
    return value
  end
end

local ITEMS = { [0] = 3, 5, 7 }
local WRONG = {
  keys = { "key", "a number" }, one_key = { "key", "a number" }, scores = { "victim", "a number" },
  bound = { "preempt_for", "a number" }, chunk = { "chunk", "a number >= 0" },
}
-- Arguments after the hook, by loop, with 3 as the first or the only request.
local GIVEN = { keys = { ITEMS, 3, 9 }, one_key = { 3, 9 }, scores = { ITEMS, 3 }, drafts = { ITEMS, 3 },
                chunk = { 3, 20 }, admit = { 3 }, bound = { 3 } }

local function call(name, values)
  local self = loops_of()
  local given = GIVEN[name]
  local ok, x, y = pcall(self.loops[name], hook(self, values), given[1], given[2], given[3])
  return self, ok, x, y
end

describe("A loop over hooks", function()
  it("stores what they answer, by request, and leaves once", function()
    local self = call("keys", { 5, -HUGE, 0.5 })
    assert.are.same({ [3] = 5, [5] = -HUGE, [7] = 0.5 }, self.view.requests.key)
    assert.are.same({ [3] = 9, [5] = 9, [7] = 9 }, self.view.requests.keyed)
    assert.are.same({ 3, 5, 7, "key", 1 }, { self.seen[1], self.seen[2], self.seen[3], self.view.cursor.hook,
                                             self.left })
    self = call("one_key", { HUGE })
    assert.are.same({ { [3] = HUGE }, { [3] = 9 }, { 3 }, "key", 1 }, { self.view.requests.key,
      self.view.requests.keyed, self.seen, self.view.cursor.hook, self.left })
    self = call("scores", { 1, 2, HUGE })
    assert.are.same({ { [3] = 1, [5] = 2, [7] = HUGE }, { 3, 5, 7 }, "victim", 1 },
                    { self.view.requests.score, self.seen, self.view.cursor.hook, self.left })
    self = call("drafts", { 0.5, 4 }) -- number 5 has none, and is not asked about
    assert.are.same({ { [3] = 0, [7] = 4 }, { 3, 7 }, "drafts", 1, 4 },
                    { self.view.requests.allowed, self.seen, self.view.cursor.hook, self.left, self.extra })
  end)

  it("asks about one draft as about more, and takes none and all for an answer", function()
    for _, value in ipairs { 0, 1 } do
      local self = loops_of()
      self.view.requests.drafts[3] = 1
      self.loops.drafts(hook(self, { value, 0 }), ITEMS, 3)
      assert.are.same({ { [3] = value, [7] = 0 }, { 3, 7 } }, { self.view.requests.allowed, self.seen })
    end
  end)

  it("asks for no more than it is to", function()
    for name, at in pairs { keys = 2, scores = 2, drafts = 2 } do
      local self = loops_of()
      self.loops[name](hook(self, { 1, 1, 1 }), ITEMS, at - 1, 9)
      assert.are.same({ 3 }, self.seen, name)
      self.loops[name](hook(self, {}), ITEMS, 0, 9)
      assert.are.same({ {}, 2 }, { self.seen, self.left }, name)
    end
  end)

  it("gives back what a chunk, a verdict and a bound are", function()
    for value, want in pairs { [0] = 0, [0.5] = 0, [7] = 7, [7.9] = 7, [21] = 21, [HUGE] = 20 } do
      local self, ok, n = call("chunk", { value })
      assert.are.same({ true, want, { 3 }, "chunk", 1, 20 },
                      { ok, n, self.seen, self.view.cursor.hook, self.left, self.extra })
    end
    for _, case in ipairs { { true }, { false }, { nil, "why" }, { true, "more" } } do
      local self, ok, verdict, reason = call("admit", { case })
      assert.are.same({ true, case[1], case[2], { 3 }, "admit", 1 },
                      { ok, verdict, reason, self.seen, self.view.cursor.hook, self.left })
    end
    for _, value in ipairs { 5, -HUGE, HUGE, 0.5 } do
      local self, ok, bound = call("bound", { value })
      assert.are.same({ true, value, { 3 }, "preempt_for", 1 },
                      { ok, bound, self.seen, self.view.cursor.hook, self.left })
    end
  end)

  it("refuses all else in words, and stores nothing", function()
    for name, words in pairs(WRONG) do
      for _, case in ipairs { { NAN, "nan" }, { "5", "string" }, { nil, "nil" }, { true, "boolean" },
                              { name == "chunk" and -0.5 or NAN, name == "chunk" and "-0.5" or "nan" } } do
        local self, ok, message = call(name, { case[1] })
        local want = ("%s returned %s, want %s"):format(words[1], case[2], words[2])
        assert.are.same({ false, want, 0, 3, words[1] },
                        { ok, message, self.left, self.view.cursor.i, self.view.cursor.hook })
        assert.are.same({ {}, {}, {} }, { self.view.requests.key, self.view.requests.keyed,
                                         self.view.requests.score })
      end
    end
    for _, case in ipairs { { -1, "-1" }, { 2.5, "2.5" }, { NAN, "nan" }, { "1", "string" },
                            { HUGE, "inf" } } do
      local self, ok, message = call("drafts", { case[1] })
      assert.are.same({ false, ("drafts returned %s, want a number in 0 .. 2"):format(case[2]), 0, {} },
                      { ok, message, self.left, self.view.requests.allowed })
    end
    for _, case in ipairs { { { nil, 5 }, "5, want a reason after nil" }, { 1, "1, want true, false or nil" },
                            { "yes", "string, want true, false or nil" },
                            { { nil, nil }, "nil, want a reason after nil" } } do
      local self, ok, message = call("admit", { case[1] })
      assert.are.same({ false, "admit returned " .. case[2], 0 }, { ok, message, self.left })
    end
  end)

  it("tells of what happens, of those alone that it happens to", function()
    local self = loops_of()
    self.loops.event("on_admit", hook(self, {}), 7)
    assert.are.same({ { 7 }, "on_admit", 1 }, { self.seen, self.view.cursor.hook, self.left })
    local amounts = {}
    local handler = hook(self, {})
    self.loops.emitted(function(r, n, ctx)
      amounts[#amounts + 1] = n
      handler(r, n, ctx)
    end, ITEMS, { [0] = 2, 0, 1, 9 }, 3)
    assert.are.same({ { 2, 1 }, { 3, 7 }, "on_emit", 2 },
                    { amounts, self.seen, self.view.cursor.hook, self.left })
    local see, plan, got = {}, {}, nil
    self.loops.full(function(...) got = { ... } end, see, plan)
    assert.is_true(got[1] == see and got[2] == plan and #got == 2)
    assert.are.same({ "step", 3 }, { self.view.cursor.hook, self.left })
  end)
end)
