-- Sessions: a pinned one's newest state stays, whatever comes; a pin that leaves too little to others is
-- refused.
local serve = require "spec.support.run_engine"
local turns = require "spec.support.session_turns"

local EINVAL, ECAP = -1, -3

local engine, text, turn = turns.engine, turns.text, turns.turn

local function crowd(e)
  for k = 1, 20 do turn(e, nil, 100 + k, 18) end
end

describe("A session", function()
  it("that is pinned keeps its newest state, and no more than that", function()
    local e = engine { kv_blocks = 40, kv_block_size = 4 }
    turn(e, "chat", 1, 18)
    crowd(e)
    assert.are.equal(0, turn(e, "chat", 1, 20)) -- evicted
    assert.is_true(e:pin "chat")
    assert.is_true(e:pin "chat") -- once is enough
    crowd(e)
    assert.are.equal(20, turn(e, "chat", 1, 30)) -- which leaves a state at 28
    crowd(e)
    assert.are.equal(28, turn(e, "chat", 1, 30))
    local session = e:session "chat"
    assert.are.same({ "chat", 0, true, 28 }, { session.session, session.requests, session.pinned,
                                               session.tokens })
    assert.are.equal(1, e.private.prefix.index:stats().pinned_states)
    assert.are.equal(7, e.private.prefix.index:stats().pinned_blocks)
    assert.is_true(e:unpin "chat")
    assert.are.equal(0, e.private.prefix.index:stats().pinned_states)
    crowd(e)
    assert.are.equal(0, turn(e, "chat", 1, 30))
    crowd(e)
    assert.are.same({}, e.private.prefix.sessions) -- nothing is remembered of it
    assert.is_nil(e:session "chat")
    for group = 1, 1 do assert.are.equal(0, e.private.states.pins[group].n) end
    assert.are.equal(0, e.private.states.kv_pins.n)
    e:close()
  end)

  it("and its states have no age below 0 where the host's clock is set back", function()
    local ages = {}
    local e = engine { cache = { worth = function(nodes, n, values)
      for k = 1, n do
        local node = nodes[k]
        values[k] = node.tokens
        for _, age in ipairs { node.age, node.state_age, node.session_age } do ages[#ages + 1] = age end
      end
    end } }
    for k = 1, 12 do
      assert(e:submit { id = k, prompt_tokens = 18, max_tokens = 1, tokens = text(k, 18), session = k })
      while not e:idle() do e:complete(assert(e:step(100 - k)), 100 - k) end
    end
    assert.is_true(#ages > 6, #ages)
    assert.are.same({ 0, 0 }, { math.min(unpack(ages)), math.max(unpack(ages)) })
    assert.are.equal(0, e:session(12).age)
    for _, node in ipairs(e.cache:nodes()) do assert.are.equal(0, node.age) end
    e:close()
  end)

  it("may be pinned before it has a state", function()
    local e = engine()
    assert(e:submit { id = "a", prompt_tokens = 18, max_tokens = 2, tokens = text(1, 18), session = "chat" })
    assert.is_true(e:pin "chat")
    assert.are.equal(0, e:session "chat".tokens)
    serve.run(e)
    crowd(e)
    assert.are.equal(16, turn(e, "chat", 1, 20))
    e:close()
  end)

  it("stays pinned when all states are lost", function()
    local e = engine { kv_blocks = 40, kv_block_size = 4 }
    turn(e, "chat", 1, 18)
    assert.is_true(e:pin "chat")
    e:lose_states()
    assert.are.same({ 0, 0, 0 }, { e:slots().used, e:kv().used, e:session "chat".tokens })
    assert.are.equal(0, turn(e, "chat", 1, 18))
    crowd(e)
    assert.are.equal(16, turn(e, "chat", 1, 18))
    assert.is_true(e:unpin "chat")
    e:close()
  end)

  it("is pinned with others as long as something is left to requests", function()
    local e = engine() -- eight slots: six pins, one for the request that runs, one that it may read
    for k = 1, 8 do
      turn(e, k, k, 18)
      local got = { e:pin(k) }
      if k <= 6 then
        assert.are.same({ true }, got)
      else
        assert.are.same({ nil, ("session %d: a pin leaves 1 slots of group 0 to requests, want at least 2: "
                                .. "others are kept"):format(k), ECAP }, got)
      end
    end
    for k = 1, 6 do assert.are.equal(16, turn(e, k, k, 20)) end
    crowd(e)
    e:unpin(1)
    assert.is_true(e:pin(8) or not e:session(8))
    e:close()
  end)

  it("leaves attention blocks to requests, too", function()
    local e = engine({ kv_blocks = 20, kv_block_size = 4 }, { num_slots = 20 })
    turn(e, "a", 1, 42) -- a state at 40: ten blocks
    assert(e:submit { id = "large", prompt_tokens = 46, max_tokens = 2, tokens = text(9, 46) }) -- twelve
    local ok, message, code = e:pin "a"
    assert.is_nil(ok)
    assert.are.equal(ECAP, code)
    assert.are.equal("session a: 10 blocks would be pinned, want <= 8", message)
    serve.run(e)
    turn(e, "a", 1, 42)
    assert.is_true(e:pin "a")
    assert.are.same({ nil, "request larger: needs 12 blocks of attention cache, want at most 10", ECAP },
                    { e:submit { id = "larger", prompt_tokens = 46, max_tokens = 2, tokens = text(9, 46) } })
    -- Its own next turn shares what is pinned.
    assert.are.equal(40, turn(e, "a", 1, 60))
    assert.are.equal(60, e:session "a".tokens)
    e:close()
  end)

  -- Its blocks are counted as shared, so it must be let in with them.
  it("serves a prompt that needs its blocks, though others leave no slot beside", function()
    for _, slots in ipairs { 6, 9 } do
      local e = engine({ kv_blocks = slots + 14, kv_block_size = 4 }, { num_slots = slots })
      turn(e, "chat", 1, 42) -- a state at 40: ten blocks
      assert(e:pin "chat")
      local n = 0
      while e:receive(4) do n = n + 1 end
      assert.are.equal(slots - 3, n) -- a slot is left, and seven blocks
      assert.are.equal(40, turn(e, "chat", 1, 60)) -- sixteen blocks
      assert.is_true(e:verify())
      e:close()
    end
  end)

  -- The least blocks with which the session's ten are pinned while a prompt of sixteen waits.
  it("leaves to a prompt that waits what it lacks, not what it shares, on the device or the host", function()
    local function least(from, is_on_host)
      for blocks = 16, 40 do
        local e = engine({ kv_blocks = blocks, kv_block_size = 4, host_slots = is_on_host and 30 or nil },
                         { max_num_seqs = 1, num_slots = 5 })
        turn(e, "a", 1, 42) -- a state at 40: ten blocks
        for k = 1, is_on_host and 4 or 0 do turn(e, nil, 100 + k, 6) end -- a block and a state each
        local node = e.private.prefix.sessions.a.node
        assert(e:submit { id = "waits", prompt_tokens = 60, max_tokens = 4, tokens = text(from, 60) })
        local r = e.private.requests
        local i = r.index.waits
        local hit = e.private.prefix.index:match(r.ids[i], r.num_ids[i], r.known[i] - 1)
        local shared = from == 1 and node or 0
        assert.are.same(is_on_host and { shared, 0 } or { 0, shared }, { hit.host_node, hit.state_node })
        local is_pinned = e:pin "a"
        e:close()
        if is_pinned then return blocks end
      end
    end
    for _, is_on_host in ipairs { false, true } do
      assert.are.same({ 16, 26 }, { least(1, is_on_host), least(9, is_on_host) })
    end
  end)

  it("moves its pin to a newer state of fewer blocks, whatever waits", function()
    local e = engine({ kv_blocks = 20, kv_block_size = 4 }, { max_num_seqs = 1, num_slots = 20 })
    turn(e, "a", 1, 42) -- a state at 40
    assert(e:pin "a")
    assert(e:submit { id = "short", prompt_tokens = 18, max_tokens = 2, tokens = text(1, 18), session = "a" })
    assert(e:submit { id = "waits", prompt_tokens = 60, max_tokens = 4, tokens = text(1, 60) }) -- six more
    serve.run(e)
    assert.are.same({ 16, 4 }, { e:session "a".tokens, e.private.prefix.index:stats().pinned_blocks })
    assert.is_true(e:verify())
    e:close()
  end)

  it("is refused where it cannot be pinned", function()
    local e = engine()
    assert.are.same({ nil, "no session nobody", EINVAL }, { e:pin "nobody" })
    assert.are.same({ nil, "session nobody is not pinned", EINVAL }, { e:unpin "nobody" })
    turn(e, "chat", 1, 18)
    assert.are.same({ nil, "session chat is not pinned", EINVAL }, { e:unpin "chat" })
    assert.has_error(function() e:pin() end, "gdnmeta.Engine:pin: session = nil, want a number or a string")
    assert.has_error(function() e:unpin {} end,
                     "gdnmeta.Engine:unpin: session = a table, want a number or a string")
    e:close()
    e = serve.engine "fcfs"
    assert.are.same({ nil, "pin wants the engine's option hash_block_size", EINVAL }, { e:pin "chat" })
    e:close()
  end)

  it("leaves the keys of its states when they have gone: no table is laid out anew for each", function()
    local of, chat = require "gdnmeta.engine.prefix.sessions", { live = 0, node = 7, key = "chat" }
    local prefix = { sessions = { chat = chat }, newest_at = { [7] = { [chat] = true } },
                     session_at = { [7] = chat }, user_at = { [7] = "u" }, guests = {} }
    of.lost_state(prefix, 7)
    local gone = { [7] = false }
    assert.are.same({ sessions = {}, newest_at = gone, session_at = gone, user_at = gone, guests = {} },
      prefix)
    local node = {}
    of.show_session(prefix, node, prefix.session_at[7], prefix.user_at[7])
    assert.are.same({ session_requests = 0 }, node)
  end)

  it("is shown to policies and caches", function()
    local seen, kept = {}, {}
    local e = engine({ cache = {
      checkpoints = function(r) return { r.session == "chat" and 8 or r.prompt_end } end,
      keep = function(node)
        kept[#kept + 1] = tostring(node.session) .. " " .. node.user
        return true
      end,
      worth = function(nodes, n, values)
        for k = 1, n do
          local node = nodes[k]
          values[k] = node.session and 1e6 - node.session_age or node.tokens
          if node.session then seen[node.session] = node.session_requests .. " " .. node.user end
        end
      end,
    } }, { num_slots = 21 })
    assert(e:submit { id = "a", prompt_tokens = 18, max_tokens = 2, tokens = text(1, 18), session = "chat",
                      user = "u" })
    serve.run(e)
    crowd(e)
    crowd(e)
    assert.are.same({ chat = "0 u" }, seen)
    assert.are.equal("chat u", kept[1])
    assert.are.equal(8, turn(e, "chat", 1, 18)) -- worth more than all others
    assert.are.same({}, (e:failures()))
    e:close()
  end)
end)
