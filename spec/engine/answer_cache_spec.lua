-- What requests say joins the state cache: a second turn begins where the first one's answer ended. What is
-- said wrongly is refused, and what was not said to its end is left to nobody.
local serve = require "spec.support.run_engine"

local SIZE, PROMPT, SAID = 4, 18, 15

local function token(n) return n * 7 % 1000 end

local function text(n)
  local list = {}
  for k = 1, n do list[k] = token(k) end
  return list
end

local function ids(n)
  local list = {}
  for k = 1, math.floor(n / SIZE) do list[k] = 1000 + k end
  return list
end

local function engine(options, builder)
  local e = { hash_block_size = SIZE, max_model_len = 200 }
  for name, value in pairs(options or {}) do e[name] = value end
  local b = { max_blocks_per_row = 2, num_slots = 24 }
  for name, value in pairs(builder or {}) do b[name] = value end
  if e.async then
    b.max_requests = 8
    e.second_builder = serve.builder(b)
  end
  return serve.engine("fcfs", e, b)
end

-- Results of a step's rows: each draft is right, and `say` adds what is said.
local function results(e, step, say)
  local list = {}
  for row = 0, step.num_rows - 1 do
    local id, drafts = step:id(row), math.max(step.drafts[row], 0)
    local result = { accepted_drafts = step.samples[row] * drafts, next_drafts = e.num_spec }
    if step.samples[row] == 1 then say(result, e:request(id).known, drafts + 1) end
    list[id] = result
  end
  return list
end

-- Plays to the end. say(result, known, n): a row has `known` tokens, and emits n. look(e, step): after each.
local function play(e, say, look)
  local flying, now = {}, 0
  repeat
    local step = assert(e:step(now))
    if step.num_rows > 0 then flying[#flying + 1] = step end
    if #flying == (e.async and 2 or 1) or step.num_rows == 0 and #flying > 0 then
      local done = table.remove(flying, 1)
      assert(e:complete(done, now, results(e, done, say)))
    end
    if look then look(e, step) end
    now = now + 1
  until e:idle()
  assert.are.same({}, (e:failures()))
end

local function says_tokens(result, known, n)
  result.tokens = {}
  for k = 1, n do result.tokens[k] = token(known + k) end
end

local function says_nothing() end

-- Blocks as they fill, of one request.
local function says_blocks()
  local told = math.floor(PROMPT / SIZE)
  return function(result, known, n)
    local all = ids(math.min(known + n, PROMPT + SAID))
    result.blocks = { unpack(all, told + 1) }
    told = #all
  end
end

local function first_turn(e, fields)
  local r = { id = "first", prompt_tokens = PROMPT, max_tokens = SAID }
  for name, value in pairs(fields or { tokens = text(PROMPT) }) do r[name] = value end
  assert(e:submit(r))
end

-- Tokens that a second turn need not compute.
local function second_turn(e, fields)
  local n = PROMPT + SAID + 7
  local before = e.stats.cached_tokens
  first_turn(e, { id = "second", prompt_tokens = n, tokens = not fields and text(n) or nil,
                  blocks = fields and ids(n) })
  play(e, says_nothing)
  return e.stats.cached_tokens - before
end

local LAST = math.floor((PROMPT + SAID - 1) / SIZE) * SIZE

local ENGINES = {}
for _, align in ipairs { false, true } do
  for _, spec in ipairs { 0, 2 } do
    for _, async in ipairs { false, true } do
      for _, owns_blocks in ipairs { false, true } do
        ENGINES[#ENGINES + 1] = { align = align, spec = spec, async = async, owns_blocks = owns_blocks }
      end
    end
  end
end

local function made(c, options)
  local o = { async = c.async, kv_blocks = c.owns_blocks and 200 or nil,
              kv_block_size = c.owns_blocks and 4 or nil }
  for name, value in pairs(options or {}) do o[name] = value end
  return engine(o, { num_speculative_tokens = c.spec, mamba_cache_mode = c.align and "align" or "none",
                     mamba_block_size = c.align and 4 or nil,
                     max_blocks_per_row = c.align and 50 + c.spec + 1 or c.spec + 2 })
end

describe("The state of an answer", function()
  it("is missed in the figures where its tokens were not told", function()
    for _, c in ipairs(ENGINES) do
      local e = made(c)
      local function missed() return e.cache:stats().untold_text end
      first_turn(e)
      play(e, says_tokens)
      second_turn(e)
      first_turn(e, { id = "ids", prompt_tokens = PROMPT, blocks = ids(PROMPT) })
      play(e, says_blocks())
      first_turn(e, { id = "short", prompt_tokens = PROMPT, max_tokens = 2, tokens = text(PROMPT) })
      play(e, says_nothing) -- which fill no block
      assert.are.equal(1, missed()) -- the second turn's
      first_turn(e, { id = "untold", prompt_tokens = PROMPT, blocks = ids(PROMPT) })
      play(e, says_nothing)
      first_turn(e, { id = "nameless", prompt_tokens = PROMPT })
      play(e, says_nothing) -- of whom nothing was to be left
      assert.are.same({ 2, 1 }, { missed(), e.cache:stats().without_identity })
      e:close()
    end
  end)

  it("is what the next turn begins with", function()
    for _, c in ipairs(ENGINES) do
      local where = ("%s, %d drafts%s"):format(c.align and "align" or "none", c.spec,
                                               c.async and ", async" or "")
      local e = made(c)
      first_turn(e)
      play(e, says_tokens)
      local used = e:slots().used
      local cached = second_turn(e)
      -- With drafts in flight the state at the last boundary may be overwritten before it is known.
      local least = c.async and c.spec > 0 and 16 or LAST
      assert.is_true(cached >= least and cached <= LAST, where .. ": " .. cached)
      assert.is_true(used <= 2 * 1, where .. ": " .. used) -- the prompt's last state, and the answer's
      e:close()
    end
  end)

  it("is left by ids of blocks, too, and by nobody who says nothing", function()
    local e = engine()
    first_turn(e, { blocks = ids(PROMPT) })
    play(e, says_blocks())
    assert.are.equal(LAST, second_turn(e, true))
    e:close()
    e = engine()
    first_turn(e)
    play(e, says_nothing)
    assert.are.equal(16, second_turn(e))
    e:close()
    e = engine() -- of a text with a gap nothing is known after it
    first_turn(e)
    play(e, function(result, known, n) return known ~= PROMPT + 3 and says_tokens(result, known, n) end)
    assert.are.equal(20, second_turn(e))
    e:close()
  end)

  it("is kept where `keep` says so, which is asked at the end", function()
    local asked = {}
    local function keeps(most)
      return { keep = function(node)
        asked[#asked + 1] = node.tokens
        return node.tokens <= most
      end }
    end
    for _, most in ipairs { 100, 20, 0 } do
      asked = {}
      local e = engine { cache = keeps(most) }
      first_turn(e)
      play(e, says_tokens)
      assert.are.same({ 16, LAST }, asked)
      assert.are.equal(most == 100 and LAST or most == 20 and 16 or 0, second_turn(e))
      e:close()
    end
  end)

  it("is left by no request that is cancelled or preempted", function()
    local e = engine()
    first_turn(e, { max_tokens = 100, tokens = text(PROMPT) })
    play(e, says_tokens, function(_, step)
      if step.number == 10 then assert(e:cancel "first") end
    end)
    assert.are.equal(1, e:slots().used)
    assert.are.equal(16, second_turn(e))
    e:close()
    local turns = 0
    e = serve.engine({ order = "fcfs", step = nil }, { hash_block_size = SIZE, max_model_len = 200 },
                     { max_blocks_per_row = 2, num_slots = 24 })
    assert(e:set_policy(function(view, plan)
      turns = turns + 1
      for i in view:running() do
        if turns == 10 then plan:preempt(i) end
      end
      plan:fill()
    end))
    first_turn(e)
    local used
    play(e, says_tokens, function(_, step)
      if #step.preempted > 0 then used = e:slots().used end
    end)
    assert.are.equal(1, used) -- the prompt's state
    assert.are.equal(1, e.stats.preemptions)
    assert.are.equal(LAST, second_turn(e))
    e:close()
  end)

  it("goes before a request would have to wait for its slot", function()
    local e = engine(nil, { num_slots = 5 })
    for id = 1, 4 do
      first_turn(e, { id = id, tokens = text(PROMPT), salt = id })
    end
    local most = 0
    play(e, says_tokens, function() most = math.max(most, e.stats.running) end)
    assert.are.equal(4, most)
    assert.are.equal(0, e.stats.preemptions)
    e:close()
  end)

  it("evicts a state of others where no slot is free, and none before", function()
    local evicted, tokens = {}, {}
    for slots = 4, 7 do
      local e = engine(nil, { num_slots = slots })
      first_turn(e, { id = "other", max_tokens = 1, tokens = text(PROMPT), salt = 1 })
      play(e, says_nothing)
      first_turn(e)
      play(e, says_tokens)
      evicted[#evicted + 1] = e.cache:stats().states_evicted
      tokens[#tokens + 1] = second_turn(e)
      e:close()
    end
    assert.are.same({ { 1, 0, 0, 0 }, { LAST, LAST, LAST, LAST } }, { evicted, tokens })
  end)

  it("is a fork's, too, as far as both say the same", function()
    local e = engine()
    first_turn(e)
    local forked
    play(e, function(result, known, n)
      for k = 1, n do
        result.tokens = result.tokens or {}
        result.tokens[k] = token(known + k)
      end
    end, function(_, step)
      if step.number == 8 and not forked then forked = assert(e:fork("first", { id = "fork" })) end
    end)
    assert.are.equal(LAST, second_turn(e))
    e:close()
  end)

  it("wants tokens and blocks as many as there can be", function()
    local function refusal(fields, result, number)
      local e = engine()
      first_turn(e, fields)
      for now = 1, number - 1 do assert(e:complete(assert(e:step(now)), now)) end
      local step = assert(e:step(number))
      local ok, message = pcall(e.complete, e, step, number, { first = result })
      assert.is_false(ok)
      assert(e:complete(step, number)) -- nothing was changed
      e:close()
      return message:gsub("^gdnmeta.Engine:complete: ", ""):gsub("^.-:%d+: gdnmeta.Engine:complete: ", "")
    end
    local by_tokens, by_blocks = { tokens = text(PROMPT) }, { blocks = ids(PROMPT) }
    for _, wrong in ipairs {
      { by_tokens, { tokens = { 1 } }, 1, "results[first].tokens has 1 elements, want 0" },
      { by_tokens, { tokens = {} }, 3, "results[first].tokens has 0 elements, want 1" },
      { by_tokens, { tokens = { 1, 2 } }, 3, "results[first].tokens has 2 elements, want 1" },
      { by_tokens, { tokens = { 1.5 } }, 3, "results[first].tokens[1] = 1.5, want an integer in "
                                            .. "-2147483648 .. 2147483647" },
      { by_tokens, { tokens = 7 }, 3, "results[first].tokens = 7, want a list" },
      { by_tokens, { blocks = { 7 } }, 3, "results[first].blocks: the request was submitted with tokens, "
                                          .. "want those" },
      { by_blocks, { blocks = { 7 } }, 2, "results[first].blocks: has 1 elements, want at most 0" },
      { by_blocks, { blocks = { -1 } }, 3, "results[first].blocks[1] = -1, want an integer in 0 .. 2^53 "
                                           .. "- 1 or a string" },
      { {}, { blocks = { 7 } }, 3, "results[first].blocks: the request was submitted without blocks" },
    } do
      assert.are.equal(wrong[4], (refusal(wrong[1], wrong[2], wrong[3])))
    end
  end)
end)
