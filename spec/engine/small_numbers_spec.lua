-- Numbers that an engine gives: those of names come back with the last request of a name, and slots say whose
-- they are.
local lib = require "gdnmeta.native"
local name_numbers = require "gdnmeta.engine.name_numbers"
local serve = require "spec.support.run_engine"

describe("Numbers of names", function()
  it("are those that were given back, the latest first, before there are new ones", function()
    local names, given = name_numbers.new(), {}
    for n = 1, 5 do given[n] = names:hold("name " .. n) end
    assert.are.same({ 0, 1, 2, 3, 4 }, given)
    assert.are.same({ 0, 0 }, { names.waiting[0], names.waiting[4] }) -- who waits is for others to say
    assert.are.equal(2, names:hold "name 3") -- a second holder
    for _, number in ipairs { 2, 1, 3 } do names:drop(number) end
    assert.are.same({ "name 3", 1 }, { names.name[2], names.holders[2] })
    assert.are.same({ 3, 1, 5 }, { names:hold "a", names:hold "b", names:hold "c" })
    for _, number in ipairs { 0, 1, 2, 3, 4, 5 } do names:drop(number) end
    assert.are.same({ {}, {} }, { names.number, names.name })
    for n = 1, 100 do names:drop(names:hold("one at a time " .. n)) end
    assert.are.same({ 6, 6 }, { names.size, #names.free })
  end)

  it("are few, however many users and classes an engine has seen", function()
    local engine = serve.engine "fcfs"
    local users, classes = engine.private.users, engine.private.classes
    for n = 1, 60, 2 do
      for id = n, n + 1 do
        local names = { user = "user " .. id, class = "class " .. n, max_tokens = 1 }
        assert(engine:submit(serve.request(id, names)))
      end
      serve.run(engine)
    end
    assert.are.same({ 2, 1, 2, 1 }, { users.size, classes.size, #users.free, #classes.free })
    engine:close()
  end)
end)

describe("A slot's owner", function()
  it("is the request whose slot it is, and 0 for a state of a host", function()
    local engine = serve.engine("fcfs", nil, { num_groups = 2, num_slots = 9, max_blocks_per_row = 2 })
    for _, id in ipairs { "a", "b" } do assert(engine:submit(serve.request(id))) end
    assert(engine:complete(assert(engine:step(1)), 1))
    local p = engine.private
    local used = engine:slots().used
    local place = assert(engine:receive(8))
    assert.are.equal(used + 2, engine:slots().used)
    local kept = assert(engine:export "b")
    for group = 0, 1 do
      local function owner(slot) return lib.gdn_slots_owner(p.states.pools, group, slot) end
      local owners = { owner(place.slots[group + 1]), owner(kept.slots[group + 1]) }
      for _, id in ipairs { "a", "b" } do
        local i = p.requests.index[id]
        local slot = p.states.tables[group][p.requests.table_row[i] * p.states.width]
        owners[#owners + 1] = owner(slot)
      end
      local a, b = p.requests.index.a, p.requests.index.b
      assert.are.same({ 0, b, a, b }, owners)
    end
    engine:close()
  end)
end)
