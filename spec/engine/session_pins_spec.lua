-- What a pinned session leaves to others, to the block, and how a session is shown that was forgotten and
-- came again.
local serve = require "spec.support.run_engine"
local turns = require "spec.support.session_turns"

local ECAP = -3

local engine, text, turn = turns.engine, turns.text, turns.turn

describe("A session that is pinned", function()
  -- From which number of blocks on a state at 40 tokens is pinned, for what waits: ten and what that needs.
  -- { blocks, what waits, longest model, drafts, tokens of the session's prompt }
  local NEEDS = {
    { 25, { prompt_tokens = 59, max_tokens = 1000, tokens = text(9, 59) }, 61 }, -- 60 tokens
    { 26, { prompt_tokens = 59, max_tokens = 1000, tokens = text(9, 59) }, 62 }, -- 61
    { 18, { prompt_tokens = 30, max_tokens = 3, tokens = text(9, 30) } }, -- 32
    { 19, { prompt_tokens = 30, max_tokens = 4, tokens = text(9, 30) } }, -- 33
    { 19, { prompt_tokens = 30, max_tokens = 3, tokens = text(9, 30) }, 200, 2 }, -- 34
    { 18, { prompt_tokens = 30, max_tokens = 3 } }, -- it has no identity
    { 21, { prompt_tokens = 40, max_tokens = 4, tokens = text(1, 40) } }, -- a token is its own: not the state
    { 11, { prompt_tokens = 41, max_tokens = 4, tokens = text(1, 41) } }, -- ten of eleven are the state's
    { 8, { prompt_tokens = 30, max_tokens = 3, tokens = text(1, 30) }, 200, 0, 6 }, -- a state of one block
    { 18, { prompt_tokens = 30, max_tokens = 3, slot = 16 } }, -- four blocks are kept, four more are needed
  }

  it("leaves to a prompt what it can need, and no more", function()
    for case, c in ipairs(NEEDS) do
      local least
      for blocks = 8, 40 do
        local e = engine({ kv_blocks = blocks, kv_block_size = 4, max_model_len = c[3] },
                         { max_num_seqs = 1, num_slots = 20, num_speculative_tokens = c[4],
                           max_blocks_per_row = 2 + (c[4] or 0) })
        local waits = { id = "waits" }
        for name, value in pairs(c[2]) do waits[name] = value end
        if pcall(turn, e, "a", 1, c[5] or 42) then
          waits.slot = waits.slot and e:receive(waits.slot)
          if e:submit(waits) then least = least or e:pin "a" and blocks end
        end
        e:close()
      end
      assert.are.equal(c[1], least, "case " .. case)
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
