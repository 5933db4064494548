-- Every refusal of the index of a prefix cache.
local ffi = require "ffi"
local Index = require "gdnmeta.engine.prefix.index"
local lib = require "gdnmeta.native"
local small = require "spec.support.small_index"

local ECAP, EINVAL = tonumber(lib.GDN_ECAP), tonumber(lib.GDN_EINVAL)
local ids_t, ints_t = ffi.typeof "int64_t[64]", ffi.typeof "int32_t[64]"

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
  end)

  -- Every refusal: a call, its message. Afterwards the index is as it was.
  local index = small.filled({ max_nodes = 4, max_blocks = 12 }, "abcd", "xy")
  local h, long, out = index.handle, small.ids_of(("q"):rep(20)), ffi.new "gdn_index_published"
  local ints, doubles, kv = ffi.new "int32_t[300]", ffi.new "double[300]", ints_t()
  local function hit(fields)
    local c = ffi.new "gdn_index_hit"
    ffi.copy(c, small.match(index, "abcd"), ffi.sizeof(c))
    for name, value in pairs(fields) do c[name] = value end
    return function() return lib.gdn_index_lock(h, c) end
  end
  local function call(name, ...)
    local arguments, n = { ... }, select("#", ...)
    return function() return lib["gdn_index_" .. name](h, unpack(arguments, 1, n)) end
  end
  local ids = small.ids_of "abcd"
  local negative, huge = ids_t(-1), ids_t(2LL ^ 53)
  local some, none, odd = small.slots_of(), small.slots_of(-1, -1), small.slots_of(3, -2)
  local bad_kv = ffi.new("int32_t[8]", 1, 1, 1, 1, 1, -7)
  local six = small.ids_of "abcdef"
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
    { call("candidates", 0, 1, nil, doubles), "nodes or values is NULL" },
    { call("candidates", 0, 1, ints, nil), "nodes or values is NULL" },
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
    local full = small.filled({ max_nodes = 2 }, "abcd")
    local _, why, code = small.publish(full, "abX", nil)
    assert.are.same({ "1 nodes and 2 more, want <= 2", ECAP }, { why, code })
    assert.is_truthy(small.publish(full, "ab", small.slots_of()))
    _, why = small.publish(full, "abX", nil)
    assert.are.equal("2 nodes and 1 more, want <= 2", why)
    assert.is_truthy(small.publish(full, "abcd", nil))
  end)

  -- The same by the Lua side, which raises what is a mistake of the engine, method by method.
  local watch = ffi.new "gdn_index_watch"
  local bad_watch = ffi.new("gdn_index_watch", { node = 99 })
  local METHODS = {
    { "now = nan, want a number", "advance", 0 / 0 },
    { "n = -1, want >= 0", "match", ids, -1, 5 },
    { "n = -1, want >= 0", "watch", ids, -1, 5, watch },
    { "node = 99, want 0 .. 4", "has_changed", bad_watch },
    { "node 1 has no lock that ends at it", "unlock", 1 },
    { "node 1 has no state that is read", "unlock_state", 1 },
    { "n = 0, want >= 1", "publish", ids, 0, kv },
    { "pools, tables or out is NULL", "keep", ids, 4, nil, 0, nil, nil, -1, -1, 0, 0, 0, nil },
    { "node = 3, want a node of the index", "pin", 3 },
    { "node 1 has no pin", "unpin", 1 },
    { "node = 4, want a node of the index", "describe", 4 },
    { "node = 4, want a node of the index", "is_on_host", 4 },
    { "node = 4, want a node of the index", "state_before", 4 },
    { "kind = 3, want 0 .. 2", "candidates", 3, 4 },
    { "kind = 3, want 0 .. 2", "rate", 3, 1, { 1 } },
    { "node = 5, want a node of the index", "drop_state", 5 },
    { "place = 2, want 0 or 1", "move_state", 1, 2, some },
    { "most = 0, want >= 1", "evict", 1, 0, kv },
    { "pools is NULL", "leave", 5, 1, nil, kv, nil },
    { "pools is NULL", "free_up", 2, 1, 1, nil, kv, nil },
  }
  for _, case in ipairs(METHODS) do
    it("and raises by " .. case[2], function()
      local ok, message = pcall(index[case[2]], index, unpack(case, 3, 14))
      assert.are.same({ false, "gdnmeta: index: " .. case[1] }, { ok, tostring(message):match "gdnmeta:.*$" })
    end)
  end

  it("and raises by lock what the match did not find", function()
    small.match(index, "abcd")
    index.hit.node = 9
    local ok, message = pcall(index.lock, index)
    assert.are.same({ false, "gdnmeta: index: node = 9, want a node of the index" },
                    { ok, message:match "gdnmeta:.*$" })
  end)
end)
