-- What a pinned session leaves to others, to the block, and how a session is shown that was forgotten and
-- came again.
local serve = require "spec.support.run_engine"

local ECAP = -3

local function engine(options, builder)
  local b = { num_slots = 9 }
  for name, value in pairs(builder or {}) do b[name] = value end
  return serve.caching_engine(options, b)
end

local function text(from, n)
  local list = {}
  for k = 1, n do list[k] = 1000 * from + k end
  return list
end

local number = 0

local function turn(e, session, from, n)
  number = number + 1
  assert(e:submit { id = number, prompt_tokens = n, max_tokens = 2, tokens = text(from, n),
                    session = session })
  serve.run(e)
end

describe("A session that is pinned", function()
  -- A state at 40 tokens, ten blocks, is pinned: from which number of blocks on, for what waits?
  it("leaves to a prompt what it can need: as far as the model goes, and a token of its own", function()
    for want, waits in pairs {
      [25] = { prompt_tokens = 59, max_tokens = 1000, tokens = text(9, 59) }, -- fifteen blocks: 59 tokens
      [21] = { prompt_tokens = 40, max_tokens = 4, tokens = text(1, 40) }, -- the state is that of its end
    } do
      local least
      for blocks = 16, 40 do
        local e = engine({ kv_blocks = blocks, kv_block_size = 4, max_model_len = 60 },
                         { max_num_seqs = 1, num_slots = 5 })
        turn(e, "a", 1, 42)
        waits.id = "waits"
        assert(e:submit(waits))
        least = least or e:pin "a" and blocks
        e:close()
      end
      assert.are.equal(want, least)
    end
  end)

  it("on the host has blocks on the device, which a prompt that shares them need not find", function()
    local e = engine({ kv_blocks = 24, kv_block_size = 4, host_slots = 30 },
                     { max_num_seqs = 1, num_slots = 5 })
    turn(e, "a", 1, 42)
    for k = 1, 4 do turn(e, nil, 100 + k, 6) end
    assert.is_true(e.private.prefix.index:is_on_host(e.private.prefix.sessions.a.node))
    assert.is_true(e:pin "a")
    local function submit(from)
      return e:submit { id = from, prompt_tokens = 60, max_tokens = 4, tokens = text(from, 60) }
    end
    assert.are.same({ nil, "request 9: needs 16 blocks of attention cache, want at most 14", ECAP },
                    { submit(9) })
    assert.is_true(submit(1))
    serve.run(e)
    assert.is_true(e:verify())
    e:close()
  end)

  it("has nothing to do with blocks that are only counted", function()
    local e = engine { kv_tokens = 64, kv_block_size = 16 }
    turn(e, "a", 1, 42)
    assert(e:pin "a")
    local _, message = e:submit { id = "x", prompt_tokens = 62, max_tokens = 4, tokens = text(1, 62) }
    assert.are.equal("request x: needs 5 blocks of attention cache, want at most 4", message)
    e:close()
  end)

end)

describe("A session", function()
  it("is shown as it is now where it was forgotten, came again, and an old state of its is left", function()
    local live, tokens = 0, {}
    local e = engine { cache = { worth = function(nodes, n, values)
      for k = 1, n do
        local node = nodes[k]
        values[k] = node.session and (node.tokens == 24 and 0 or 1e6) or node.created
        if node.session and node.tokens == 16 then live = math.max(live, node.session_requests) end
        tokens[node.tokens] = true
      end
    end } }
    turn(e, "chat", 1, 18) -- leaves a state at 16 tokens
    turn(e, "chat", 2, 26) -- its newest, at 24, which is evicted first
    local first = e.private.prefix.sessions.chat
    for k = 1, 20 do turn(e, nil, 100 + k, 18) end
    assert.is_nil(e:session "chat")
    live = 0
    for k = 1, 20 do turn(e, "chat", 200 + k, 34) end
    assert.are_not.equal(first, e.private.prefix.sessions.chat)
    assert.are.same({ 1, true, true }, { live, tokens[16], tokens[24] })
    e:close()
  end)
end)
