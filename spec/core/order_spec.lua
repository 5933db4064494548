-- The heap and the stable sort for schedulers, compared with slow ones.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local array_of = require "gdnmeta.array_of"

local doubles = array_of "double"
local int32s = array_of "int32_t"

local NAN, INF = 0 / 0, math.huge

local function heap(capacity)
  local out = ffi.new "gdn_heap *[1]"
  assert(lib.gdn_heap_new(capacity, out) == 0)
  return ffi.gc(out[0], lib.gdn_heap_free)
end

local function drain(h)
  local ids = {}
  while lib.gdn_heap_size(h) > 0 do
    local id = lib.gdn_heap_first(h)
    ids[#ids + 1] = id
    assert.are.equal(1, lib.gdn_heap_remove(h, id))
  end
  return ids
end

local function randomly()
  local seed = tonumber(os.getenv "GDN_SEED") or os.time()
  math.randomseed(seed)
  return seed
end

describe("A heap by key", function()
  it("gives the smallest key first, ties by the tie, NaN with infinity", function()
    local h = heap(8)
    for id, key in pairs { [0] = 3, 1, NAN, 1, -INF, INF } do lib.gdn_heap_set(h, id, key, 10 - id) end
    assert.are.same({ 4, 3, 1, 0, 5, 2 }, drain(h))
    assert.are.equal(-1, lib.gdn_heap_first(h))
  end)

  it("moves a member whose key changes, and takes members out of the middle", function()
    local h = heap(8)
    for id = 0, 5 do lib.gdn_heap_set(h, id, id, 0) end
    lib.gdn_heap_set(h, 5, -1, 0)
    lib.gdn_heap_set(h, 0, 9, 0)
    assert.are.equal(1, lib.gdn_heap_remove(h, 2))
    assert.are.equal(0, lib.gdn_heap_remove(h, 2))
    assert.are.equal(INF, lib.gdn_heap_key(h, 2))
    assert.are.equal(9, lib.gdn_heap_key(h, 0))
    assert.are.same({ 5, 1, 3, 4, 0 }, drain(h))
  end)

  it("grows without forgetting, and forgets when cleared", function()
    local h = heap(2)
    lib.gdn_heap_set(h, 0, 5, 0)
    assert.are.equal(-1, tonumber(lib.gdn_heap_set(h, 2, 4, 0)))
    assert.are.equal(0, tonumber(lib.gdn_heap_reserve(h, 1000)))
    assert.are.equal(0, tonumber(lib.gdn_heap_set(h, 999, 6, 0)))
    assert.are.same({ 0, 999 }, drain(h))
    lib.gdn_heap_set(h, 7, 1, 0)
    lib.gdn_heap_clear(h)
    assert.are.equal(0, lib.gdn_heap_size(h))
    assert.are.equal(0, lib.gdn_heap_remove(h, 7))
  end)

  it("may be of one, and of no fewer", function()
    local h, out = heap(1), ffi.new "gdn_heap *[1]"
    lib.gdn_heap_set(h, 0, 5, 0)
    assert.are.same({ 0 }, drain(h))
    assert.are.equal(tonumber(lib.GDN_EINVAL), tonumber(lib.gdn_heap_new(0, out)))
    assert.are.equal(tonumber(lib.GDN_EINVAL), tonumber(lib.gdn_heap_new(1, nil)))
  end)

  it("agrees with sorting, whatever was moved and removed before", function()
    local seed = randomly()
    for case = 1, 200 do
      local n, h, want = math.random(1, 60), heap(64), {}
      for _ = 1, 4 * n do
        local id = math.random(0, n - 1)
        if math.random() < 0.25 then
          assert.are.equal(want[id] and 1 or 0, lib.gdn_heap_remove(h, id))
          want[id] = nil
        else
          want[id] = math.random(0, 9)
          lib.gdn_heap_set(h, id, want[id], id)
        end
      end
      local ids = {}
      for id in pairs(want) do ids[#ids + 1] = id end
      table.sort(ids, function(a, b) if want[a] ~= want[b] then return want[a] < want[b] end return a < b end)
      assert.are.same(ids, drain(h), ("seed %d case %d"):format(seed, case))
    end
  end)
end)

describe("Sorting by key", function()
  local function sorted(keys, items)
    local n = #items
    local k, i = doubles(#keys + 1), int32s(n + 1, items)
    for id = 1, #keys do k[id] = keys[id] end
    lib.gdn_sort_by_key(n, k, i, int32s(n + 1))
    local out = {}
    for at = 1, n do out[at] = i[at - 1] end
    return out
  end

  it("is stable, with NaN last", function()
    assert.are.same({ 4, 2, 5, 3, 1 }, sorted({ NAN, 1, 2, -1, 1 }, { 1, 2, 3, 4, 5 }))
    assert.are.same({ 5, 2, 1, 4 }, sorted({ 7, 7, 0, 7, 7 }, { 5, 2, 1, 4 }))
    assert.are.same({}, sorted({ 1 }, {}))
  end)

  it("agrees with an insertion sort on random keys", function()
    local seed = randomly()
    for case = 1, 300 do
      local n, keys, items = math.random(0, 70), {}, {}
      for id = 1, n do
        keys[id] = math.random() < 0.1 and NAN or math.random(0, 12)
        items[id] = id
      end
      local want = {}
      for _, id in ipairs(items) do
        local key, at = keys[id] == keys[id] and keys[id] or INF, #want
        local function larger(other) return (keys[other] == keys[other] and keys[other] or INF) > key end
        while at > 0 and larger(want[at]) do at = at - 1 end
        table.insert(want, at + 1, id)
      end
      assert.are.same(want, sorted(keys, items), ("seed %d case %d"):format(seed, case))
    end
  end)
end)
