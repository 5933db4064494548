-- What modules of gdnmeta.native say to each other. Memory that Lua holds for C: freed once by whoever comes
-- first, as much as was asked for and no more; which addresses are taken for memory; ranges of options.
local ffi = require "ffi"
local c_buffers = require "gdnmeta.native.c_buffers"
local int32_memory = require "gdnmeta.native.int32_memory"
local libc = require "gdnmeta.native.libc"
local owned = require "gdnmeta.native.owned"

local function upvalue(of, name)
  for n = 1, 60 do
    local found, value = debug.getupvalue(of, n)
    if found == name then return value, function(other) debug.setupvalue(of, n, other) end end
    if not found then error("no upvalue " .. name) end
  end
end

describe("A pointer that Lua owns", function()
  local events, owner
  before_each(function() events, owner = {}, {} end)

  local function number(pointer) return tonumber(ffi.cast("intptr_t", pointer)) end
  local function free(pointer) events[#events + 1] = "free " .. number(pointer) end
  local function forget(of, pointer)
    events[#events + 1] = (of == owner and "forget " or "forget of another ") .. number(pointer)
  end

  it("is freed once by release, after its owner has forgotten it", function()
    local pointer, release = owned.new(ffi.cast("char *", 64), free, owner, forget)
    assert.are.same({}, events)
    for _ = 1, 3 do release(pointer) end
    assert.are.same({ "forget 64", "free 64" }, events)
    pointer = nil -- luacheck: ignore
    for _ = 1, 3 do collectgarbage() end
    assert.are.same({ "forget 64", "free 64" }, events)
  end)

  it("is freed once by the collector", function()
    local release
    do
      local pointer
      pointer, release = owned.new(ffi.cast("char *", 128), free, owner, forget)
      assert.are.equal(128, number(pointer))
    end
    for _ = 1, 3 do collectgarbage() end
    assert.are.same({ "forget 128", "free 128" }, events)
    release(ffi.cast("char *", 128))
    assert.are.same({ "forget 128", "free 128" }, events)
  end)

  it("is freed without an owner that has gone before", function()
    do owned.new(ffi.cast("char *", 192), free, {}, forget) end
    for _ = 1, 3 do collectgarbage() end
    assert.are.same({ "free 192" }, events)
  end)
end)

describe("C buffers", function()
  it("ask for what they are asked for, a byte at least, and free what they outgrow", function()
    local asked, freed = {}, 0
    local fake = { libc_malloc = function(bytes)
      asked[#asked + 1] = bytes
      return libc.libc_malloc(bytes)
    end, libc_free = function(block)
      freed = freed + 1
      libc.libc_free(block)
    end }
    local buffers = c_buffers.new()
    local _, set = upvalue(buffers.bytes, "libc")
    local free = upvalue(buffers.bytes, "free")
    local _, set_free = upvalue(free, "libc")
    set(fake)
    set_free(fake)
    local ok, problem = pcall(function()
      for _, bytes in ipairs { 0, 0, 1, 2, 1, 8, 7, 100, 100, 101 } do buffers:bytes("a", bytes) end
      for _, length in ipairs { 0, 1, 2, 2, 1, 3 } do buffers:int32("b", length) end
      assert.are.equal(8, freed)
      buffers:close()
      assert.are.equal(10, freed)
    end)
    set(libc)
    set_free(libc)
    assert(ok, problem)
    assert.are.same({ 1, 1, 2, 8, 100, 101, 1, 4, 8, 12 }, asked)
  end)
end)

describe("An int32 pointer", function()
  local function said(address, n)
    local pointer, got = int32_memory.int32("x", { ffi.cast("int32_t *", address), n })
    if pointer == nil then return got end
    assert.are.same({ address, n }, { tonumber(ffi.cast("intptr_t", pointer)), got })
    return true
  end

  it("leads to no address of the first page, and to multiples of 4", function()
    for address = 4084, 4108 do
      for _, n in ipairs { 0, 1, 9 } do
        local want = address < 4096 and ("x[1] leads to address %d, want memory"):format(address)
          or address % 4 ~= 0 and ("x[1] leads to address %d, want a multiple of 4"):format(address) or true
        assert.are.equal(want, said(address, n))
      end
    end
    assert.are.equal("x[1] leads to address 4, want memory", said(4, 0))
    assert.are.equal("x[1] leads to address 0, want memory", said(0, 1))
    local null, n = int32_memory.int32("x", { ffi.cast("int32_t *", 0), 0 })
    assert.are.same({ true, 0 }, { null == nil, n })
    for _, address in ipairs { 2 ^ 31, 2 ^ 32 - 4, 2 ^ 32, 2 ^ 32 + 4, 2 ^ 46 } do
      assert.is_true(said(address, 1))
      assert.are.equal(("x[1] leads to address %.0f, want a multiple of 4"):format(address + 2),
        said(address + 2, 1))
    end
  end)

  it("is a list of integers where all of them may be, whatever kind it comes in", function()
    local array = ffi.new("int32_t[3]", 1, 5, 9)
    local list = { 1, 5, 9 }
    for _, value in ipairs { array, { array, 3 }, { ffi.cast("int32_t *", array), 3 }, list } do
      assert.are.same(list, int32_memory.list("x", value, 1, 9))
      for _, case in ipairs { { 2, 9, 1, 1 }, { 1, 8, 3, 9 }, { 1, 4, 2, 5 } } do
        local low, high, at, bad = unpack(case)
        assert.are.same({ nil, ("x[%d] = %d, want an integer in %d .. %d"):format(at, bad, low, high) },
          { int32_memory.list("x", value, low, high) })
      end
    end
    assert.are.same({}, int32_memory.list("x", { array, 0 }, 1, 9))
    assert.are.same({ nil, "x = 7, want a list" }, { int32_memory.list("x", 7, 1, 9) })
  end)
end)

describe("The range of an option", function()
  it("is asked for by a name that there is", function()
    local ranges = require "gdnmeta.native.ranges"
    assert.are.same({ 1, 2 ^ 31 - 1 }, { ranges.of "max_requests" }) -- nil says what 0 does in C
    assert.are.same({ 0, 64 }, { ranges.of "num_speculative_tokens" })
    local ok, message = pcall(ranges.of, "max_request")
    assert.is_false(ok)
    assert.matches("no option max_request$", message)
  end)
end)
