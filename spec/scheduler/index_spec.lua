-- The index of a prefix cache, by hand: what is seen when, what is published, and what locks keep.
local ffi = require "ffi"
local Index = require "gdnmeta.engine.prefix.index"
local lib = require "gdnmeta.native"
local small = require "spec.support.small_index"

local ints_t = ffi.typeof "int32_t[64]"

describe("An index", function()
  it("shows from the next step on what was published in this one", function()
    local index = small.new()
    small.publish(index, "abcd", small.slots_of())
    assert.are.equal(0, small.match(index, "abcd").kv_hit)
    small.step(index)
    local hit = small.match(index, "abcdef")
    assert.are.same({ 4, 16, 4, 16, 0 },
                    { hit.kv_hit, hit.kv_tokens, hit.state_hit, hit.state_tokens, hit.junction })
    small.publish(index, "abcdef", small.slots_of())
    small.publish(index, "ab", small.slots_of()) -- within what is old
    hit = small.match(index, "abcdef")
    assert.are.same({ 4, 4 }, { hit.kv_hit, hit.state_hit })
    assert.are.equal(0, small.match(index, "ab").state_hit)
    small.step(index)
    hit = small.match(index, "abcdef")
    assert.are.same({ 6, 6 }, { hit.kv_hit, hit.state_hit })
    assert.are.equal(2, small.match(index, "abx").state_hit)
  end)

  it("neither evicts it before", function()
    local index = small.new()
    local node = small.publish(index, "ab", small.slots_of())
    assert.are.equal(0, index:first(Index.LEAVES))
    assert.are.equal(0, index:first(Index.STATES))
    assert.has_error(function() index:drop_state(node) end,
                     "gdnmeta: index: node 1 has a state of this step")
    small.step(index)
    assert.are.equal(node, index:first(Index.LEAVES))
    assert.are.equal(node, index:first(Index.STATES))
  end)

  it("leaves the last token of a prompt to be computed", function()
    local index = small.filled({}, "abcd")
    assert.are.equal(3, small.match(index, "abcd", 15).kv_hit) -- a prompt of 16 tokens
    assert.are.equal(4, small.match(index, "abcd", 16).kv_hit)
    assert.are.equal(0, small.match(index, "abcd", 3).kv_hit)
    assert.are.equal(0, small.match(index, "abcd", 0).kv_hit)
  end)

  it("hits a state where all groups have one", function()
    local index = small.filled({}, "ab")
    small.publish(index, "abcd", small.slots_of(7, -1))
    small.publish(index, "abcdef", small.slots_of(-1, 8))
    small.step(index)
    local hit = small.match(index, "abcdefgh")
    assert.are.same({ 6, 2, 24 }, { hit.kv_hit, hit.state_hit, hit.junction })
    small.publish(index, "abcdefgh", small.slots_of(9, 10))
    small.step(index)
    assert.are.equal(8, small.match(index, "abcdefgh").state_hit)
  end)

  it("keeps what is there, and says whose kv and slots it took", function()
    local index = small.filled({}, "abcd")
    local ids, n = small.ids_of "abcdef"
    local out = index:publish(ids, n, ints_t(), small.slots_of())
    assert.are.same({ 4, 2, 1 }, { out.known, out.added, out.state_taken })
    out = index:publish(ids, n, ints_t(), small.slots_of())
    assert.are.same({ 6, 0, 0 }, { out.known, out.added, out.state_taken })
    local kv = ints_t()
    assert.are.equal(0, lib.gdn_index_read(index.handle, out.node, 2, 4, nil, kv))
    assert.are.same({ 102, 103, 0, 0 }, { kv[0], kv[1], kv[2], kv[3] })
  end)

  it("keeps what is locked, splits where a lock ends, and takes less where no node is left", function()
    local index = small.filled({ max_nodes = 2 }, "abcdefgh")
    small.match(index, "abcdeX")
    local hit = index:lock()
    assert.are.equal(5, hit.kv_hit)
    assert.are.equal("abcde", small.text_of(index, hit.node))
    local node = hit.node
    small.match(index, "abX")
    hit = index:lock()
    assert.are.same({ 0, 0 }, { hit.kv_hit, hit.node })
    assert.are.same({ "abcdefgh" }, small.order(index))
    assert.has_error(function() index:evict(node, 9, ints_t()) end, "gdnmeta: index: node 2 has 1 locks")
    index:unlock(node)
    assert.are.same({ "abcde" }, small.order(index))
    assert.are.equal(0, index:stats().nodes)
  end)

  it("keeps a state that is read", function()
    local index = small.filled({}, "abcd")
    local node = small.match(index, "abcdef").state_node
    index:lock()
    assert.are.equal(0, index:first(Index.STATES))
    assert.has_error(function() index:drop_state(node) end,
                     "gdnmeta: index: node 1 has a state that 1 requests read")
    index:unlock_state(node)
    assert.are.equal(node, index:first(Index.STATES)) -- though requests still go through the node
    index:drop_state(node)
    assert.are.equal(16, small.match(index, "abcdef").junction)
    index:unlock(node)
  end)

  it("moves a lock along with what its request publishes", function()
    local index = small.new()
    local node = small.publish(index, "abc", nil, 0, true)
    small.step(index)
    node = small.publish(index, "abcdef", nil, node, true)
    small.step(index)
    assert.are.equal(1, index:stats().nodes) -- a leaf without a state grows
    local last = small.publish(index, "abcdefgh", small.slots_of(), node, true)
    small.step(index)
    last = small.publish(index, "abcdefghi", small.slots_of(), last, true)
    small.step(index)
    assert.are.equal(2, index:stats().nodes)
    assert.are.equal(0, index:first(Index.LEAVES))
    index:unlock(last)
    assert.are.same({ "abcdefghi", "abcdefgh" }, small.order(index))
  end)

  it("grows no leaf that is pinned, or another's", function()
    local index = small.new()
    local function grow(text, mark)
      local ids, n = small.ids_of(text)
      local node = assert(index:publish(ids, n, ints_t(), nil, 0, false, mark)).node
      small.step(index)
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
    local index = small.new { max_nodes = 1, max_blocks = 2000 }
    local ids, kv = ffi.new "int64_t[2000]", ffi.new "int32_t[2000]"
    for k = 0, 1999 do ids[k] = k end
    assert(index:publish(ids, 3, kv))
    small.step(index)
    for n = 4, 2000 do
      assert(index:publish(ids, n, kv))
      if n % 100 == 0 then assert.are.equal(3, index:match(ids, n, 4 * n).kv_hit) end
    end
    assert.are.equal(0, lib.gdn_index_verify(index.handle))
    small.step(index)
    assert.are.equal(2000, index:match(ids, 2000, 8000).kv_hit)
  end)

  it("counts anew for a new state", function()
    local index = small.filled({}, "ab")
    local node = small.match(index, "abc").node
    for _ = 1, 2 do
      assert.is_false(index:describe(node).superseded)
      small.match(index, "abc")
      index:lock()
      index:unlock_state(node)
      index:unlock(node)
      assert.are.same({ 1, true }, { index:describe(node).state_hits, index:describe(node).superseded })
      index:drop_state(node)
      small.publish(index, "ab", small.slots_of())
      small.step(index)
    end
    index:drop_state(node)
    assert.are.same({ 2, 1 }, { index:stats().states_used, index:stats().states_unused })
  end)

  it("tells a prompt that goes past a node from one that ends there", function()
    local index = small.filled({}, "ab")
    small.match(index, "ab")
    local node = index:lock().node
    assert.is_false(index:describe(node).superseded)
    small.match(index, "abx")
    index:lock()
    assert.is_true(index:describe(node).superseded)
  end)

  it("asks again for a state that a request went past, though it did not read it", function()
    local index = small.filled({}, "ab")
    small.rate(index, Index.STATES, function() return 1 end)
    assert.is_false(index:candidates(Index.STATES, 4)[1].is_new)
    small.match(index, "abx").state_node = 0
    index:lock()
    assert.is_true(index:candidates(Index.STATES, 4)[1].is_new)
  end)
end)
