-- Where a tier of states on the host cannot be: which option or hook is at fault, and what is wanted.
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"

local EINVAL = -1

local function engine(options)
  local o = { host_slots = 4 }
  for name, value in pairs(options or {}) do o[name] = value end
  return serve.caching_engine(o, { num_slots = 5, num_groups = 2, max_num_seqs = 1 })
end

describe("A host tier", function()
  it("is refused by name where it cannot be", function()
    for _, value in ipairs { -1, 0 / 0, 1e300, 1.5, 2 ^ 22 + 1 } do
      local ok, message = pcall(engine, { host_slots = value })
      assert.is_false(ok)
      assert.is_truthy(message:find "host_slots = .*, want an integer in 0 .. 4194304", message)
    end
    assert.has_error(function() serve.engine("fcfs", { host_slots = 2 }) end,
                     "gdnmeta.engine: host_slots wants hash_block_size")
    assert.has_error(function() serve.engine("fcfs", { host_slots = 1 }) end,
                     "gdnmeta.engine: host_slots wants hash_block_size")
    serve.engine("fcfs", { host_slots = 0 }):close()
    local demoting = { name = "d", demote = function() return "host" end }
    assert.has_error(function() engine { host_slots = 0, cache = demoting } end,
                     "gdnmeta.engine: cache d has demote, which wants the option host_slots")
    engine({ host_slots = 1, cache = demoting }):close() -- one is enough
    local e = engine()
    assert.is_true(e:set_cache(demoting))
    local worker, why, code = gdn.worker { engine = e, model = function() end }
    assert.are.same({ nil, "the engine has host_slots, and a worker is told of no copies between device and "
                        .. "host",
                      EINVAL }, { worker, why, code })
    e:close()
    e = engine { host_slots = 0 }
    assert.are.same({ nil, "cache d has demote, which wants the option host_slots", EINVAL },
                    { e:set_cache(demoting) })
    assert.are.equal(0, e.private.steps[1].demoted.n)
    e:close()
  end)

  it("leaves a host no place where a group has none to write at once, and takes nothing then", function()
    local lib = require "gdnmeta.native"
    local builder = { num_slots = { 7, 5 }, num_groups = 2, max_num_seqs = 2 }
    local e = serve.caching_engine({ host_slots = 4 }, builder)
    local function blocks_of(text) return { 100 * text, 100 * text + 1, 100 * text + 2, 100 * text + 3 } end
    for text = 1, 6 do
      assert(e:submit(serve.request(text, { prompt_tokens = 18, max_tokens = 1, blocks = blocks_of(text) })))
      serve.run(e)
    end
    assert(e:submit(serve.request("a", { prompt_tokens = 18, max_tokens = 4, blocks = blocks_of(9) })))
    rawset(e.private.builder, "build", function() return nil, "refused", -3 end)
    assert.is_nil(e:step(40))
    rawset(e.private.builder, "build", nil)
    while e.private.prefix:evict_state() do end
    local pools = e.private.states.pools
    local function free()
      return { tonumber(lib.gdn_slots_available(pools, 0)), tonumber(lib.gdn_slots_available(pools, 1)) }
    end
    local before, place, message
    repeat
      before = free()
      place, message = e:receive(16)
    until not place
    assert.are.equal("a state of 16 tokens finds no free state slot to write", message)
    assert.is_true(before[1] > 0 and before[2] > 0)
    assert.are.same(before, free())
    assert(e:verify())
    e:close()
  end)
end)
