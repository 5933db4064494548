-- A channel: records in order, round the end of the ring, refusals by name, ends; and a peer that writes what
-- it likes into the shared memory leads nobody outside.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local array_of = require "gdnmeta.array_of"
local channels = require "spec.support.channels"
require "spec.support.step_records"
local lib = require "gdnmeta.native"

local int64s = array_of "int64_t"
local why = ffi.new "char[300]"
local make, free = channels.make, channels.free
ffi.cdef [[
int fileno(void *); int clock_gettime(int clock, long *time); int close(int descriptor);
int memfd_create(const char *name, unsigned flags); int ftruncate(int descriptor, int64_t bytes);
int dup(int descriptor);
]]
pcall(ffi.cdef, "int fcntl(int descriptor, int command, ...);")
local ECLOSED, EVERSION = tonumber(lib.GDN_ECLOSED), tonumber(lib.GDN_EVERSION)

-- Where what stands in the shared memory: see struct shared of channel.c.
local AT = { magic = 0, version = 4, largest = 24, to_worker = { written = 64, read = 128 },
             to_engine = { written = 192, read = 256 } }

local function open(descriptor)
  local out = ffi.new "gdn_channel *[1]"
  local status = lib.gdn_channel_open(descriptor, out, why, 300)
  if status ~= 0 then return nil, ffi.string(why), status end
  return ffi.gc(out[0], lib.gdn_channel_free)
end

-- The channel's memory as a file: what one writes there, both sides see.
local function memory_of(channel)
  return assert(io.open(("/proc/self/fd/%d"):format(lib.gdn_channel_descriptor(channel)), "r+b"))
end

local function poke(channel, at, value)
  local file, cell = memory_of(channel), int64s(1)
  cell[0] = value
  file:seek("set", at)
  file:write(ffi.string(cell, 8))
  file:close()
end

local function receive(channel, size, seconds)
  local out = int64s(math.max(size / 8, 1))
  return tonumber(lib.gdn_channel_receive(channel, out, size, seconds or 0)), out
end

local function record(words, value)
  local r = int64s(words)
  for k = 0, words - 1 do r[k] = value * 1000 + k end
  return r, 8 * words
end

local function send(channel, words, value)
  local r, bytes = record(words, value)
  return lib.gdn_channel_send(channel, r, bytes)
end

describe("A channel", function()
  it("carries records both ways, in order and round the end of a ring", function()
    for _, largest in ipairs { 8, 24, 64, 200 } do
      local engine = make(largest, largest)
      local worker = assert(open(lib.gdn_channel_descriptor(engine)))
      math.randomseed(largest)
      local waiting, sent, got = {}, 0, 0
      for _, way in ipairs { { engine, worker }, { worker, engine } } do
        for _ = 1, 3000 do
          if math.random() < 0.5 then
            local words = math.random(largest / 8)
            local status = send(way[1], words, sent)
            if status == 0 then
              waiting[#waiting + 1], sent = { words, sent }, sent + 1
            else
              assert.are.equal(gdn.ECAP, status)
              assert.is_true(#waiting > 0)
            end
          else
            local bytes, out = receive(way[2], largest)
            local want = table.remove(waiting, 1)
            if not want then
              assert.are.equal(0, bytes)
            else
              assert.are.equal(8 * want[1], bytes)
              for k = 0, want[1] - 1 do assert.are.equal(want[2] * 1000 + k, tonumber(out[k])) end
              got = got + 1
            end
          end
        end
        while waiting[1] do
          table.remove(waiting, 1)
          assert.is_true(receive(way[2], largest) > 0)
        end
      end
      assert.is_true(got > 2000)
      free(worker)
      free(engine)
    end
  end)

  it("takes records of its size and no others", function()
    local engine = make(64, 32)
    local worker = assert(open(lib.gdn_channel_descriptor(engine)))
    assert.are.same({ 64, 32, 32, 64 }, {
      tonumber(lib.gdn_channel_largest(engine, 0)), tonumber(lib.gdn_channel_largest(engine, 1)),
      tonumber(lib.gdn_channel_largest(worker, 0)), tonumber(lib.gdn_channel_largest(worker, 1)) })
    for _, bytes in ipairs { 0, -8, 4, 12, 72 } do
      assert.are.equal(gdn.EINVAL, lib.gdn_channel_send(engine, int64s(10), bytes))
    end
    assert.are.equal(0, send(engine, 8, 1))
    assert.are.equal(gdn.ECAP, (receive(worker, 56))) -- and it is there still
    assert.are.equal(64, (receive(worker, 64)))
    for _, sizes in ipairs { { 0, 8 }, { 8, 0 }, { 12, 8 }, { 8, -8 }, { 2 ^ 31, 8 } } do
      local out = ffi.new "gdn_channel *[1]"
      assert.are.equal(gdn.EINVAL, lib.gdn_channel_new(sizes[1], sizes[2], out, why, 300))
      assert.matches("_bytes = %-?%d+, want 8 .. 2147483640, a multiple of 8$", ffi.string(why))
      assert.is_true(out[0] == nil)
    end
  end)

  it("says that the other side has gone, once all is read that it left", function()
    for _, who in ipairs { "engine", "worker" } do
      local sides = { engine = make(64, 64) }
      sides.worker = assert(open(lib.gdn_channel_descriptor(sides.engine)))
      local here, there = sides[who], sides[who == "engine" and "worker" or "engine"]
      send(here, 3, 1)
      send(there, 3, 2)
      lib.gdn_channel_close(here)
      lib.gdn_channel_close(here)
      assert.are.equal(24, (receive(there, 64)))
      assert.are.equal(ECLOSED, (receive(there, 64)))
      assert.are.equal(ECLOSED, (receive(there, 64, 5))) -- at once
      assert.are.equal(ECLOSED, send(there, 3, 3))
      assert.are.equal(ECLOSED, send(here, 3, 3))
    end
  end)

  it("has one worker, of its own version", function()
    local engine = make(64, 64)
    local descriptor = lib.gdn_channel_descriptor(engine)
    assert.are.equal(0, lib.gdn_channel_peer_version(engine))
    local file = memory_of(engine)
    file:seek("set", AT.version)
    file:write "\9"
    file:close()
    assert.are.same({ nil, "a channel of version 9, want 1", EVERSION }, { open(descriptor) })
    assert.are.equal(1, lib.gdn_channel_peer_version(engine)) -- so the engine learns who has tried
    engine = make(64, 64)
    descriptor = lib.gdn_channel_descriptor(engine)
    local worker = assert(open(descriptor))
    assert.are.same({ nil, "another worker has opened the channel", gdn.EINVAL }, { open(descriptor) })
    assert.are.equal(0, send(worker, 1, 1)) -- the one that has it does not notice
    assert.are.equal(8, (receive(engine, 64)))
  end)

  it("is not any file", function()
    for _, path in ipairs { "/dev/null", "Makefile" } do
      local file = io.open(path)
      local descriptor = ffi.C.fileno(file)
      local got, message = open(descriptor)
      assert.is_nil(got)
      assert.are.equal(("descriptor %d is no channel of gdnmeta"):format(descriptor), message)
      file:close()
    end
    assert.matches("^descriptor 999: ", (select(2, open(999))))
    for at, value in pairs { [AT.magic] = 7, [AT.largest] = 2 ^ 40, [AT.largest + 8] = 2 ^ 20 } do
      local engine = make(64, 64)
      poke(engine, at, value)
      assert.is_nil((open(lib.gdn_channel_descriptor(engine))))
    end
    -- Sizes that a record's may not have, of a memory that has room for them.
    for _, largest in ipairs { -8, 0, 4, 7, 9, 12, 2 ^ 31, 2 ^ 31 - 8 } do
      local engine = make(64, 64)
      poke(engine, AT.largest, largest)
      local words = largest < 8 or largest % 8 ~= 0 or largest > 2 ^ 31 - 8
      local want = words and ("a channel for records of %.0f bytes"):format(largest)
        or "a channel of %d+ bytes, want"
      assert.matches("^" .. want:gsub("%-", "%%-"), (select(2, open(lib.gdn_channel_descriptor(engine)))))
    end
    -- A memory of so many bytes, sealed in part, and so that nobody writes.
    local SEALED, NO_CHANNEL = 7, "^descriptor %d+ is no channel of gdnmeta$"
    for _, case in ipairs {
      { 0, SEALED, NO_CHANNEL }, { 8, SEALED, NO_CHANNEL }, { 4095, SEALED, NO_CHANNEL },
      { 4096, SEALED, "^a channel of 4096 bytes, want 4224$" }, { 4224, 3, NO_CHANNEL },
      { 4224, 5, NO_CHANNEL }, { 4224, 6, NO_CHANNEL }, { 4224, 0, NO_CHANNEL },
      { 4224, 8 + SEALED, "^cannot map 4224 bytes: " },
      { 4224, SEALED },
    } do
      local descriptor, head = ffi.C.memfd_create("gdnmeta", 2), int64s(5)
      head[0], head[3], head[4] = 0x1434e4447, 8, 8 -- version 1
      local file = assert(io.open("/proc/self/fd/" .. descriptor, "r+b"))
      file:write(ffi.string(head, 40))
      file:close()
      assert(ffi.C.ftruncate(descriptor, case[1]) == 0)
      assert(ffi.C.fcntl(descriptor, 1033, ffi.new("int", case[2])) == 0)
      local channel, message = open(descriptor)
      if case[3] then assert.matches(case[3], message) else assert(channel, message) end
      ffi.C.close(descriptor)
    end
  end)

  it("is led outside by no position and no length that the other side writes", function()
    local WILD = { 1, 7, 8, 63, 64, 200, 2 ^ 31, 2 ^ 40, 2 ^ 53, -1, -8, -2 ^ 31, -2 ^ 62 }
    for _, wild in ipairs(WILD) do
      -- what the worker has written, as the engine reads it
      local engine = make(64, 64)
      assert(open(lib.gdn_channel_descriptor(engine)))
      poke(engine, AT.to_engine.written, wild)
      for _ = 1, 3 do
        local bytes = receive(engine, 64)
        assert.is_true(bytes == gdn.EGUARD, ("written = %d: %d"):format(wild, bytes))
      end
      if wild < 0 or wild > 192 then -- with a whole record where the engine reads
        engine = make(64, 64)
        send(assert(open(lib.gdn_channel_descriptor(engine))), 2, 1)
        poke(engine, AT.to_engine.written, wild)
        assert.are.equal(gdn.EGUARD, (receive(engine, 64)))
      end
      -- what the worker has read, as the engine writes
      engine = make(64, 64)
      poke(engine, AT.to_worker.read, wild)
      local status = send(engine, 2, 1)
      local is_possible = wild < 0 and wild >= -144 -- that much is in the ring
      assert.are.equal(is_possible and 0 or gdn.EGUARD, status, ("read = %d"):format(wild))
      -- the length of a record
      engine = make(64, 64)
      local worker = assert(open(lib.gdn_channel_descriptor(engine)))
      send(worker, 2, 1)
      local file = memory_of(engine)
      local size = file:seek "end"
      file:close()
      local from = size - 192 -- the engine's ring: 72 bytes twice, rounded up to lines
      poke(engine, from, wild)
      local bytes, out = receive(engine, 64)
      assert.is_true(bytes == gdn.EGUARD or bytes == 8 and wild == 8, ("length = %d: %d"):format(wild, bytes))
      assert.is_true(bytes == 8 or out[0] == 0)
    end
  end)

  it("cannot be cut short under a reader", function()
    local engine = make(64, 64)
    local path = ("/proc/self/fd/%d"):format(lib.gdn_channel_descriptor(engine))
    assert.is_nil(io.open(path, "w")) -- which would truncate it
  end)

  it("gives signs of life", function()
    local engine = make(64, 64)
    local worker = assert(open(lib.gdn_channel_descriptor(engine)))
    for n = 1, 3 do
      lib.gdn_channel_beat(worker)
      assert.are.equal(n, tonumber(lib.gdn_channel_beats(engine)))
    end
    assert.are.equal(0, tonumber(lib.gdn_channel_beats(worker)))
  end)

  it("wakes who sleeps, and lets no one sleep longer than asked for", function()
    local engine = make(64, 64)
    local worker = assert(open(lib.gdn_channel_descriptor(engine)))
    assert.are.equal(0, (receive(worker, 64, 0.01)))
    for _, seconds in ipairs { 0 / 0, -1, 0 } do assert.are.equal(0, (receive(worker, 64, seconds))) end
    send(engine, 1, 5)
    assert.are.equal(8, (receive(worker, 64, 1e9)))
  end)

  local function now()
    local time = ffi.new "long[2]"
    ffi.C.clock_gettime(1, time)
    return tonumber(time[0]) + tonumber(time[1]) * 1e-9
  end

  it("is waited at as long as is asked for, not less", function()
    local engine = make(64, 64)
    local worker = assert(open(lib.gdn_channel_descriptor(engine)))
    for _, seconds in ipairs { 0.003, 0.05, 1.01 } do -- the last in two sleeps
      local before = now()
      assert.are.equal(0, (receive(worker, 64, seconds)))
      assert.is_true(now() - before >= seconds - 1e-6, seconds)
    end
  end)
end)
