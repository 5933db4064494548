-- The index of a prefix cache, by hand: what is seen when, what locks and pins keep, who goes first, and
-- every refusal.
local ffi = require "ffi"
local Index = require "gdnmeta.engine.prefix.index"
local lib = require "gdnmeta.native"

local ECAP, EINVAL = tonumber(lib.GDN_ECAP), tonumber(lib.GDN_EINVAL)

local function new(options)
  local config = { num_groups = 2, block_size = 4, kv_per_block = 1, max_nodes = 40, max_blocks = 200,
                   kv_bytes = 10, state_bytes = 1000 }
  for name, value in pairs(options or {}) do config[name] = value end
  return assert(Index.new(config))
end

local ids_t, ints_t = ffi.typeof "int64_t[64]", ffi.typeof "int32_t[64]"

-- "abc" is a path of three blocks.
local function ids_of(text)
  local ids = ids_t()
  for k = 1, #text do ids[k - 1] = text:byte(k) end
  return ids, #text
end

local next_slot = 1
local function slots_of(first, second)
  next_slot = next_slot + 2
  return ffi.new("int32_t[2]", first or next_slot, second or next_slot + 1)
end

local function publish(index, text, slots, from, move)
  local ids, n = ids_of(text)
  local kv = ints_t()
  for k = 0, n - 1 do kv[k] = 100 + k end
  local out, why, code = index:publish(ids, n, kv, slots, from, move)
  return out and out.node, why, code
end

local function match(index, text, limit)
  local ids, n = ids_of(text)
  return index:match(ids, n, limit or 4 * n)
end

local function step(index) index:advance(index.now + 1) end

local function filled(options, ...)
  local index = new(options)
  for _, text in ipairs { ... } do
    publish(index, text, slots_of())
    step(index)
  end
  return index
end

local function text_of(index, node)
  local depth, ids, text = index:describe(node).tokens / index.block_size, ids_t(), ""
  assert(lib.gdn_index_read(index.handle, node, 0, depth, ids, nil) == 0)
  for k = 0, depth - 1 do text = text .. string.char(tonumber(ids[k])) end
  return text
end

local function rate(index, kind, value)
  local nodes, n, values = index:candidates(kind, 64)
  for k = 1, n do values[k] = value(nodes[k]) end
  assert.is_nil(index:rate(kind, n, values))
  return n
end

-- The order in which leaves go.
local function order(index)
  local list = {}
  while index:first(Index.LEAVES) > 0 do
    local node = index:first(Index.LEAVES)
    list[#list + 1] = text_of(index, node)
    index:evict(node, 64, ints_t())
  end
  return list
end

describe("An index", function()
  it("shows from the next step on what was published in this one", function()
    local index = new()
    publish(index, "abcd", slots_of())
    assert.are.equal(0, match(index, "abcd").kv_hit)
    step(index)
    local hit = match(index, "abcdef")
    assert.are.same({ 4, 16, 4, 16, 0 },
                    { hit.kv_hit, hit.kv_tokens, hit.state_hit, hit.state_tokens, hit.junction })
    publish(index, "abcdef", slots_of())
    publish(index, "ab", slots_of()) -- within what is old
    hit = match(index, "abcdef")
    assert.are.same({ 4, 4 }, { hit.kv_hit, hit.state_hit })
    assert.are.equal(0, match(index, "ab").state_hit)
    step(index)
    hit = match(index, "abcdef")
    assert.are.same({ 6, 6 }, { hit.kv_hit, hit.state_hit })
    assert.are.equal(2, match(index, "abx").state_hit)
  end)

  it("neither evicts it before", function()
    local index = new()
    local node = publish(index, "ab", slots_of())
    assert.are.equal(0, index:first(Index.LEAVES))
    assert.are.equal(0, index:first(Index.STATES))
    assert.has_error(function() index:drop_state(node) end,
                     "gdnmeta: index: node 1 has a state of this step")
    step(index)
    assert.are.equal(node, index:first(Index.LEAVES))
    assert.are.equal(node, index:first(Index.STATES))
  end)

  it("leaves the last token of a prompt to be computed", function()
    local index = filled({}, "abcd")
    assert.are.equal(3, match(index, "abcd", 15).kv_hit) -- a prompt of 16 tokens
    assert.are.equal(4, match(index, "abcd", 16).kv_hit)
    assert.are.equal(0, match(index, "abcd", 3).kv_hit)
    assert.are.equal(0, match(index, "abcd", 0).kv_hit)
  end)

  it("hits a state where all groups have one", function()
    local index = filled({}, "ab")
    publish(index, "abcd", slots_of(7, -1))
    publish(index, "abcdef", slots_of(-1, 8))
    step(index)
    local hit = match(index, "abcdefgh")
    assert.are.same({ 6, 2, 24 }, { hit.kv_hit, hit.state_hit, hit.junction })
    publish(index, "abcdefgh", slots_of(9, 10))
    step(index)
    assert.are.equal(8, match(index, "abcdefgh").state_hit)
  end)

  it("keeps what is there, and says whose kv and slots it took", function()
    local index = filled({}, "abcd")
    local ids, n = ids_of "abcdef"
    local out = index:publish(ids, n, ints_t(), slots_of())
    assert.are.same({ 4, 2, 1 }, { out.known, out.added, out.state_taken })
    out = index:publish(ids, n, ints_t(), slots_of())
    assert.are.same({ 6, 0, 0 }, { out.known, out.added, out.state_taken })
    local kv = ints_t()
    assert.are.equal(0, lib.gdn_index_read(index.handle, out.node, 2, 4, nil, kv))
    assert.are.same({ 102, 103, 0, 0 }, { kv[0], kv[1], kv[2], kv[3] })
  end)

  it("keeps what is locked, splits where a lock ends, and takes less where no node is left", function()
    local index = filled({ max_nodes = 2 }, "abcdefgh")
    match(index, "abcdeX")
    local hit = index:lock()
    assert.are.equal(5, hit.kv_hit)
    assert.are.equal("abcde", text_of(index, hit.node))
    local node = hit.node
    match(index, "abX")
    hit = index:lock()
    assert.are.same({ 0, 0 }, { hit.kv_hit, hit.node })
    assert.are.same({ "abcdefgh" }, order(index))
    assert.has_error(function() index:evict(node, 9, ints_t()) end, "gdnmeta: index: node 2 has 1 locks")
    index:unlock(node)
    assert.are.same({ "abcde" }, order(index))
    assert.are.equal(0, index:stats().nodes)
  end)

  it("keeps a state that is read", function()
    local index = filled({}, "abcd")
    local node = match(index, "abcdef").state_node
    index:lock()
    assert.are.equal(0, index:first(Index.STATES))
    assert.has_error(function() index:drop_state(node) end,
                     "gdnmeta: index: node 1 has a state that 1 requests read")
    index:unlock_state(node)
    assert.are.equal(node, index:first(Index.STATES)) -- though requests still go through the node
    index:drop_state(node)
    assert.are.equal(16, match(index, "abcdef").junction)
    index:unlock(node)
  end)

  it("moves a lock along with what its request publishes", function()
    local index = new()
    local node = publish(index, "abc", nil, 0, true)
    step(index)
    node = publish(index, "abcdef", nil, node, true)
    step(index)
    assert.are.equal(1, index:stats().nodes) -- a leaf without a state grows
    local last = publish(index, "abcdefgh", slots_of(), node, true)
    step(index)
    last = publish(index, "abcdefghi", slots_of(), last, true)
    step(index)
    assert.are.equal(2, index:stats().nodes)
    assert.are.equal(0, index:first(Index.LEAVES))
    index:unlock(last)
    assert.are.same({ "abcdefghi", "abcdefgh" }, order(index))
  end)

  it("grows no leaf that is pinned, or another's", function()
    local index = new()
    local function grow(text, mark)
      local ids, n = ids_of(text)
      local node = assert(index:publish(ids, n, ints_t(), nil, 0, false, mark)).node
      step(index)
      return node
    end
    local node = grow("ab", 1)
    assert.are.equal(node, grow("abc", 1))
    local other = grow("abcd", 2)
    assert.are_not.equal(node, other)
    index:pin(other)
    assert.are_not.equal(other, grow("abcde", 2))
    assert.are.equal(4, index:stats().pinned_blocks)
    assert.are.equal(0, lib.gdn_index_verify(index.handle))
  end)

  it("shows nothing of a step in it, however often a leaf grows", function()
    local index = new { max_nodes = 1, max_blocks = 2000 }
    local ids, kv = ffi.new "int64_t[2000]", ffi.new "int32_t[2000]"
    for k = 0, 1999 do ids[k] = k end
    assert(index:publish(ids, 3, kv))
    step(index)
    for n = 4, 2000 do
      assert(index:publish(ids, n, kv))
      if n % 100 == 0 then assert.are.equal(3, index:match(ids, n, 4 * n).kv_hit) end
    end
    assert.are.equal(0, lib.gdn_index_verify(index.handle))
    step(index)
    assert.are.equal(2000, index:match(ids, 2000, 8000).kv_hit)
  end)

  it("counts anew for a new state", function()
    local index = filled({}, "ab")
    local node = match(index, "abc").node
    for _ = 1, 2 do
      assert.is_false(index:describe(node).superseded)
      match(index, "abc")
      index:lock()
      index:unlock_state(node)
      index:unlock(node)
      assert.are.same({ 1, true }, { index:describe(node).state_hits, index:describe(node).superseded })
      index:drop_state(node)
      publish(index, "ab", slots_of())
      step(index)
    end
    index:drop_state(node)
    assert.are.same({ 2, 1 }, { index:stats().states_used, index:stats().states_unused })
  end)

  it("tells a prompt that goes past a node from one that ends there", function()
    local index = filled({}, "ab")
    match(index, "ab")
    local node = index:lock().node
    assert.is_false(index:describe(node).superseded)
    match(index, "abx")
    index:lock()
    assert.is_true(index:describe(node).superseded)
  end)

  it("asks again for a state that a request went past, though it did not read it", function()
    local index = filled({}, "ab")
    rate(index, Index.STATES, function() return 1 end)
    assert.is_false(index:candidates(Index.STATES, 4)[1].is_new)
    match(index, "abx").state_node = 0
    index:lock()
    assert.is_true(index:candidates(Index.STATES, 4)[1].is_new)
  end)

  it("gives the least of all to be rated", function()
    local index, values = new { max_nodes = 1000, max_blocks = 2000 }, {}
    for k = 1, 300 do
      assert(publish(index, string.char(1 + k % 250, 1 + math.floor(k / 250)), slots_of()))
    end
    step(index)
    for _ = 1, 40 do
      rate(index, Index.STATES, function(node)
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
      for k = 1, most - math.floor(most / 8) do assert.are.equal(most, seen[sorted[k]]) end
    end
  end)

  it("without values lets go of what was used longest ago, leaves first", function()
    local index = filled({}, "ab", "cd", "abx", "aby", "cdz")
    match(index, "abx")
    index:lock()
    index:unlock_state(index.hit.state_node)
    index:unlock(index.hit.node)
    assert.are.same({ "aby", "cdz", "cd", "abx", "ab" }, order(index))
  end)

  it("lets go of the least value, wherever it was rated", function()
    local names, index = {}, new { max_nodes = 1000, max_blocks = 2000 }
    for k = 1, 300 do
      names[k] = string.char(200 + k % 7, k % 128, math.floor(k / 128))
      assert(publish(index, names[k], slots_of()))
    end
    step(index)
    local function value(node) return node.id * 7919 % 1009 end
    for _ = 1, 40 do rate(index, Index.STATES, value) end
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
    local index = filled({}, "ab", "cd", "ef")
    assert.are.equal(3, rate(index, Index.STATES, function(node) return node.id end))
    match(index, "abcd")
    index:lock()
    index:unlock_state(index.hit.state_node)
    local nodes, n, values = index:candidates(Index.STATES, 64)
    local shown = {}
    for k = 1, n do shown[nodes[k].id] = ("%g %s"):format(values[k], tostring(nodes[k].is_new)) end
    assert.are.same({ "1 true", "2 false", "3 false" }, shown)
    assert.are.equal(2, index:first(Index.STATES))
    publish(index, "gh", slots_of())
    step(index)
    nodes, n, values = index:candidates(Index.STATES, 1)
    assert.are.same({ 1, 2 }, { n, nodes[1].id })
    assert.are.equal(2, values[1])
  end)

  it("comes back to every value in time, for values that change by themselves", function()
    local index = new { max_nodes = 1000, max_blocks = 1000 }
    for k = 1, 500 do publish(index, string.char(1 + k % 250, 1 + math.floor(k / 250)), slots_of()) end
    step(index)
    for _ = 1, 40 do rate(index, Index.STATES, function(node) return node.id end) end
    local seen, count = {}, 0
    for _ = 1, 80 do -- 8 of a batch of 64 walk
      local nodes, n = index:candidates(Index.STATES, 64)
      for k = 1, n do
        if not seen[nodes[k].id] then seen[nodes[k].id], count = true, count + 1 end
      end
    end
    assert.are.equal(500, count)
  end)

  it("rates nothing where one value is none", function()
    local index = filled({}, "ab", "cd")
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
    local index = filled({}, "abcd")
    match(index, "abcdef")
    local node = index:lock().state_node
    index:unlock_state(node)
    local last = publish(index, "abcdef", nil, node, true)
    step(index)
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
    local index = filled({}, "abcdef")
    local node, kv = index:first(Index.LEAVES), ints_t()
    local gone, slots = index:evict(node, 2, kv)
    assert.are.same({ 2, 104, 105 }, { gone, kv[0], kv[1] })
    assert.is_true(slots[0] > 0 and slots[1] > 0)
    assert.are.same({ 4, 0 }, { match(index, "abcdef").kv_hit, index:stats().states })
    gone, slots = index:evict(node, 64, kv)
    assert.are.same({ 4, 100, 103, -1 }, { gone, kv[0], kv[3], slots[0] })
    assert.are.equal(0, match(index, "abcdef").kv_hit)
  end)

  it("moves a state to the host and back", function()
    local index = filled({}, "ab", "abcd")
    local node = match(index, "abcd").state_node
    local was = ffi.new "int32_t[2]"
    assert(lib.gdn_index_slots(index.handle, node, was) == 0)
    local old = index:move_state(node, Index.ON_HOST, slots_of())
    assert.are.same({ was[0], was[1] }, { old[0], old[1] })
    step(index)
    local hit = match(index, "abcdef")
    assert.are.same({ 2, 4, 16, node, 0 },
                    { hit.state_hit, hit.host_hit, hit.host_tokens, hit.host_node, hit.junction })
    assert.are.equal(node, index:first(Index.HOST))
    publish(index, "abcde", slots_of())
    step(index)
    hit = match(index, "abcdef") -- what the host has is no longer of use
    assert.are.same({ 5, 0, 0, 0 }, { hit.state_hit, hit.host_hit, hit.host_tokens, hit.host_node })
    index:move_state(node, Index.DEVICE, slots_of())
    assert.are.equal(2, match(index, "abcd").state_hit) -- the copy is made in this step
    step(index)
    assert.are.equal(4, match(index, "abcd").state_hit)
    assert.are.equal(2, index:stats().states_moved)
  end)

  it("keeps what is pinned, and refuses a pin without room", function()
    local index = filled({}, "abcd", "abef", "xy")
    local node = match(index, "abcd").node
    local pinned, why, code = index:pin(node, 3)
    assert.are.same({ "4 blocks would be pinned, want <= 3", ECAP }, { why, code })
    assert.is_nil(pinned)
    why = select(2, index:pin(node, 4, 0))
    assert.are.equal("1 states would be pinned, want <= 0", why)
    assert.is_true(index:pin(node, 4, 1))
    assert.is_true(index:pin(node, 4, 1)) -- the same room
    why = select(2, index:pin(match(index, "abef").node, 5))
    assert.are.equal("6 blocks would be pinned, want <= 5", why)
    assert.are.same({ 4, 1 }, { index:stats().pinned_blocks, index:stats().pinned_states })
    assert.are.same({ "abef", "xy" }, order(index))
    assert.has_error(function() index:drop_state(node) end, "gdnmeta: index: node 1 is pinned")
    index:unpin(node)
    assert.are.same({}, order(index))
    index:unpin(node)
    assert.are.same({ "abcd", "ab" }, order(index))
  end)

  it("counts a pinned state where it is", function()
    local index = filled({}, "ab")
    local node = match(index, "ab").node
    index:pin(node)
    index:move_state(node, Index.ON_HOST, slots_of())
    assert.are.same({ 2, 0 }, { index:stats().pinned_blocks, index:stats().pinned_states })
    step(index)
    index:move_state(node, Index.DEVICE, slots_of())
    assert.are.equal(1, index:stats().pinned_states)
    assert.are.equal(0, lib.gdn_index_verify(index.handle))
  end)

  it("counts what came and went", function()
    local index = filled({}, "ab", "abcd")
    match(index, "abX")
    local node = index:lock().node
    index:unlock_state(node)
    index:unlock(node)
    order(index)
    local stats = index:stats()
    assert.are.same({ 1, 1, 1, 2, 4, 1, 1, 4, 2, 2, 4 }, {
      stats.matches, stats.locks, stats.state_hits, stats.states_published, stats.blocks_published,
      stats.states_used, stats.states_unused, stats.blocks_evicted, stats.nodes_evicted, stats.states_evicted,
      stats.peak_blocks })
    assert.are.same({ 0, 0, 0, 0 }, { stats.nodes, stats.blocks, stats.states, stats.leaves })
  end)

  it("leaves no garbage", function()
    local index = filled({ max_nodes = 400, max_blocks = 4000 }, "abcdefgh")
    local ids, n = ids_of "abcdefghijkl"
    local kv, slots, other = ints_t(), slots_of(), 1000
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
    local garbage
    for _ = 1, 4 do -- machine code is garbage, too, until all of it is made
      collectgarbage()
      collectgarbage "stop"
      for _ = 1, 10 do round() end
      local before = collectgarbage "count"
      for _ = 1, 2000 do round() end
      garbage = collectgarbage "count" - before
      collectgarbage "restart"
    end
    assert.are.equal(0, garbage)
  end)
end)

describe("An index refuses", function()
  local function config(name, value)
    local index, why, code = Index.new { num_groups = 2, block_size = 4, max_nodes = 4, max_blocks = 4,
                                         [name] = value }
    assert.is_nil(index)
    assert.are.equal(EINVAL, code)
    return why
  end

  it("what it cannot be", function()
    assert.are.equal("index: num_groups = 65, want 0 .. 64", config("num_groups", 65))
    assert.are.equal("index: num_groups = -1, want 0 .. 64", config("num_groups", -1))
    assert.are.equal("index: block_size = 0, want 1 .. 1048576", config("block_size", 0))
    assert.are.equal("index: kv_per_block = 1025, want 0 .. 1024", config("kv_per_block", 1025))
    assert.are.equal("index: max_nodes = 0, want 1 .. 67108864", config("max_nodes", 0))
    assert.are.equal("index: max_blocks = 1073741825, want 1 .. 1073741824", config("max_blocks", 2 ^ 30 + 1))
    assert.are.equal("index: kv_bytes = -1, want 0 .. 1099511627776", config("kv_bytes", -1))
    local wrong = "index: state_bytes = 1099511627777, want 0 .. 1099511627776"
    assert.are.equal(wrong, config("state_bytes", 2 ^ 40 + 1))
    assert.are.equal("index: size = 3, want 40", config("size", 3))
    local index, _, code = Index.new { num_groups = 1, block_size = 1, kv_per_block = 1024,
                                       max_nodes = 2 ^ 26, max_blocks = 2 ^ 30 }
    assert.is_nil(index)
    assert.are.equal(tonumber(lib.GDN_ENOMEM), code) -- 2^44 bytes
  end)

  -- Every refusal: a call, its message. Afterwards the index is as it was.
  local index = filled({ max_nodes = 4, max_blocks = 12 }, "abcd", "xy")
  local h, long, out = index.handle, ids_of(("q"):rep(20)), ffi.new "gdn_index_published"
  local ints, doubles, kv = ffi.new "int32_t[300]", ffi.new "double[300]", ints_t()
  local function hit(fields)
    local c = ffi.new "gdn_index_hit"
    ffi.copy(c, match(index, "abcd"), ffi.sizeof(c))
    for name, value in pairs(fields) do c[name] = value end
    return function() return lib.gdn_index_lock(h, c) end
  end
  local function call(name, ...)
    local arguments, n = { ... }, select("#", ...)
    return function() return lib["gdn_index_" .. name](h, unpack(arguments, 1, n)) end
  end
  local ids = ids_of "abcd"
  local negative, huge = ids_t(-1), ids_t(2LL ^ 53)
  local some, none, odd = slots_of(), slots_of(-1, -1), slots_of(3, -2)
  local bad_kv = ffi.new("int32_t[8]", 1, 1, 1, 1, 1, -7)
  local six = ids_of "abcdef"
  local CASES = {
    { call("advance", 0 / 0), "now = nan, want a number" },
    { call("match", ids, -1, 5, index.hit), "n = -1, want >= 0" },
    { call("match", ids, 1, -5, index.hit), "limit = -5, want >= 0" },
    { hit { node = 9 }, "node = 9, want a node of the index" },
    { hit { node = -1 }, "node = -1, want a node of the index" },
    { hit { node = 4 }, "node = 4, want a node of the index" },
    { hit { node = 0 }, "kv_hit = 4 without a node, want 0" },
    { hit { kv_hit = 0 }, "kv_hit = 0, want 1 .. 4 in node 1" },
    { hit { kv_hit = 5 }, "kv_hit = 5, want 1 .. 4 in node 1" },
    { hit { kv_hit = 3 }, "state_node = 1 ends at block 4, want <= 3" },
    { hit { state_node = 2 }, "state_node = 2 is not on the path to node 1" },
    { hit { state_node = 3 }, "state_node = 3, want a node of the index" },
    { call("unlock", 1), "node 1 has no lock that ends at it" },
    { call("unlock", 0), "node = 0, want a node of the index" },
    { call("unlock_state", 1), "node 1 has no state that is read" },
    { call("publish", ids, 0, kv, nil, 0, 0, -1, out), "n = 0, want >= 1" },
    { call("publish", ids, 4, kv, nil, 0, 0, -2, out), "mark = -2, want >= -1" },
    { call("publish", ids, 4, kv, none, 0, 0, -1, out), "slots has no slot, want one or more" },
    { call("publish", ids, 4, kv, odd, 0, 0, -1, out), "slots[1] = -2, want >= -1" },
    { call("publish", ids, 4, kv, some, 7, 0, -1, out), "from = 7, want a node of the index" },
    { call("publish", ids, 2, kv, some, 1, 0, -1, out), "from = 1 ends at block 4, want <= 2" },
    { call("publish", ids, 4, kv, some, 1, 1, -1, out), "from = 1 has no lock to move" },
    { call("publish", negative, 1, kv, nil, 0, 0, -1, out), "ids[0] = -1, want 0 .. 2^53 - 1" },
    { call("publish", huge, 1, kv, nil, 0, 0, -1, out), "ids[0] = 9007199254740992, want 0 .. 2^53 - 1" },
    { call("publish", six, 6, nil, nil, 0, 0, -1, out), "kv is NULL, want 1 numbers a block" },
    { call("publish", six, 6, bad_kv, nil, 0, 0, -1, out), "kv[5] = -7, want >= 0" },
    { call("publish", long, 20, kv, nil, 0, 0, -1, out), "6 blocks and 20 more, want <= 12", ECAP },
    { call("pin", 3, -1, -1), "node = 3, want a node of the index" },
    { call("unpin", 1), "node 1 has no pin" },
    { call("candidates", 3, 4, ints, doubles), "kind = 3, want 0 .. 2" },
    { call("candidates", -1, 4, ints, doubles), "kind = -1, want 0 .. 2" },
    { call("candidates", 0, 0, ints, doubles), "most = 0, want 1 .. 256" },
    { call("candidates", 0, 257, ints, doubles), "most = 257, want 1 .. 256" },
    { call("rate", 3, ints, doubles, 1), "kind = 3, want 0 .. 2" },
    { call("rate", 0, ffi.new("int32_t[2]", 1, 5), doubles, 2), "nodes[1] = 5, want 1 .. 4" },
    { call("rate", 0, ffi.new("int32_t[2]", 1, 0), doubles, 2), "nodes[1] = 0, want 1 .. 4" },
    { call("drop_state", 5, ints), "node = 5, want a node of the index" },
    { call("move_state", 1, 2, some, ints), "place = 2, want 0 or 1" },
    { call("move_state", 1, 0, some, ints), "node 1 has its state in place 0 already" },
    { call("move_state", 1, 1, odd, ints), "slots[1] = -2, want one where node 1 has one" },
    { call("evict", 1, 0, kv, ints), "most = 0, want >= 1" },
    { call("evict", 0, 1, kv, ints), "node = 0, want a node of the index" },
    { call("evict", 1, 1, nil, ints), "kv is NULL" },
    { call("describe", 4, ffi.new "gdn_index_node"), "node = 4, want a node of the index" },
  }
  for _, case in ipairs(CASES) do
    it(case[2], function()
      local before = index:stats()
      assert.are.equal(case[3] or EINVAL, case[1]())
      assert.are.equal(case[2], index:message())
      local after = index:stats()
      before.matches = after.matches
      assert.are.same(before, after)
      assert.are.equal(0, lib.gdn_index_verify(h))
    end)
  end

  it("what has no sentence: to read or to see slots of nothing", function()
    assert.are.equal(EINVAL, lib.gdn_index_read(h, 1, 0, 5, long, nil))
    assert.are.equal(EINVAL, lib.gdn_index_read(h, 1, -1, 2, long, nil))
    assert.are.equal(EINVAL, lib.gdn_index_read(h, 1, 0, -1, long, nil))
    assert.are.equal(EINVAL, lib.gdn_index_read(h, 5, 0, 0, long, nil))
    assert.are.equal(EINVAL, lib.gdn_index_slots(h, 5, ints))
    assert.are.equal(0, lib.gdn_index_first(h, 3))
  end)

  it("more nodes than it has", function()
    local full = filled({ max_nodes = 2 }, "abcd")
    local _, why, code = publish(full, "abX", nil)
    assert.are.same({ "1 nodes and 2 more, want <= 2", ECAP }, { why, code })
    assert.is_truthy(publish(full, "ab", slots_of()))
    _, why = publish(full, "abX", nil)
    assert.are.equal("2 nodes and 1 more, want <= 2", why)
    assert.is_truthy(publish(full, "abcd", nil))
  end)
end)
