-- Arrays as a launch carries them: how narrow, where, each byte of them and none besides, for every width and
-- length; and which bytes are taken for the same.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local page_end = require "spec.support.page_end"

ffi.cdef [[
int64_t gdn_counted_pack(const int32_t *const *values, const uint32_t *n, uint32_t pieces, int ramp,
                         int64_t from, unsigned char *to, int32_t *packed, int *same);
]]

local lib = ffi.load(require("spec.support.counted_library").path)
local int32s, bytes_of = gdn.array_of "int32_t", gdn.array_of "uint8_t"
local LOW, HIGH = -2 ^ 31, 2 ^ 31 - 1
local ROOM = 512

-- Lists packed as one array: bytes, { at, bits, base, step }, memory.
local function pack(lists, ramp, from, memory, same)
  local ends, values, n = page_end.new(), ffi.new "const int32_t *[4]", ffi.new "uint32_t[4]"
  for k, list in ipairs(lists) do
    values[k - 1], n[k - 1] = ends.array("int32_t", #list, list), #list
  end
  local packed = int32s(4)
  if not memory then
    memory = bytes_of(ROOM)
    ffi.fill(memory, ROOM, 0xa5)
  end
  local bytes = tonumber(lib.gdn_counted_pack(values, n, #lists, ramp and 1 or 0, from, memory, packed, same))
  return bytes, { packed[0], packed[1], packed[2], packed[3] }, memory
end

local function range(lists)
  local low, high = HIGH, LOW
  for _, list in ipairs(lists) do
    for _, value in ipairs(list) do low, high = math.min(low, value), math.max(high, value) end
  end
  return low, high - low
end

-- The bytes that should stand there, by their number; pieces of one array lie back to back.
local function wanted(lists, bits, base, at)
  local bytes, k = {}, 0
  for _, list in ipairs(lists) do
    for _, value in ipairs(list) do
      local above = value - base
      if bits == 1 then
        local byte = at + math.floor(k / 8)
        bytes[byte] = (bytes[byte] or 0) + above * 2 ^ (k % 8)
      else
        for b = 0, bits / 8 - 1 do
          bytes[at + k * bits / 8 + b] = math.floor(above / 256 ^ b) % 256
        end
      end
      k = k + 1
    end
  end
  return bytes, k
end

local function width(span, joined)
  if span == 1 and joined then return 8 end
  return span == 0 and 0 or span == 1 and 1 or span < 256 and 8 or span < 65536 and 16 or 32
end

local SPANS = { 0, 1, 2, 255, 256, 65535, 65536, 2 ^ 31 - 1, 2 ^ 32 - 1 }

local function list_of(n, base, span)
  local list = {}
  for k = 1, n do list[k] = base + math.floor(span * math.random(0, 64) / 64) end
  return list
end

local function check(lists, from)
  local low, span = range(lists)
  local bits = width(span, #lists > 1)
  local bytes, packed, memory = pack(lists, false, from)
  assert.are.same({ from, bits, low, 0 }, packed)
  local want, n = wanted(lists, bits, low, from)
  assert.are.equal(math.ceil((from + math.ceil(n * bits / 8)) / 16) * 16, bytes)
  for at = 0, ROOM - 1 do assert.message(at).are.equal(bits > 0 and want[at] or 0xa5, memory[at]) end
  -- Known again; and not where any of its bytes is another, but for bits behind the last element.
  local same = ffi.new "int[1]"
  pack(lists, false, from, memory, same)
  assert.are.equal(1, same[0])
  for at in pairs(bits > 0 and want or {}) do
    memory[at] = (memory[at] + 1) % 256
    pack(lists, false, from, memory, same)
    assert.message(at).are.equal(0, same[0])
    memory[at] = (memory[at] - 1) % 256
  end
end

describe("A packed array", function()
  before_each(function() math.randomseed(3) end)

  it("is as narrow as its values, and lies where it should", function()
    for _, span in ipairs(SPANS) do
      for n = 1, 18 do
        local base = span > HIGH and LOW or n % 3 == 0 and -7 or 0
        check({ list_of(n, base, span) }, 16 * (n % 3))
      end
    end
  end)

  it("may come from several, which lie back to back", function()
    for _, span in ipairs(SPANS) do
      for n = 1, 12 do
        local lists, base = {}, span > HIGH and LOW or span == HIGH and 0 or 5
        for k = 1, 2 + n % 3 do lists[k] = list_of(1 + (n * k) % 7, base, span) end
        check(lists, 16 * (n % 3))
      end
    end
  end)

  it("takes no memory where it is a ramp, from two elements on", function()
    local RAMPS = { { 0, 1 }, { 5, 0 }, { -9, 3 }, { 7, -2 }, { 0, 1000000 }, { HIGH - 20, 1 } }
    for _, ramp in ipairs(RAMPS) do
      for n = 2, 17 do
        local list = {}
        for k = 1, n do list[k] = ramp[1] + (k - 1) * ramp[2] end
        local bytes, packed, memory = pack({ list }, true, 32)
        assert.are.same({ 32, { 0, 0, ramp[1], ramp[2] } }, { bytes, packed })
        assert.are.equal(("\165"):rep(ROOM), ffi.string(memory, ROOM))
        for k = 1, n do -- one element beside it
          local was = list[k]
          list[k] = was + (was == HIGH and -1 or 1)
          local _, other = pack({ list }, true, 32)
          local _, plain = pack({ list }, false, 32)
          if n > 2 then assert.are.same(plain, other) else assert.are.equal(0, other[2]) end
          list[k] = was
        end
      end
    end
    assert.are.same({ 16, { 0, 0, 0, 0 } }, { pack({ {} }, true, 16), (select(2, pack({ {} }, true, 16))) })
    assert.are.same({ 16, 0, 9, 0 }, (select(2, pack({ { 9 } }, true, 16))))
  end)
end)
