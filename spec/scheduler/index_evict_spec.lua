-- Who goes first from an index, what pins keep, and what it counts.
local ffi = require "ffi"
local Index = require "gdnmeta.engine.prefix.index"
local lib = require "gdnmeta.native"
local drawer = require "spec.support.drawer"
local growth = require "spec.support.growth"
local small = require "spec.support.small_index"

local ECAP = tonumber(lib.GDN_ECAP)
local ints_t = ffi.typeof "int32_t[64]"

describe("An index that is full", function()
  it("gives the least of all to be rated", function()
    local index, values = small.new { max_nodes = 1000, max_blocks = 2000 }, {}
    for k = 1, 300 do
      assert(small.publish(index, string.char(1 + k % 250, 1 + math.floor(k / 250)), small.slots_of()))
    end
    small.step(index)
    for _ = 1, 40 do
      small.rate(index, Index.STATES, function(node)
        values[node.id] = node.id * 7919 % 1009
        return values[node.id]
      end)
    end
    local sorted, seen = {}, {}
    for _, value in pairs(values) do sorted[#sorted + 1] = value end
    table.sort(sorted)
    assert.are.equal(300, #sorted)
    for most = 1, 256, 15 do
      local _, n, given = index:candidates(Index.STATES, most)
      for k = 1, n do seen[given[k]] = most end
      for k = 1, most - math.floor(most / 4) do assert.are.equal(most, seen[sorted[k]]) end
    end
  end)

  -- While all are new, and once all were rated.
  it("looks at 32 nodes after each eight looks at 8, as long as most are new", function()
    local index = small.new { max_nodes = 1000, max_blocks = 2000 }
    for k = 1, 100 do assert(small.publish(index, string.char(k), small.slots_of())) end
    small.step(index)
    for _, is_new in ipairs { true, false } do
      local want, got = {}, {}
      for look = 1, 45 do
        want[look] = is_new and look % 9 == 0 and 32 or 8
        got[look] = select(2, index:candidates(Index.STATES))
        if not is_new then got[look] = math.max(got[look], 8) end -- one may be the least, and in turn
      end
      assert.are.same(want, got)
      for _ = 1, 40 do small.rate(index, Index.STATES, function(node) return node.id end) end
    end
  end)

  it("does so where half of those that it looked at last were new, and not where fewer were", function()
    local index, last, few, met = small.new { max_nodes = 1000, max_blocks = 2000 }, 0, 0, { 0, 0, 0 }
    local random = drawer(11)
    for look = 1, 400 do
      for _ = 1, look == 1 and 60 or random(5) - 1 do
        last = last + 1
        small.publish(index, string.char(1 + last % 250, 1 + math.floor(last / 250)), small.slots_of())
      end
      small.step(index)
      local is_many = few >= 8 and met.new
      local nodes, n, values = index:candidates(Index.STATES)
      local most, new = is_many and 32 or 8, 0
      assert.is_true(n <= most and n > most - 8, n) -- one may be the least, and in turn
      for k = 1, n do
        new, values[k] = new + (nodes[k].is_new and 1 or 0), nodes[k].id
      end
      few, met.new = is_many and 0 or few + 1, 2 * new >= most
      local kind = is_many and 1 or few >= 8 and (met.new and 2 or 4 * new >= most and 3)
      if kind then met[kind] = met[kind] + 1 end
      if random(3) > 1 then index:rate(Index.STATES, n, values) end
      if random(4) == 1 then index:drop_state(index:first(Index.STATES)) end
    end
    assert.is_true(met[1] > 3 and met[2] > 3 and met[3] > 3, table.concat(met, " "))
  end)

  it("takes no value for a node that waits elsewhere, or not at all", function()
    local index = small.filled({}, "ab", "cd")
    local ab, cd = small.match(index, "ab").state_node, small.match(index, "cd").state_node
    assert(index:move_state(ab, Index.ON_HOST, small.slots_of()))
    local nodes, values = ffi.new("int32_t[3]", ab, cd, 9), ffi.new("double[3]", 5, 6, 7)
    local function rated(kind)
      local list, n, given = index:candidates(kind, 64)
      for k = 1, n do list[k] = { list[k].id, given[k] } end
      return { unpack(list, 1, n) }
    end
    assert.are.equal(0, lib.gdn_index_rate(index.handle, Index.STATES, nodes, values, 3))
    assert.are.same({ { cd, 6 } }, rated(Index.STATES))
    local on_host = rated(Index.HOST)
    assert.is_true(#on_host == 1 and on_host[1][1] == ab and on_host[1][2] ~= on_host[1][2]) -- NaN: never
  end)

  it("without values lets go of what was used longest ago, leaves first", function()
    local index = small.filled({}, "ab", "cd", "abx", "aby", "cdz")
    small.match(index, "abx")
    index:lock()
    index:unlock_state(index.hit.state_node)
    index:unlock(index.hit.node)
    assert.are.same({ "aby", "cdz", "cd", "abx", "ab" }, small.order(index))
  end)

  it("lets go of the least value, wherever it was rated", function()
    local names, index = {}, small.new { max_nodes = 1000, max_blocks = 2000 }
    for k = 1, 300 do
      names[k] = string.char(200 + k % 7, k % 128, math.floor(k / 128))
      assert(small.publish(index, names[k], small.slots_of()))
    end
    small.step(index)
    local function value(node) return node.id * 7919 % 1009 end
    for _ = 1, 40 do small.rate(index, Index.STATES, value) end
    local last = -1
    for _ = 1, 300 do
      local node = index:first(Index.STATES)
      local worth = index:describe(node).id * 7919 % 1009
      assert.is_true(worth >= last)
      last = worth
      index:drop_state(node)
    end
    assert.are.equal(0, index:first(Index.STATES))
  end)

  it("asks again for what was used, and shows what it was worth before", function()
    local index = small.filled({}, "ab", "cd", "ef")
    assert.are.equal(3, small.rate(index, Index.STATES, function(node) return node.id end))
    small.match(index, "abcd")
    index:lock()
    index:unlock_state(index.hit.state_node)
    local nodes, n, values = index:candidates(Index.STATES, 64)
    local shown = {}
    for k = 1, n do shown[nodes[k].id] = ("%g %s"):format(values[k], tostring(nodes[k].is_new)) end
    assert.are.same({ "1 true", "2 false", "3 false" }, shown)
    assert.are.equal(2, index:first(Index.STATES))
    small.publish(index, "gh", small.slots_of())
    small.step(index)
    nodes, n, values = index:candidates(Index.STATES, 1)
    assert.are.same({ 1, 2 }, { n, nodes[1].id })
    assert.are.equal(2, values[1])
  end)

  it("comes back to every value in time, for values that change by themselves", function()
    local index = small.new { max_nodes = 1000, max_blocks = 1000 }
    for k = 1, 500 do
      small.publish(index, string.char(1 + k % 250, 1 + math.floor(k / 250)), small.slots_of())
    end
    small.step(index)
    for _ = 1, 40 do small.rate(index, Index.STATES, function(node) return node.id end) end
    local seen, count = {}, 0
    for _ = 1, 40 do -- 16 of a batch of 64 walk
      local nodes, n = index:candidates(Index.STATES, 64)
      for k = 1, n do
        if not seen[nodes[k].id] then seen[nodes[k].id], count = true, count + 1 end
      end
    end
    assert.are.equal(500, count)
  end)

  it("rates nothing where one value is none", function()
    local index = small.filled({}, "ab", "cd")
    local _, n, values = index:candidates(Index.STATES, 64)
    for _, bad in ipairs { 0 / 0, "5", true } do
      values[1], values[2] = 9, bad
      assert.are.equal(2, index:rate(Index.STATES, n, values))
      assert.are.equal(1, index:first(Index.STATES))
    end
    values[1], values[2] = 9, 8
    assert.is_nil(index:rate(Index.STATES, n, values))
    assert.are.equal(2, index:first(Index.STATES))
  end)

  it("shows a node as policies need it", function()
    local index = small.filled({}, "abcd")
    small.match(index, "abcdef")
    local node = index:lock().state_node
    index:unlock_state(node)
    local last = small.publish(index, "abcdef", nil, node, true)
    small.step(index)
    index:advance(7)
    local shown = index:describe(node)
    assert.are.same({ 16, 16, 40, 1000, 1, 1, 6, 0, 1, 1, 16, true }, {
      shown.tokens, shown.length, shown.kv_bytes, shown.state_bytes, shown.hits, shown.state_hits, shown.age,
      shown.created, shown.refs, shown.children, shown.parent_gap, shown.superseded })
    shown = index:describe(last)
    assert.are.same({ 24, 8, 0, 8, false }, { shown.tokens, shown.length, shown.state_bytes, shown.parent_gap,
                                             shown.superseded })
  end)

  it("takes blocks from the end of a leaf, as many as are wanted", function()
    local index = small.filled({}, "abcdef")
    local node, kv = index:first(Index.LEAVES), ints_t()
    local gone, slots = index:evict(node, 2, kv)
    assert.are.same({ 2, 104, 105 }, { gone, kv[0], kv[1] })
    assert.is_true(slots[0] > 0 and slots[1] > 0)
    assert.are.same({ 4, 0 }, { small.match(index, "abcdef").kv_hit, index:stats().states })
    gone, slots = index:evict(node, 64, kv)
    assert.are.same({ 4, 100, 103, -1 }, { gone, kv[0], kv[3], slots[0] })
    assert.are.equal(0, small.match(index, "abcdef").kv_hit)
  end)

  it("moves a state to the host and back", function()
    local index = small.filled({}, "ab", "abcd")
    local node = small.match(index, "abcd").state_node
    local was = ffi.new "int32_t[2]"
    assert(lib.gdn_index_slots(index.handle, node, was) == 0)
    local old = index:move_state(node, Index.ON_HOST, small.slots_of())
    assert.are.same({ was[0], was[1] }, { old[0], old[1] })
    small.step(index)
    local hit = small.match(index, "abcdef")
    assert.are.same({ 2, 4, 16, node, 0 },
                    { hit.state_hit, hit.host_hit, hit.host_tokens, hit.host_node, hit.junction })
    assert.are.equal(node, index:first(Index.HOST))
    small.publish(index, "abcde", small.slots_of())
    small.step(index)
    hit = small.match(index, "abcdef") -- what the host has is no longer of use
    assert.are.same({ 5, 0, 0, 0 }, { hit.state_hit, hit.host_hit, hit.host_tokens, hit.host_node })
    index:move_state(node, Index.DEVICE, small.slots_of())
    assert.are.equal(2, small.match(index, "abcd").state_hit) -- the copy is made in this step
    small.step(index)
    assert.are.equal(4, small.match(index, "abcd").state_hit)
    assert.are.equal(2, index:stats().states_moved)
  end)

  it("keeps what is pinned, and refuses a pin without room", function()
    local index = small.filled({}, "abcd", "abef", "xy")
    local node = small.match(index, "abcd").node
    local pinned, why, code = index:pin(node, 3)
    assert.are.same({ "4 blocks would be pinned, want <= 3", ECAP }, { why, code })
    assert.is_nil(pinned)
    why = select(2, index:pin(node, 4, 0))
    assert.are.equal("1 states would be pinned, want <= 0", why)
    assert.is_true(index:pin(node, 4, 1))
    assert.is_true(index:pin(node, 4, 1)) -- the same room
    why = select(2, index:pin(small.match(index, "abef").node, 5))
    assert.are.equal("6 blocks would be pinned, want <= 5", why)
    assert.are.same({ 4, 1 }, { index:stats().pinned_blocks, index:stats().pinned_states })
    assert.are.same({ "abef", "xy" }, small.order(index))
    assert.has_error(function() index:drop_state(node) end, "gdnmeta: index: node 1 is pinned")
    index:unpin(node)
    assert.are.same({}, small.order(index))
    index:unpin(node)
    assert.are.same({ "abcd", "ab" }, small.order(index))
  end)

  it("counts a pinned state where it is", function()
    local index = small.filled({}, "ab")
    local node = small.match(index, "ab").node
    index:pin(node)
    index:move_state(node, Index.ON_HOST, small.slots_of())
    assert.are.same({ 2, 0 }, { index:stats().pinned_blocks, index:stats().pinned_states })
    small.step(index)
    index:move_state(node, Index.DEVICE, small.slots_of())
    assert.are.equal(1, index:stats().pinned_states)
    assert.are.equal(0, lib.gdn_index_verify(index.handle))
  end)

  it("counts what came and went", function()
    local index = small.filled({}, "ab", "abcd")
    small.match(index, "abX")
    local node = index:lock().node
    index:unlock_state(node)
    index:unlock(node)
    small.order(index)
    local stats = index:stats()
    assert.are.same({ 1, 1, 1, 2, 4, 1, 1, 4, 2, 2, 4 }, {
      stats.matches, stats.locks, stats.state_hits, stats.states_published, stats.blocks_published,
      stats.states_used, stats.states_unused, stats.blocks_evicted, stats.nodes_evicted, stats.states_evicted,
      stats.peak_blocks })
    assert.are.same({ 0, 0, 0, 0 }, { stats.nodes, stats.blocks, stats.states, stats.leaves })
  end)

  it("leaves no garbage", function()
    local index = small.filled({ max_nodes = 400, max_blocks = 4000 }, "abcdefgh")
    local ids, n = small.ids_of "abcdefghijkl"
    local kv, slots, other = ints_t(), small.slots_of(), 1000
    local function round()
      index:advance(index.now + 1)
      index:match(ids, n, 4 * n - 1)
      local hit = index:lock()
      if hit.state_node > 0 then index:unlock_state(hit.state_node) end
      other = other + 1
      ids[11] = other
      index:publish(ids, n, kv, slots)
      index:unlock(hit.node)
      for kind = 0, 1 do
        local nodes, count, values = index:candidates(kind, 64)
        for k = 1, count do values[k] = nodes[k].age * nodes[k].parent_gap end
        index:rate(kind, count, values)
      end
      if index:first(Index.STATES) > 0 then index:drop_state(index:first(Index.STATES)) end
      if index:first(Index.LEAVES) > 0 then index:evict(index:first(Index.LEAVES), 64, kv) end
    end
    local function rounds() for _ = 1, 2000 do round() end end
    rounds()
    local kilobytes = growth(rounds)
    assert.is_true(kilobytes < 1, kilobytes .. " KB")
  end)
end)
