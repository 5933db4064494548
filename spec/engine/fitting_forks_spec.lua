-- A fork needs its whole text in attention cache beside the block that its state has begun, which is kept for
-- it, and beside what is kept for others. One that would wait for ever is refused.
local serve = require "spec.support.run_engine"

local BLOCK = 5

local function engine(blocks)
  local e = serve.engine("fcfs", { kv_blocks = blocks, kv_block_size = BLOCK, max_model_len = 17 },
                         { num_slots = 12, max_blocks_per_row = 2 })
  local kept = assert(e:receive(3 * BLOCK))
  assert(e:submit { id = "a", prompt_tokens = 1, max_tokens = 2 })
  assert(e:complete(assert(e:step(1)), 1))
  return e, kept
end

describe("A fork that says more than its request", function()
  it("is refused where it could never run", function()
    local e, kept = engine(7)
    local ok, message = e:fork("a", { id = "b", max_tokens = 24 })
    assert.are.same({ [2] = "request b: needs 4 blocks of attention cache, want at most 3" }, { ok, message })
    assert.is_true(e:verify())
    assert.is_truthy(serve.run(e).finished.a)
    e:release(kept)
    assert.are.same({ 0, 0 }, { e:slots().used, e:kv().used })
    e:close()
  end)

  it("runs to its end where there is one block more", function()
    local e, kept = engine(8)
    assert(e:fork("a", { id = "b", max_tokens = 24 }))
    assert.is_truthy(serve.run(e).finished.b)
    e:release(kept)
    assert.are.same({ 0, 0 }, { e:slots().used, e:kv().used })
    e:close()
  end)
end)
