-- States of the cache on the host: what steps tell the host to copy, what hooks decide, and that nothing is
-- in two places.
local growth = require "spec.support.growth"
local host_copies = require "spec.support.host_copies"
local serve = require "spec.support.run_engine"

local function ids(text, n)
  local list = {}
  for k = 1, n do list[k] = 100 * text + k end
  return list
end

-- One request after the other; what each step tells.
local function ask(e, id, text, fields)
  local before, told = e.stats.scheduled, { demoted = {}, restored = {} }
  local given = { prompt_tokens = 18, max_tokens = 1, blocks = ids(text, 4) }
  for name, value in pairs(fields or {}) do given[name] = value end
  assert(e:submit(serve.request(id, given)))
  while not e:idle() do
    local step = assert(e:step(e.step_number))
    host_copies.make(step, e.builder.num_groups, function(g, from, to, is_back)
      local list = told[is_back and "restored" or "demoted"]
      list[#list + 1] = { g, from, to }
    end)
    assert(e:verify())
    assert(e:complete(step, e.step_number))
    assert(e:verify())
  end
  return e.stats.scheduled - before, told
end

local function engine(options, builder)
  local o, b = { host_slots = 4 }, { num_slots = 5, num_groups = 2, max_num_seqs = 1 }
  for name, value in pairs(options or {}) do o[name] = value end
  for name, value in pairs(builder or {}) do b[name] = value end
  return serve.caching_engine(o, b)
end

-- Texts 1 to n, of which only the last few have room on the device.
local function fill(e, n)
  for text = 1, n do ask(e, "fill " .. text, text) end
end

local function stats_of(e)
  local s = e.cache:stats()
  return { s.states, s.host_states, s.demoted, s.restored }
end

describe("A host tier", function()
  it("takes what leaves the device, and gives it to the request that goes on from it", function()
    local e = engine()
    local _, told = ask(e, 1, 1)
    assert.are.same({ demoted = {}, restored = {} }, told)
    local own = e.cache:nodes()
    fill(e, 4)
    assert.are.same({ 3, 1, 1, 0 }, stats_of(e))
    local tokens
    tokens, told = ask(e, 2, 1)
    assert.are.equal(2, tokens)
    assert.are.equal(2, #told.restored)
    assert.are.same({ 0, 1 }, { told.restored[1][1], told.restored[2][1] })
    assert.are.equal(told.restored[1][2], told.restored[2][2])  -- one place of the host for all groups
    assert.is_true(own[1].state and not own[1].on_host)
    assert.are.equal(1, e.cache:stats().restored)
    for _, node in ipairs(e.cache:nodes()) do
      assert.are.equal(node.on_host, e.private.prefix.index:describe(node.id).on_host)
    end
    assert.matches("states and %d on the host at the ends", tostring(e.cache))
    assert.is_truthy(tostring(e.cache):find "host 2") -- it was read on the device, too
    e:close()
  end)

  it("restores into the request's own slots, and holds no more of them than without a hit", function()
    local e = engine()
    fill(e, 4)
    assert(e:submit(serve.request("a", { prompt_tokens = 18, max_tokens = 3, blocks = ids(1, 4) })))
    local step = assert(e:step(50))
    assert.are.equal(1, step.restored.n)
    local table_row, width = step.table_row[0], e.private.states.width
    for g = 0, 1 do
      local slot = step.restored.to[g]
      assert.are.equal(e.private.states.tables[g][table_row * width], slot)
      local group = step.metadata:group(g)
      assert.are.equal(slot, group.non_spec_read_state_indices[0])
      assert.are.equal(slot, group.non_spec_state_indices_tensor[0])
    end
    assert.are.equal(0, e.private.states.num_sourced)
    assert.is_true(step.metadata.has_initial_state[0] ~= 0 and step.metadata.has_initial_state[0] ~= false)
    assert(e:complete(step, 51))
    step = assert(e:step(52))
    assert.are.equal(0, step.restored.n)
    e:close()
  end)

  it("lets its own least recently used state go", function()
    local e = engine { host_slots = 2 }
    fill(e, 9)
    assert.are.same({ 3, 2, 6, 0 }, stats_of(e))
    assert.are.equal(18, (ask(e, "a", 1)))
    e:close()
    e = engine { host_slots = 2 }
    fill(e, 4)
    ask(e, "again", 1)
    fill(e, 0)
    for text = 5, 6 do ask(e, text, text) end
    assert.are.equal(2, (ask(e, "a", 1))) -- it was read since it came there
    e:close()
  end)

  it("asks demote, with the node, and drops what the hook drops", function()
    local seen = {}
    local e = engine { cache = { demote = function(node, ctx)
      seen[#seen + 1] = { node.tokens, node.on_host, ctx.host_slots, node.user }
      return node.user == "keep" and "host" or "drop"
    end } }
    for text = 1, 6 do ask(e, text, text, { user = text % 2 == 0 and "keep" or "drop" }) end
    assert.are.same({ 16, false, 4, "drop" }, seen[1])
    assert.are.equal(3, #seen)
    assert.are.same({ 18, 2 }, { (ask(e, "a", 1)), (ask(e, "b", 2)) })
    e:close()
  end)

  it("rates states of the host by worth", function()
    local e = engine { host_slots = 12, cache = { worth = function(nodes, n, values)
      for k = 1, n do values[k] = nodes[k].user == "dear" and 9 or 1 end
    end } }
    ask(e, 0, 1, { user = "dear" })
    for text = 2, 4 do ask(e, text, text, { user = "dear" }) end -- the device has dear ones only
    for text = 5, 60 do ask(e, text, text, { user = "cheap" }) end
    assert.are.equal(2, (ask(e, "a", 1)))
    e:close()
  end)

  it("goes on where demote loops, errs, yields or answers nonsense, and says so", function()
    local wrongs = {
      { function() while true do end end, "instruction budget spent" },
      { function() error "demote broke" end, "demote broke" },
      { coroutine.yield, "yield" },
      { function() return "gone" end, 'demote returned "gone", want "host" or "drop"' },
      { function() end, 'demote returned nil, want "host" or "drop"' },
      { function(node) node.id, node.tokens = nil, {} return 1 end, "demote returned 1" },
      { function(node) return setmetatable(node, { __newindex = error }) end, "a protected metatable" },
    }
    for _, wrong in ipairs(wrongs) do
      local cache = { name = "wrong", demote = wrong[1] }
      local e = engine { cache = cache, breaker = 1000, policy_budget = 10000 }
      fill(e, 5)
      local record = e:failures()[1]
      assert.are.same({ "cache wrong", "demote" }, { record.policy, record.hook })
      assert.is_truthy(record.message:find(wrong[2], 1, true), record.message)
      assert.are.equal(2, e.cache:stats().host_states, wrong[2])
      assert.are.equal(2, (ask(e, "a", 1)))
      e:close()
    end
  end)

  it("tells copies with the step whose kernels overwrite the slots, also after a build that was refused",
     function()
    local e = engine()
    fill(e, 4)
    local told = e.cache:stats().demoted
    assert(e:submit(serve.request("a", { prompt_tokens = 18, max_tokens = 1, blocks = ids(5, 4) })))
    local build = e.builder.build
    rawset(e.private.builder, "build", function() return nil, "refused", -3 end)
    assert.are.same({ nil, "refused", -3 }, { e:step(40) })
    rawset(e.private.builder, "build", build)
    e.private.prefix:evict_state()
    local waiting = e.private.prefix.host.num_leaving
    assert.is_true(waiting > 0)
    assert.are.same({ told + waiting, told }, { e.cache:stats().host_states, e.cache:stats().demoted })
    assert(e:verify())
    local step = assert(e:step(41))
    assert.are.same({ waiting, told + waiting }, { step.demoted.n, e.cache:stats().demoted })
    assert(e:complete(step, 42))
    e:close()
  end)

  -- The first of four places is that of a state which a request waits for; the second state that leaves
  -- the device in this step gives way to the fifth before it is copied.
  it("copies the others where one of several leaves the host before it is copied", function()
    local e, from = engine({}, { num_slots = 8, num_groups = 4, max_num_seqs = 5 }), {}
    fill(e, 7)
    for text = 8, 12 do
      assert(e:submit(serve.request(text, { prompt_tokens = 18, max_tokens = 1, blocks = ids(text, 4) })))
    end
    assert(e:submit(serve.request("again", { prompt_tokens = 18, blocks = ids(1, 4) })))
    local step = assert(e:step(50))
    for k = 0, 11 do from[k + 1] = step.demoted.from[k] end
    assert.are.same({ 4, 4, 4, 4, 3, 3, 3, 3, 5, 5, 5, 5 }, from) -- the state of text n has lain in slot n
    local to = step.demoted.to
    assert.are.same({ 3, 3, 2, 1 }, { step.demoted.n, to[0], to[1], to[2] })
    assert(e:verify())
    e:close()
  end)

  it("gives away no slot that is yet to be copied from, and no state that is yet to be copied", function()
    local e = engine(nil, { max_num_seqs = 2 })
    fill(e, 4)
    local tier, pools = e.private.prefix.host, e.private.states.pools
    assert(e:submit(serve.request("a", { prompt_tokens = 18, max_tokens = 4, blocks = ids(1, 4) })))
    rawset(e.private.builder, "build", function() return nil, "refused", -3 end)
    assert.is_nil(e:step(40))
    rawset(e.private.builder, "build", nil)
    for _, method in ipairs { "fork", "export" } do
      local ok, message = e[method](e, "a", { id = "b" })
      assert.is_nil(ok)
      assert.are.equal("request a begins with a state that is to be copied from the host, run its step first",
                       message)
    end
    e.private.prefix:evict_state()
    assert.is_true(tier.num_leaving > 0)
    local awaited = {}
    for k = 0, tier.num_leaving - 1 do awaited[tier.from[2 * k]] = true end
    local lib = require "gdnmeta.native"
    assert.is_true(lib.gdn_slots_available(pools, 0) > 0)
    local place = e:receive(16)
    while place do
      assert.is_nil(awaited[place.slots[1]])
      place = e:receive(16)
    end
    assert(e:verify())
    local step = assert(e:step(41))
    assert.are.equal(1, step.restored.n)
    assert(e:complete(step, 42))
    assert.is_truthy(e:export "a")
    e:close()
  end)

  it("loses all with the device", function()
    local e = engine()
    fill(e, 6)
    assert.is_true(e.cache:stats().host_states > 0)
    e:lose_states()
    assert.are.same({ 0, 0 }, { e.cache:stats().states, e.cache:stats().host_states })
    assert(e:verify())
    local tokens, told = ask(e, "a", 1)
    assert.are.same({ 18, {}, {} }, { tokens, told.demoted, told.restored })
    e:close()
  end)

  it("keeps a pinned session's state where it is", function()
    local e = engine({ host_slots = 3 }, { num_slots = 7 })
    ask(e, 1, 1, { session = "s" })
    for text = 2, 6 do ask(e, text, text) end
    assert.are.equal(1, e.cache:stats().host_states)
    assert.is_true(e:pin "s")
    for text = 7, 20 do ask(e, text, text) end
    assert.are.equal(2, (ask(e, "a", 1)))
    assert(e:verify())
    assert.is_true(e:unpin "s")
    for text = 21, 30 do ask(e, text, text) end
    assert.are.equal(18, (ask(e, "b", 1)))
    e:close()
  end)

  it("makes no garbage where states come and go", function()
    local e = engine()
    fill(e, 4)
    local prefix, tier = e.private.prefix, e.private.prefix.host
    local index, back, now = prefix.index, require("gdnmeta.array_of") "int32_t"(2), 100
    local function loop()
      for _ = 1, 2000 do
        now = now + 1
        index:advance(now)
        local node = index:first(index.STATES)
        local slots = tier:take_in(node)
        back[0], back[1] = slots[0], slots[1]
        tier:give_back(index:move_state(node, index.DEVICE, back)[0])
      end
    end
    for _ = 1, 4 do loop() end
    assert.is_true(1024 * growth(loop) / 2000 < 4)
    assert(e:verify())
    e:close()
  end)

  it("is found out where its books are wrong", function()
    local breaks = {
      ["host slot 0 has 1 states, and is free"] = function(tier) tier:give_back(0) end,
      ["host slot 2 has 0 states, and is taken"] = function(tier) tier.num_free = tier.num_free - 1 end,
      ["host slot 2 is free twice"] = function(tier) tier:give_back(2) end,
      ["a state is to be copied to host slot 2, which is free"] = function(tier)
        tier.to[0], tier.num_leaving = 2, 1
      end,
    }
    for want, spoil in pairs(breaks) do
      local e = engine()
      fill(e, 5)
      assert.are.equal(2, e.private.prefix.host.num_free)
      spoil(e.private.prefix.host)
      local ok, message = e:verify()
      assert.is_nil(ok, want)
      assert.are.equal("gdnmeta.engine: " .. want, message)
      e:close()
    end
  end)
end)
