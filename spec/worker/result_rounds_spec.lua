-- Results of random rows, through memory that held something else: what is packed is what is read, byte by
-- byte the same again, and what is refused leaves the memory as it was.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local records = require "spec.support.step_records"

local int32s = gdn.array_of "int32_t"
local why, said = records.why, records.said
local ROOM, MOST = 65536, 2 ^ 31 - 1

local function list_of(array, n)
  local list = {}
  for k = 1, n do list[k] = array[k - 1] end
  return list
end

-- A list of `rows` counts, none of them 0 where that is asked for, and as many numbers as they add up to.
local function counts(rows, most, least)
  local list, values = {}, {}
  for k = 1, rows do
    list[k] = math.random(least, most)
    for _ = 1, list[k] do values[#values + 1] = math.random(3) == 1 and MOST or math.random(0, 1000) end
  end
  return list, values
end

local function draw(rows)
  local d = { number = math.random(0, 2 ^ 30), text = ("x"):rep(math.random(0, 3) * math.random(0, 40)) }
  local least = math.random(0, 1)
  d.emitted, d.tokens = counts(rows, math.random(1, 65), least)
  if math.random(3) > 1 then d.next_drafts, d.drafts = counts(rows, math.random(1, 64), least) end
  return d
end

local function record_of(d)
  local r, held = ffi.new "gdn_result_record", {}
  for _, name in ipairs { "emitted", "tokens", "next_drafts", "drafts" } do
    held[name] = d[name] and int32s(math.max(#d[name], 1), d[name])
    r[name] = held[name] or nil
  end
  r.number, r.text, r.text_bytes = d.number, d.text, #d.text
  r.num_rows, r.num_tokens, r.num_drafts = #d.emitted, #d.tokens, d.drafts and #d.drafts or 0
  return r, held
end

local function pack(r, size, fill)
  local memory = records.memory(ROOM)
  ffi.fill(memory, ROOM, fill)
  return tonumber(lib.gdn_result_pack(r, memory, size, why, 512)), memory
end

describe("A result", function()
  it("comes back as it was given", function()
    math.randomseed(11)
    for n = 1, 400 do
      local d = draw(n < 20 and n % 10 or math.random(0, 12))
      local r, held = record_of(d)
      local bytes, memory = pack(r, ROOM, 0xa5)
      assert(bytes > 0 and held, said())
      local rest = ROOM - bytes
      assert.are.equal(("\165"):rep(rest), ffi.string(ffi.cast("char *", memory) + bytes, rest))
      local again, other = pack(r, bytes, 0x3c)
      assert.are.equal(bytes, again)
      assert.are.equal(ffi.string(memory, bytes), ffi.string(other, bytes))
      local out = ffi.new "gdn_result_record"
      assert.are.equal(0, tonumber(lib.gdn_result_unpack(memory, bytes, out, why, 512)), said())
      assert.are.same({ d.number, 0, #d.emitted, #d.tokens, #d.text, d.drafts and 1 or 0 },
        { tonumber(out.number), out.status, out.num_rows, out.num_tokens, out.text_bytes, out.has_drafts })
      assert.are.same(d.emitted, list_of(out.emitted, out.num_rows))
      assert.are.same(d.tokens, list_of(out.tokens, out.num_tokens))
      assert.are.equal(d.text, ffi.string(out.text))
      assert.are.equal(d.drafts == nil, out.next_drafts == nil)
      if d.drafts then
        assert.are.same(d.next_drafts, list_of(out.next_drafts, out.num_rows))
        assert.are.same(d.drafts, list_of(out.drafts, out.num_drafts))
      end
    end
  end)

  it("that does not fit, or is none, leaves the memory and the reader's place as they were", function()
    math.randomseed(12)
    for _ = 1, 100 do
      local d = draw(math.random(1, 9))
      local r, held = record_of(d)
      local bytes, memory = pack(r, ROOM, 0)
      for _, size in ipairs { -1, 0, 8, bytes - 8, bytes - 1 } do
        local status, untouched = pack(r, size, 0xa5)
        assert.are.same({ gdn.ECAP, ("the record takes %d bytes, there is room for %d"):format(bytes, size) },
          { status, said() })
        assert.are.equal(("\165"):rep(bytes), ffi.string(untouched, bytes))
      end
      r.num_tokens = r.num_tokens + 1
      local status, untouched = pack(r, ROOM, 0xa5)
      assert.are.equal(gdn.EINVAL, status)
      assert.are.equal(("\165"):rep(bytes), ffi.string(untouched, bytes))
      local out = ffi.new "gdn_result_record"
      ffi.fill(out, ffi.sizeof(out), 0xa5)
      memory[math.random(0, bytes / 8 - 1)] = -1
      assert.are_not.equal(0, tonumber(lib.gdn_result_unpack(memory, bytes, out, why, 512)))
      assert.are.equal(("\165"):rep(ffi.sizeof(out)), ffi.string(out, ffi.sizeof(out)))
      assert(held)
    end
  end)
end)
