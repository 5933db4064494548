-- engine.cache: what a state cache holds, as figures, as a list of nodes, and as a tree.
local raises = require "spec.support.raises"
local serve = require "spec.support.run_engine"

local request = serve.request

-- Ids from + 1 .. from + n after those given.
local function ids(list, from, n)
  local copy = { unpack(list) }
  for k = 1, n do copy[#copy + 1] = from + k end
  return copy
end

local function play(e, id, prompt, blocks)
  assert(e:submit(request(id, { prompt_tokens = prompt, max_tokens = 1, blocks = blocks, arrival = id })))
  local now = id
  while not e:idle() do
    local step = assert(e:step(now))
    now = now + 0.25
    assert(e:complete(step, now))
  end
end

describe("The state cache of an engine, shown", function()
  local e
  local system = ids({}, 0, 2)
  before_each(function()
    e = serve.caching_engine({ cache = "gdsf" }, { num_slots = 30 })
    play(e, 1, 18, ids(system, 10, 2)) -- leaves a state at 16
    play(e, 2, 18, ids(system, 20, 2)) -- parts from it at 8: leaves one there, and at 16
    play(e, 3, 26, ids(ids(system, 20, 2), 30, 2)) -- goes on from 16
  end)
  after_each(function() e:close() end)

  it("has figures", function()
    local stats = e.cache:stats()
    assert.are.same({ 4, 4, 4, 0, 1, 16, 8 }, { stats.states, stats.nodes, stats.states_made,
      stats.states_evicted, stats.hits, stats.cached_tokens, stats.blocks })
    assert.are.equal(stats, e.cache:stats(stats))
    assert.are.same({ e.stats.hits, e.stats.cached_tokens }, { stats.hits, stats.cached_tokens })
    assert.are.same({ "gdsf", 4 }, { e.cache.name, e.cache.block_size })
  end)

  it("is asked with a colon", function()
    local cache = e.cache
    raises("gdnmeta.StateCache:stats: call it with a colon", function() cache.stats() end)
    raises("gdnmeta.StateCache:health: call it with a colon", function() cache.health {} end)
    raises("gdnmeta.StateCache:nodes: call it with a colon", function() cache.nodes(3) end)
  end)

  it("lists nodes before those that go on from them, the most used first", function()
    local shown = {}
    for i, n in ipairs(e.cache:nodes()) do
      shown[i] = { n.depth, n.tokens, n.length, n.state, n.state_hits, n.children, n.refs }
    end
    assert.are.same({ { 1, 8, 8, true, 0, 2, 0 }, { 2, 16, 8, true, 1, 1, 0 }, { 3, 24, 8, true, 0, 0, 0 },
                      { 2, 16, 8, true, 0, 0, 0 } }, shown)
    assert.are.equal(2, #e.cache:nodes(2))
    assert.are.equal(0, #e.cache:nodes(0))
    for value, text in pairs { x = '"x"', [-1] = "-1", [1.5] = "1.5" } do
      raises(("gdnmeta.StateCache:nodes: most = %s, want an integer in 0 .. 2147483647"):format(text),
             function() e.cache:nodes(value) end)
    end
  end)

  it("counts those who hold a node while they run", function()
    assert(e:submit(request(9, { prompt_tokens = 18, blocks = ids(system, 20, 2) })))
    assert(e:step(9))
    assert.are.same({ 1, 1 }, { e.cache:nodes()[1].refs, e.cache:nodes()[2].refs })
  end)

  it("is drawn as a tree", function()
    local lines = {}
    for line in tostring(e.cache):gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.are.same({
      "gdnmeta.StateCache(gdsf, blocks of 4 tokens)",
      "  4 states at the ends of 4 nodes, 8 blocks; 1 hit and 4 states made so far, 0 states evicted",
      "            tokens   of them    hits   reads  refs unused, s",
      "  *              8         8       1       0     0         0",
      "  |-*           16         8       1       1     0         0",
      "  | `-*         24         8       0       0     0         0",
      "  `-*           16         8       0       0     0         2",
    }, lines)
  end)

  it("says that there is more where there is: past 24 nodes", function()
    local wide = serve.caching_engine({ cache = "every_block" }, { num_slots = 200 })
    local id, seen = 0, {}
    while wide.cache:stats().nodes < 26 do
      id = id + 1
      play(wide, id, 5, { id })
      local drawn, nodes = tostring(wide.cache), wide.cache:stats().nodes
      local _, lines = drawn:gsub("\n", "\n")
      seen[nodes] = drawn:match "\n  %.%.%. (.*)$" or lines
    end
    assert.are.same({ 25, 26, "1 node more", "2 nodes more" }, { seen[23], seen[24], seen[25], seen[26] })
    wide:close()
  end)

  it("is indented to its 16th level", function()
    local deep = serve.caching_engine({ cache = "every_block" }, { num_slots = 60 })
    local blocks, before, indents = {}, -2, {}
    for level = 1, 18 do
      blocks[level] = level
      play(deep, level, 4 * level + 1, { unpack(blocks) })
    end
    for indent in tostring(deep.cache):gmatch "\n  ( *`?%-?)%*" do
      indents[#indents + 1] = #indent - before
      before = #indent
    end
    assert.are.same({ 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0 }, indents)
    deep:close()
  end)

  it("is bounded, however much there is", function()
    for id = 10, 200 do play(e, id, 14, ids({}, 100 * id, 3)) end
    local text = tostring(e.cache)
    assert.is_true(#text < 3000)
    assert.matches("\n  %.%.%. %d+ nodes more$", text)
    assert.are.equal(e.cache:stats().nodes, #e.cache:nodes())
    assert.is_true(e.cache:stats().states_evicted > 100)
  end)

  it("says which hooks never answer, and when a cache is switched off", function()
    local cache = { keep = function() error "no" end, worth = function() end }
    local broken = serve.caching_engine { cache = cache }
    assert.are.same({ true, {} }, { broken.cache:health() })
    for id = 1, 3 do play(broken, id, 14, ids({}, 100 * id, 3)) end
    local enabled, never = broken.cache:health()
    assert.are.same({ true, { keep = 3 } }, { enabled, never })
    local record = broken:failures()[1]
    assert.are.same({ "keep", true }, { record.hook, record.cache })
    broken:close()
  end)

  it("is none without hash_block_size, and closed with the engine", function()
    local plain = serve.engine "fcfs"
    assert.is_false(plain.cache)
    plain:close()
    local closing = serve.caching_engine()
    assert.are.equal("built in", closing.cache.name)
    closing:close()
    assert.are.equal("gdnmeta.StateCache(closed)", tostring(closing.cache))
    local ok, message = pcall(function() closing.cache:stats() end)
    assert.is_false(ok)
    assert.matches("show_cache_spec.lua:%d+: gdnmeta.Engine: closed", message)
  end)
end)
