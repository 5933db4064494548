-- Which states are evicted from an index, against a list of all that is there. Where values change by use
-- alone, batches that are rated choose as a look at everything would. Paths begin alike: a prompt goes
-- through states that it does not read. And where in line a node goes that comes back to it.
local ffi = require "ffi"
local Index = require "gdnmeta.engine.prefix.index"
local lib = require "gdnmeta.native"
local small = require "spec.support.small_index"

local FAMILIES, STATES, REQUESTS = 150, 150, 6000
local slots, kv = ffi.new("int32_t[1]", 1), ffi.new "int32_t[1]"

-- What a policy would say of a candidate, and the same of an entry of the list. false: there is no policy.
local VALUES = {
  ["time of use"] = {
    function(node, now) return now - node.state_age end,
    function(entry) return entry.used end,
  },
  ["count of reads"] = {
    function(node) return node.state_hits end,
    function(entry) return entry.hits end,
  },
  ["reads by length"] = {
    function(node) return (1 + node.state_hits) * node.tokens end,
    function(entry) return (1 + entry.hits) * entry.length end,
  },
  ["prompts that went past"] = {
    function(node) return -node.passes end,
    function(entry) return -entry.passes end,
  },
  ["use alone"] = { false, function() return 0 end },
}

-- The least; of equal ones the one used longest ago.
local function least(list, value)
  local best
  for _, entry in pairs(list) do
    local a, b = value(entry), best and value(best)
    if not best or a < b or a == b and entry.order < best.order then best = entry end
  end
  return best
end

-- A family's paths, of 1 to 4 blocks, go on from one another; low numbers come more often.
local function draw()
  return 4 * math.floor(FAMILIES * math.random() ^ 3), math.random(4)
end

local function rate(index, value, now)
  local nodes, n, values = index:candidates(Index.STATES, 64)
  for k = 1, n do values[k] = value(nodes[k], now) end
  index:rate(Index.STATES, n, values)
end

-- The state that a prompt reads, and those that it goes past, as the list has them.
local function read(list, family, length, now, order)
  for at = length, 1, -1 do
    local entry = list[family + at]
    if entry then
      entry.hits, entry.used, entry.order = entry.hits + 1, now, order
      for k = 1, at do
        local passed = list[family + k]
        if passed and k < length then passed.passes = passed.passes + 1 end
      end
      return at
    end
  end
  return 0
end

local function play(name, seed)
  math.randomseed(seed)
  local node_value, entry_value = VALUES[name][1], VALUES[name][2]
  local index = assert(Index.new { num_groups = 1, block_size = 1, max_nodes = 2000, max_blocks = 8000 })
  local list, by_node, count, order, hits, past = {}, {}, 0, 0, 0, 0
  local ids, is_full = ffi.new "int64_t[4]", false
  for request = 1, REQUESTS do
    index:advance(request)
    local family, length = draw()
    for k = 0, length - 1 do ids[k] = family + k end
    order = order + 2
    local hit, want = index:match(ids, length, length), read(list, family, length, request, order)
    assert.are.equal(want, hit.state_hit, "request " .. request)
    if want > 0 then
      local node = hit.state_node
      hit.node, hit.kv_hit = node, want
      index:lock()
      index:unlock_state(node)
      index:unlock(node)
      hits, past = hits + 1, past + (want > 1 and 1 or 0)
    end
    if want < length then
      if count == STATES then
        for _ = 1, node_value and (is_full and 1 or 8) or 0 do -- none of the first ones is rated yet
          rate(index, node_value, request)
        end
        is_full = true
        local victim, goes = index:first(Index.STATES), least(list, entry_value)
        assert.are.equal(goes, by_node[victim], ("%s, seed %d, request %d"):format(name, seed, request))
        index:drop_state(victim)
        list[goes.path], by_node[victim], count = nil, nil, count - 1
      end
      local node = assert(index:publish(ids, length, kv, slots)).node
      local path = family + length
      list[path] = { path = path, length = length, hits = 0, passes = 0, used = request, order = order + 1 }
      by_node[node], count = list[path], count + 1
    end
  end
  index:close()
  return hits, past
end

describe("The victims of an index are those of a list, by", function()
  local seed = tonumber(os.getenv "GDN_SEED") or os.time()
  for name in pairs(VALUES) do
    it(name, function()
      local hits, past = play(name, seed)
      assert.is_true(hits > REQUESTS / 4 and past > REQUESTS / 8)
    end)
  end
end)

-- It is looked for from both ends of the list.
describe("A node that was kept for a while, and was not used", function()
  it("goes to its old place where 63 nodes at most lie behind or before it, else to the newest", function()
    for _, kind in ipairs { Index.LEAVES, Index.STATES } do
      for _, older in ipairs { 0, 1, 62, 63, 64, 65, 100, 134, 135, 136, 137, 198, 199 } do
        local index, want, got = small.new { max_nodes = 300, max_blocks = 300 }, {}, {}
        for k = 1, 200 do want[k] = assert(small.publish(index, string.char(k), small.slots_of())) end
        small.step(index)
        local node = want[older + 1]
        assert(index:pin(node, -1))
        index:unpin(node)
        if older > 63 and older < 136 then want[200] = table.remove(want, older + 1) end
        local nodes, n = index:candidates(kind, 256)
        for k = 1, n do got[k] = nodes[k].id end
        assert.are.same(want, got, older)
        assert.are.equal(0, lib.gdn_index_verify(index.handle))
        index:close()
      end
    end
  end)
end)
