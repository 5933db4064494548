-- Newer states of pinned sessions, and states that are exported, while many requests wait: where memory is
-- plenty nobody looks at all of them, and where it is short prompts of one length are not all looked for.
local serve = require "spec.support.run_engine"

local WAITING = 500

local function tokens_of(text, own)
  local list = {}
  for k = 1, 40 do list[k] = 1000 * text + k end
  for k = 41, 60 do list[k] = 1000 * own + k end
  return list
end

local function serve_all(e)
  while not e:idle() do assert(e:complete(assert(e:step(1)), 1)) end
end

-- Sessions whose states are pinned, with a new one for each of their requests, of which many wait.
local function crowd(kv_blocks)
  local e = serve.caching_engine({ kv_blocks = kv_blocks, kv_block_size = 4 }, { num_slots = 40 })
  for text = 1, 4 do
    assert(e:submit { id = "first " .. text, prompt_tokens = 60, max_tokens = 1, session = text,
                      tokens = tokens_of(text, text) })
  end
  serve_all(e)
  for text = 1, 4 do assert(e:pin(text)) end
  for id = 1, WAITING do
    local text = id % 4 + 1
    assert(e:submit { id = id, prompt_tokens = 60, max_tokens = 3, tokens = tokens_of(text, id + 10),
                      session = text })
  end
  return e
end

-- Steps with all that wait; how many matches their results took, and how many states were made.
local function matches_of(e, steps)
  local index, matches = e.private.prefix.index, 0
  local made = index:stats().states_published
  for now = 2, steps + 1 do
    local step = assert(e:step(now))
    local before = index:stats().matches
    assert(e:complete(step, now))
    matches = matches + index:stats().matches - before
  end
  assert.is_true(e:verify())
  return matches, index:stats().states_published - made
end

describe("A newer state of a pinned session", function()
  it("is kept without a look at requests that wait, where any of them has room beside it", function()
    local e = crowd(1000)
    local matches, made = matches_of(e, 20)
    assert.is_true(made > 10)
    assert.are.equal(0, matches)
    e:close()
  end)

  it("is kept with a look for few of them, where they are alike", function()
    local e = crowd(100)
    local matches, made = matches_of(e, 20)
    assert.is_true(made > 10)
    assert.is_true(matches > 0 and matches <= 2 * made, matches .. " matches for " .. made)
    e:close()
  end)
end)

describe("An export", function()
  it("is made without a look at requests that wait, where any of them has room beside it", function()
    local e = crowd(1000)
    assert(e:complete(assert(e:step(2)), 2))
    local r, reads = e.private.requests, 0
    local prompt = r.prompt
    r.prompt = setmetatable({}, { __index = function(_, i)
      reads = reads + 1
      return prompt[i]
    end })
    local step = assert(e:step(3))
    local id = step:id(0)
    assert(e:complete(step, 3))
    reads = 0
    local state = assert(e:export(id))
    assert.is_true(reads < 20, reads .. " reads")
    r.prompt = prompt
    e:release(state)
    assert.is_true(e:verify())
    e:close()
  end)
end)
