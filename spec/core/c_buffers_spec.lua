-- C buffers that a name keeps and that grow on demand.
local c_buffers = require "gdnmeta.native.c_buffers"

describe("scratch memory", function()
  local memory
  before_each(function() memory = c_buffers.new() end)
  after_each(function() memory:close() end)

  it("stays where it is until a name asks for more", function()
    local first = memory:int32("a", 4)
    first[3] = 7
    assert.is_true(memory:int32("a", 4) == first)
    assert.is_true(memory:int32("a", 2) == first)
    assert.are.equal(7, memory:int32("a", 4)[3])
    local larger = memory:int32("a", 1000)
    larger[999] = 8
    assert.is_true(memory:int32("a", 1000) == larger)
  end)

  it("is another block for another name", function()
    local a, b = memory:int32("a", 1), memory:int32("b", 1)
    a[0], b[0] = 1, 2
    assert.are.same({ 1, 2 }, { memory:int32("a", 1)[0], memory:int32("b", 1)[0] })
  end)

  it("has an address even where nothing is asked for", function()
    assert.is_true(memory:int32("a", 0) ~= nil)
  end)

  it("holds nothing once closed, twice or once, and can be used again", function()
    memory:int32("a", 4)
    memory:close()
    memory:close()
    assert.is_nil(next(memory.blocks))
    memory:int32("a", 4)[3] = 1
  end)

  it("is refused with its name where there is no memory for it", function()
    local ok, message = pcall(memory.bytes, memory, "a", 2 ^ 62)
    assert.are.same({ false, "gdnmeta: no memory for 4611686018427387904 bytes of a" }, { ok, message })
    assert.is_nil(next(memory.blocks))
  end)

  it("ends with its owner", function()
    local alive = setmetatable({}, { __mode = "k" })
    alive[c_buffers.new():bytes("a", 4)] = true
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(alive))
  end)
end)
