-- Sessions that come to a state of another and never return: any number of them may, so only the latest are
-- remembered.
local serve = require "spec.support.run_engine"

local MOST = 4096

local tokens = {}
for k = 1, 18 do tokens[k] = k end

local function run(e, request)
  request.prompt_tokens, request.max_tokens, request.tokens = 18, 1, request.tokens or tokens
  assert(e:submit(request))
  while not e:idle() do assert(e:complete(assert(e:step(1)), 1)) end
end

-- Each computes its prompt's last block anew, and finds a state there: it begins with one of 4 tokens.
local function visit(e, place, first, last)
  for id = first, last do run(e, { id = id, session = id, slot = place }) end
end

local function count(e)
  local n = 0
  for _ in pairs(e.private.prefix.sessions) do n = n + 1 end
  return n
end

describe("Sessions whose newest state is another's", function()
  it("are forgotten when 4096 others became idle since, but not one that is pinned or has one", function()
    local e = serve.caching_engine({}, { num_slots = 30 })
    local other = {}
    for k = 1, 18 do other[k] = 100 + k end
    run(e, { id = "own", session = "own", tokens = other })
    run(e, { id = "first", session = "first" }) -- whose state the others come to
    local place = assert(e:receive(4))
    visit(e, place, 1, MOST)
    assert.are.equal(MOST + 2, count(e))
    assert.are.equal(16, e:session(1).tokens)
    assert(e:pin(2))
    visit(e, place, 1, 1) -- it returns: the latest again
    visit(e, place, MOST + 1, 2 * MOST - 2)
    assert.is_true(e:verify())
    assert.are.equal(MOST + 3, count(e))
    assert.are.same({ 16, true, 16, 16, 16 }, {
      e:session(1).tokens, e:session(2).pinned, e:session(MOST + 1).tokens, e:session "own".tokens,
      e:session "first".tokens })
    assert.is_nil(e:session(3))
    assert.is_nil(e:session(MOST - 1))
    assert(e:unpin(2)) -- idle from now on: the latest
    assert.are.same({ 16 }, { e:session(2).tokens })
    visit(e, place, 2 * MOST, 3 * MOST - 2)
    assert.is_nil(e:session(1))
    assert.are.equal(16, e:session(2).tokens)
    visit(e, place, 3 * MOST, 3 * MOST)
    assert.is_nil(e:session(2))
    assert.is_true(e:verify())
    e:release(place)
    e:lose_states()
    assert.are.same({}, e.private.prefix.sessions)
    for _, s in ipairs(e.private.prefix.guests) do assert.is_false(s) end
    assert.is_true(e:verify())
    e:close()
  end)
end)
