-- What worth() does to the tables that it is given is undone before they are filled again: nothing of it
-- runs outside its call.
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"

local function blocks(text) return { text * 10 + 1, text * 10 + 2, text * 10 + 3, text * 10 + 4 } end

local function trap()
  return { __newindex = function() error "outside of its hook" end, __metatable = false }
end

local function emptied(t)
  for name in pairs(t) do t[name] = nil end
  return debug.setmetatable(t, trap()) -- which no one but the host can do to a node
end

-- Each gets the nodes and the values that it has filled.
local WRONGS = {
  function(nodes) nodes[1] = nil end,
  function(nodes) nodes[1] = 7 end,
  function(nodes) nodes[2] = nodes[1] end,
  function(nodes) nodes[1] = setmetatable({}, trap()) end,
  function(nodes) for k = 1, 8 do emptied(nodes[k] or {}) end end,
  function(nodes) emptied(nodes) end,
  function(_, values) setmetatable(values, trap()) end,
  function(_, values) emptied(values) end, -- which is a failure: there are no values then
}

describe("Tables of a cache's worth", function()
  it("are whole again at its next call, whatever it does to them", function()
    for case, wrong in ipairs(WRONGS) do
      local calls, different = 0, 0
      local e = serve.caching_engine({ breaker = 1e6, cache = { worth = function(nodes, n, values)
        calls = calls + 1
        local seen = {}
        for k = 1, n do
          local node = nodes[k]
          if not seen[node.id] and node.tokens == 16 then different = different + 1 end
          seen[node.id], values[k] = true, node.created
        end
        assert(different > 0)
        wrong(nodes, values)
      end } }, { num_slots = 6 })
      for text = 1, 20 do
        assert(e:submit { id = text, prompt_tokens = 18, max_tokens = 1, blocks = blocks(text) })
        while not e:idle() do assert(e:complete(assert(e:step(text)), text)) end
      end
      assert.is_true(e:verify())
      assert.is_true(calls >= 14 and different >= 2 * calls, case .. ": " .. different .. " of " .. calls)
      assert.are.equal(case == #WRONGS and calls or 0, #e:failures(), case)
      for _, failure in ipairs(e:failures()) do
        assert.are.same({ true, "worth" }, { failure.cache, failure.hook })
      end
      e:close()
    end
  end)
end)

describe("Lists of a cache's ctx.every", function()
  it("are one for each call of it, and those of the next hook are right whatever became of them", function()
    local asked, first = 0, nil
    local e = serve.caching_engine({ cache = { checkpoints = function(_, _, _, ctx)
      local at = { ctx.every(4), ctx.every(8), ctx.every(8) }
      assert(at[1] ~= at[2] and at[2] ~= at[3])
      assert(table.concat(at[1], " ") == "4 8 12 16" and table.concat(at[2], " ") == "8 16")
      asked, first = asked + 1, at[1]
      first.more, first[5] = true, 99
      return asked % 2 == 1 and setmetatable(first, trap()) or first
    end } })
    for text = 1, 6 do
      assert(e:submit { id = text, prompt_tokens = 18, max_tokens = 1, blocks = blocks(text) })
      while not e:idle() do assert(e:complete(assert(e:step(text)), text)) end
    end
    assert.are.equal(6, asked)
    assert.are.same({}, e:failures())
    assert.is_true(e:verify())
    e:close()
  end)
end)

describe("A list of a cache's checkpoints", function()
  it("with metamethods that say something else each time is a failure of the hook alone", function()
    local e = serve.caching_engine({ breaker = 1e6, cache = { checkpoints = function(_, from, to)
      local reads = {}
      return setmetatable({ from + 4, nil, to }, { __index = function(_, n)
        reads[n] = (reads[n] or 0) + 1
        return reads[n] == 1 and from + 4 or 8LL -- which no position is: a step would end in an error
      end })
    end } })
    for text = 1, 3 do
      assert(e:submit { id = text, prompt_tokens = 18, max_tokens = 1, blocks = blocks(text) })
      while not e:idle() do assert(e:complete(assert(e:step(text)), text)) end
    end
    local failures = e:failures()
    assert.is_true(#failures >= 3)
    for _, failure in ipairs(failures) do
      assert.are.equal("checkpoints[2] is nil, want a number of tokens", failure.message)
    end
    assert.is_true(e:verify())
    e:close()
  end)

  it("that is a map is a failure of the hook", function()
    for _, trusted in ipairs { false, true } do
      local cache = { name = "map", checkpoints = function(_, _, to) return { at = to } end }
      local e = serve.caching_engine { cache = assert(gdn.cache(cache, { trusted = trusted })) }
      assert(e:submit { id = 1, prompt_tokens = 18, max_tokens = 1, blocks = blocks(1) })
      while not e:idle() do assert(e:complete(assert(e:step(1)), 1)) end
      assert.are.equal("checkpoints returned a table without [1], want a list", e:failures()[1].message)
      e:close()
    end
  end)
end)

describe("A mistake in a hook's last call", function()
  it("is said of the line where the hook begins", function()
    local own = debug.getinfo(1, "S").short_src
    local function first_failure(e)
      e:submit { id = 1, prompt_tokens = 18, max_tokens = 1, blocks = e.cache and blocks(1) or nil }
      while not e:idle() do assert(e:complete(assert(e:step(1)), 1)) end
      local failure = e:failures()[1]
      e:close()
      assert.are.equal(failure.message, failure.traceback:match "^[^\n]*")
      return failure.message
    end
    for _, trusted in ipairs { false, true } do
      local function every(_, _, _, ctx) return ctx.every "x" end
      local cache = assert(gdn.cache({ name = "c", checkpoints = every }, { trusted = trusted }))
      assert.are.equal(("%s:%d: ctx.every(\"x\"): want a number of tokens, called with a dot"):format(own,
        debug.getinfo(every, "S").linedefined), first_failure(serve.caching_engine { cache = cache }))
      local function pad(_, ctx) return ctx.pad "x" end
      local policy = assert(gdn.policy({ name = "p", key = pad }, { trusted = trusted }))
      assert.are.equal(("%s:%d: ctx.pad: want a number of tokens"):format(own,
        debug.getinfo(pad, "S").linedefined), first_failure(serve.engine(policy)))
    end
  end)
end)
