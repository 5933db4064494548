-- Who is evicted from an index, against a list of all that is there. Where values change by use alone,
-- batches that are rated choose as a look at everything would.
local ffi = require "ffi"
local Index = require "gdnmeta.engine.prefix.index"

local PATHS, STATES, REQUESTS = 600, 150, 6000
local slots, kv = ffi.new("int32_t[1]", 1), ffi.new "int32_t[1]"

-- What a policy would say of a candidate, and the same of an entry of the list.
local VALUES = {
  ["time of use"] = {
    function(node, now) return now - node.state_age end,
    function(entry) return entry.used end,
  },
  ["count of uses"] = {
    function(node) return node.state_hits end,
    function(entry) return entry.hits end,
  },
  ["uses by length"] = {
    function(node) return (1 + node.state_hits) * node.length end,
    function(entry) return (1 + entry.hits) * entry.length end,
  },
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

-- Paths are 1 to 4 blocks; low numbers come more often.
local function draw()
  return 1 + math.floor(PATHS * math.random() ^ 3)
end

local function play(name, seed)
  math.randomseed(seed)
  local node_value, entry_value = VALUES[name][1], VALUES[name][2]
  local index = assert(Index.new { num_groups = 1, block_size = 1, max_nodes = 2000, max_blocks = 8000 })
  local list, by_node, count, order, hits = {}, {}, 0, 0, 0
  local ids, is_full = ffi.new "int64_t[4]", false
  for request = 1, REQUESTS do
    index:advance(request)
    local path = draw()
    local length = 1 + path % 4
    for k = 0, length - 1 do ids[k] = path * 4 + k end
    order = order + 1
    local entry, hit = list[path], index:match(ids, length, length)
    assert.are.equal(entry ~= nil, hit.state_hit == length, "request " .. request)
    if entry then
      index:lock()
      index:unlock_state(hit.state_node)
      index:unlock(hit.node)
      entry.hits, entry.used, entry.order, hits = entry.hits + 1, request, order, hits + 1
    else
      if count == STATES then
        for _ = 1, is_full and 1 or 8 do -- none of the first ones is rated yet
          local nodes, n, values = index:candidates(Index.STATES, 64)
          for k = 1, n do values[k] = node_value(nodes[k], request) end
          index:rate(Index.STATES, n, values)
        end
        is_full = true
        local victim, want = index:first(Index.STATES), least(list, entry_value)
        assert.are.equal(want, by_node[victim], ("%s, seed %d, request %d"):format(name, seed, request))
        index:drop_state(victim)
        list[want.path], by_node[victim], count = nil, nil, count - 1
      end
      local node = assert(index:publish(ids, length, kv, slots)).node
      list[path] = { path = path, length = length, hits = 0, used = request, order = order }
      by_node[node], count = list[path], count + 1
    end
  end
  index:close()
  return hits
end

describe("The victims of an index are those of a list, by", function()
  local seed = tonumber(os.getenv "GDN_SEED") or os.time()
  for name in pairs(VALUES) do
    it(name, function() assert.is_true(play(name, seed) > REQUESTS / 4) end)
  end
end)
