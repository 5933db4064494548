-- States of more blocks of attention cache than LuaJIT's unpack() gives: received, kept and exported.
local serve = require "spec.support.run_engine"

local MANY = 9000

describe("A state of 9000 blocks", function()
  local function engine()
    return serve.engine("fcfs", { kv_blocks = 60000, kv_block_size = 1, max_model_len = 20000 },
                        { max_blocks_per_row = 2, num_slots = 9, max_num_batched_tokens = 16384 })
  end

  it("has a place, is exported, and gives all back", function()
    local e = engine()
    local place = assert(e:receive(MANY))
    assert.are.equal(MANY, #place.kv_blocks)
    assert(e:submit { id = 1, prompt_tokens = 12000, max_tokens = 2 })
    assert(e:complete(assert(e:step(1)), 1))
    local state = assert(e:export(1))
    assert.are.equal(12000, #state.kv_blocks)
    assert.is_true(e:verify())
    e:release(place)
    e:release(state)
    serve.run(e)
    assert.are.same({ 0, 0 }, { e:slots().used, e:kv().used })
    e:close()
  end)

  it("is left in its place by a prompt, whatever the host has made of its table", function()
    local e, asked = engine(), 0
    local place = assert(e:receive(9024))
    place.kv_blocks = nil
    setmetatable(place, { __newindex = function() asked = asked + 1 end })
    assert(e:submit { id = 1, prompt_tokens = 12000, max_tokens = 2, keep = place })
    local step = assert(e:step(1))
    assert.are.same({ place }, step.kept)
    assert(e:complete(step, 1))
    assert.are.same({ 9024, 0 }, { #place.kv_blocks, asked })
    assert.is_true(e:verify())
    e:release(place)
    serve.run(e)
    assert.are.same({ 0, 0 }, { e:slots().used, e:kv().used })
    e:close()
  end)
end)
