-- A state that a row with drafts left is copied to another engine: the request equals itself alone there, bit
-- for bit, where receive() is told how many tokens that row accepted.
local layer_kernel = require "spec.support.layer_kernel"
local serve = require "spec.support.run_engine"

local GROUPS, TOKENS, FAMILY = 2, 60, 3

local function side(mode)
  local b = { num_groups = GROUPS, num_speculative_tokens = 2, num_slots = 20, mamba_cache_mode = mode,
              mamba_block_size = mode == "align" and 4 or nil, max_blocks_per_row = 24 }
  local engine = serve.engine("fcfs", { max_model_len = TOKENS - 4 }, b)
  return { engine = engine, kernel = layer_kernel.new(engine, TOKENS, {}) }
end

-- A step of the one request; so many of its drafts are right.
local function step(of, now, right)
  local made = assert(of.engine:step(now))
  local n, drafts = made.query_len[0], made.drafts[0]
  local accepted = math.min(right, math.max(drafts, 0))
  of.kernel:run(made, { { id = made:id(0), family = FAMILY, n = n, drafts = drafts, accepted = accepted,
                          computed = made.seq_len[0] - n } }, "step " .. now)
  made.accepted_drafts[0] = accepted
  assert(of.engine:complete(made, now))
end

local function copy(from, to, state, place)
  for g = 0, GROUPS - 1 do
    local a, b, size = from.kernel.layers[g].pool, to.kernel.layers[g].pool, from.kernel.layers[g].state_size
    local old, new = state.slots[g + 1], place.slots[g + 1]
    for k = 0, a.window_size - 1 do
      b.windows[new * a.window_size + k] = a.windows[old * a.window_size + k]
    end
    for k = 0, size - 1 do b.states[new * size + k] = a.states[old * size + k] end
  end
end

describe("A state that moves to another engine #lua", function()
  for _, mode in ipairs { "none", "align" } do
    for right = 0, 2 do
      it(("is what it was, mode %s, after %d accepted drafts"):format(mode, right), function()
        local from, to = side(mode), side(mode)
        assert(from.engine:submit { id = "a", prompt_tokens = 3, max_tokens = 20 })
        step(from, 1, 0)
        step(from, 2, right)
        local state = assert(from.engine:export "a")
        assert.are.same({ 4 + right, 1 + right }, { state.tokens, state.accepted })
        local place = assert(to.engine:receive(state.tokens, state.accepted))
        assert.are.equal(state.accepted, place.accepted)
        copy(from, to, state, place)
        assert(to.engine:submit { id = "a", prompt_tokens = state.tokens + 1, max_tokens = 9, slot = place })
        from.engine:release(state)
        to.engine:release(place)
        for now = 3, 5 do step(to, now, 1) end
        for now = 3, 5 do step(from, now, 1) end
        assert.are.equal(3 * GROUPS, to.kernel.steps)
      end)
    end
  end

  it("has 1 .. S + 1 tokens accepted, and is no place for a chunk's state but with 1", function()
    local engine = side("none").engine
    for _, wrong in ipairs { 0, 4, 1.5, "2" } do
      assert.has_error(function() engine:receive(5, wrong) end)
    end
    local place = assert(engine:receive(5, 3))
    local ok, message = engine:submit { id = "a", prompt_tokens = 20, max_tokens = 2, keep = place }
    assert.is_nil(ok)
    assert.matches("keep.accepted = 3, want 1", message, 1, true)
    engine:release(place)
    assert.is_true(engine:verify())
  end)
end)
