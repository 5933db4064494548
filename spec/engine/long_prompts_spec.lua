-- Prompts of more blocks than 16 bits, or 2^20, count: matched, published, evicted and found again, whole.
local gdn = require "gdnmeta"

local function engine(options)
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_num_batched_tokens = 2^17,
                                       num_slots = 20, max_blocks_per_row = 2 })
  local o = { builder = builder, max_model_len = 2^21, hash_block_size = 1 }
  for name, value in pairs(options) do o[name] = value end
  return assert(gdn.engine(o))
end

-- Cached tokens of a prompt of n blocks and a token, of those that begin with `first`.
local function cached(e, id, first, n)
  local blocks, before = { first }, e.stats.cached_tokens
  for k = 2, n + 1 do blocks[k] = k end
  assert(e:submit { id = id, prompt_tokens = n + 1, max_tokens = 1, blocks = blocks })
  while not e:idle() do assert(e:complete(assert(e:step(id)), id)) end
  assert.is_true(e:verify())
  return e.stats.cached_tokens - before
end

describe("Prompts beyond 65,536 blocks", function()
  it("are found whole, in one chunk and in several", function()
    local e = engine {}
    assert.are.same({ 0, 65537, 65538 }, { cached(e, 1, 1, 65537), cached(e, 2, 1, 65537),
                                           cached(e, 3, 1, 200000) })
    assert.are.same({ 200000, 65537 }, { cached(e, 4, 1, 200000), cached(e, 5, 1, 65537) })
    assert.are.same({ 0, 200001 }, { e.cache:stats().blocks_evicted, e.cache:stats().blocks })
    e:close()
  end)

  it("lose their attention blocks to others, from the end on", function()
    local e = engine { max_model_len = 150000, kv_blocks = 160000, kv_block_size = 1 }
    assert.are.same({ 0, 0, 0, 80000 }, { cached(e, 1, 1, 70000), cached(e, 2, 2, 80000),
                                          cached(e, 3, 3, 70000), cached(e, 4, 2, 80000) })
    assert.is_true(e.cache:stats().blocks_evicted >= 60000)
    assert.are.equal(0, cached(e, 5, 1, 70000))
    e:close()
  end)

  it("of more than 2^20 have their place in the index", function()
    local e, n = engine {}, 2^20 + 100
    assert.are.same({ 0, 0, n, 5 }, { cached(e, 1, 7, 5), cached(e, 2, 8, n), cached(e, 3, 8, n),
                                      cached(e, 4, 7, 5) })
    e:close()
  end)

  it("offer a hook their first 65,536 positions", function()
    local most, blocks = 0, {}
    for k = 1, 65540 do blocks[k] = k end
    local cache = gdn.cache({ checkpoints = function(r, _, _, ctx)
      most = #ctx.every(4)
      return { r.prompt_end }
    end }, { trusted = true })
    local request = { prompt = 4 * 65540 + 1, output = 1, arrival = 0, blocks = blocks }
    gdn.sim.lab.replay({ block_size = 4, request }, cache)
    assert.are.equal(65536, most)
  end)
end)
