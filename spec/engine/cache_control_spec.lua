-- A state cache whose hooks change while the engine runs, and what it says that it holds.
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"

local engine = serve.caching_engine

local function ask(e, id, text)
  local before, blocks = e.stats.scheduled, {}
  for k = 1, 4 do blocks[k] = text * 100 + k end
  assert(e:submit(serve.request(id, { prompt_tokens = 18, max_tokens = 1, blocks = blocks })))
  serve.run(e)
  return e.stats.scheduled - before
end

describe("The cache of an engine", function()
  it("is another from the next step on, and keeps what it holds", function()
    local e = engine { cache = { name = "none", checkpoints = function() return {} end } }
    assert.are.same({ 18, 18 }, { ask(e, 1, 1), ask(e, 2, 1) })
    assert.are.same({ name = "none", states = 0, host_states = 0, slots = 0, kv_blocks = 0, evicted = 0,
                      unused = 0 }, e:cached())
    assert.is_true(e:set_cache "gdsf")
    assert.are.same({ 18, 2 }, { ask(e, 3, 1), ask(e, 4, 1) })
    local held = e:cached()
    assert.are.same({ "gdsf", 1, 1 }, { held.name, held.states, held.slots })
    assert.is_true(e:set_cache { name = "never", keep = function() return false end })
    assert.are.same({ 2, 18, 18 }, { ask(e, 5, 1), ask(e, 6, 2), ask(e, 7, 2) })
    assert.is_true(e:set_cache(nil))
    assert.are.equal("built in", e:cached().name)
    assert.are.same({ 18, 2 }, { ask(e, 8, 2), ask(e, 9, 2) })
    for n = 10, 40 do ask(e, n, n) end
    held = e:cached()
    assert.is_true(held.evicted > 10 and held.unused > 10 and held.states <= 11)
    assert.are.equal(held.slots, e:slots().used)
    e:close()
  end)

  it("stays as it was where another cannot be had", function()
    local e = engine { cache = "fifo" }
    local function refusal(what) return { e:set_cache(what) } end
    assert.are.same({ nil, "cache x has demote, which wants the option host_slots", gdn.EINVAL },
                    refusal { name = "x", demote = function() return "drop" end })
    assert.are.same({ nil, "cache: unknown field kepe, want one of checkpoints, demote, keep, name, worth",
                      gdn.EINVAL }, refusal { kepe = 1 })
    assert.matches("^no cache \"nope\", want one of", refusal("nope")[2])
    assert.matches("/no/such.lua", refusal("/no/such.lua")[2], 1, true)
    assert.are.equal("fifo", e:cached().name)
    e:close()
    e = serve.engine "fcfs"
    assert.are.same({ nil, "set_cache wants the option hash_block_size", gdn.EINVAL }, refusal "gdsf")
    assert.is_nil(e:cached())
    e:close()
  end)

  it("has its failures told after it is gone, and its text once it was read", function()
    local e = engine { cache = { name = "bad", keep = function() error "boom" end } }
    assert(e:submit(serve.request(1, { prompt_tokens = 5, max_tokens = 1, blocks = { 1 } })))
    for now = 1, 2 do e:complete(assert(e:step(now)), now) end
    for _, after in ipairs { "gdsf", false, "fifo", false } do
      assert(e:set_cache(after or nil))
      local told = e:failures()
      assert.are.same({ 1, "cache bad", "keep" }, { #told, told[1].policy, told[1].hook })
    end
    assert(e:set_cache { name = "worse", checkpoints = function() error "bang" end })
    assert(e:submit(serve.request(2, { prompt_tokens = 5, max_tokens = 1, blocks = { 2 } })))
    e:complete(assert(e:step(3)), 3)
    assert.are.same({ "cache bad", "cache worse" }, { e:failures()[1].policy, e:failures()[2].policy })
    e:close()
    assert.are.equal("mine", gdn.cache("no/such/file.lua", { source = "return { name = 'mine' }" }).name)
    assert.are.same({ nil, "cache no/such/file.lua: returns a number, want a table" },
                    { gdn.cache("no/such/file.lua", { source = "return 1" }) })
    assert.has_error(function() gdn.cache("gdsf", { source = "return {}" }) end,
                     "gdnmeta.cache: source is given, and what is no path")
  end)
end)
