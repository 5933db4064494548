-- Memory that Lua holds for C: freed once by whoever comes first, as much as was asked for and no more, and
-- which addresses are taken for memory.
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
end)
