-- A channel, system call by system call: which are made, in which order, what is said and left where one of
-- them fails, how long who waits sleeps, and who is woken.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local calls = require "spec.support.counted_calls"

local lib = calls.lib
local why = ffi.new "char[300]"
pcall(ffi.cdef, [[
int channel_calls_open(const char *, int) __asm__("open");
int channel_calls_close(int) __asm__("close");
int64_t channel_calls_pread(int, void *, size_t, int64_t) __asm__("pread");
int64_t channel_calls_pwrite(int, const void *, size_t, int64_t) __asm__("pwrite");
]])
local EIO, SECOND = 5, 1000000000
-- Where what stands in the shared memory: see struct shared of channel.c.
local RINGS = { to_worker = { wake = 72, sleeps = 136, closed = 324 },
                to_engine = { wake = 200, sleeps = 264, closed = 388 } }
local IS_OPEN = 40

local function new(how, step_bytes, result_bytes)
  local out, status = ffi.new "gdn_channel *[1]", nil
  ffi.fill(why, 300)
  local text = calls.of(how, function()
    status = tonumber(lib.gdn_channel_new(step_bytes or 64, result_bytes or 64, out, why, 300))
  end)
  return text, out[0], status
end

local function open(descriptor, how)
  local out, status = ffi.new "gdn_channel *[1]", nil
  ffi.fill(why, 300)
  local text = calls.of(how, function()
    status = tonumber(lib.gdn_channel_open(descriptor, out, why, 300))
  end)
  return text, out[0], status
end

-- A number of 32 bits of the shared memory, read or written.
local function cell(channel, at, value)
  local word = ffi.new("uint32_t[1]", value or 0)
  local descriptor = lib.gdn_channel_descriptor(channel)
  if value then assert(ffi.C.channel_calls_pwrite(descriptor, word, 4, at) == 4) end
  assert(ffi.C.channel_calls_pread(descriptor, word, 4, at) == 4)
  return word[0]
end

local function freed(channel)
  return calls.of(nil, function() lib.gdn_channel_free(channel) end)
end

describe("The system calls of a channel", function()
  it("are these", function()
    for _, sizes in ipairs { { 64, 64, 4480 }, { 8, 200, 4096 + 64 + 448 } } do
      local text, engine, status = new(nil, sizes[1], sizes[2])
      local fd = lib.gdn_channel_descriptor(engine)
      local made = ("memfd_create(gdnmeta, 3) = FD\nftruncate(FD, ALL) = 0\nfcntl(FD, 1033, 7) = 0\n"
        .. "mmap(ALL, 3, FD) = 0\n"):gsub("FD", fd):gsub("ALL", sizes[3])
      assert.are.same({ 0, made }, { status, text })
      local worker
      text, worker, status = open(fd)
      assert.are.same({ 0, ("fcntl(%d, 1034, 0) = 7\nmmap(%d, 3, %d) = 0\n"):format(fd, sizes[3], fd) },
        { status, text })
      assert.are.equal(("munmap(%d) = 0\n"):format(sizes[3]), freed(worker))
      assert.are.equal(("munmap(%d) = 0\nclose(%d) = 0\n"):format(sizes[3], fd), freed(engine))
    end
  end)

  it("may fail one by one, which is said, and leaves nothing", function()
    local first = ffi.C.channel_calls_open("/dev/null", 0) -- the lowest number that is free
    ffi.C.channel_calls_close(first)
    for _, case in ipairs {
      { "memfd_create", "memfd_create: Input/output error", "" },
      { "ftruncate", "a channel of 4480 bytes: Input/output error", "close(%d) = 0\n" },
      { "fcntl", "a channel of 4480 bytes: Input/output error", "close(%d) = 0\n" },
      { "mmap", "cannot map 4480 bytes: Input/output error", "close(%d) = 0\n" },
    } do
      local text, channel, status = new { fail = case[1], error = EIO }
      assert.are.same({ gdn.ENOMEM, true, case[2] }, { status, channel == nil, ffi.string(why) })
      assert.are.equal(case[3]:format(first), text:match("%) = %-1\n(.*)$"))
    end
    local _, engine = new()
    local fd = lib.gdn_channel_descriptor(engine)
    for name, want in pairs {
      fcntl = { gdn.EINVAL, ("descriptor %d is no channel of gdnmeta"):format(fd) },
      mmap = { gdn.ENOMEM, "cannot map 4480 bytes: Input/output error" },
    } do
      local text, channel, status = open(fd, { fail = name, error = EIO })
      assert.are.same({ want[1], want[2], true }, { status, ffi.string(why), channel == nil })
      assert.matches("%) = %-1\n$", text) -- the engine's descriptor is its own
    end
    local _, worker = open(fd) -- nobody has opened it yet
    local text, another = open(fd)
    assert.is_true(another == nil)
    assert.matches("\nmunmap%(4480%) = 0\n$", text)
    local record = ffi.new "int64_t[1]"
    assert.are.equal(0, tonumber(lib.gdn_channel_send(engine, record, 8))) -- it is not closed
    freed(worker)
    freed(engine)
  end)

  -- What a wait of so many seconds comes to, by a clock that begins at `from` and goes on in sleeps alone.
  local function waits(channel, seconds, from)
    local out, status = ffi.new "int64_t[8]", nil
    local text = calls.of({ clock = from }, function()
      status = tonumber(lib.gdn_channel_receive(channel, out, 64, seconds))
    end)
    assert.are.equal(0, status)
    return text
  end

  it("sleep for just as long as was asked for, a second at most", function()
    local _, engine = new()
    for _, from in ipairs { 7 * SECOND, 7 * SECOND + SECOND / 2, 3 * SECOND / 4 } do
      local at = from / SECOND
      local function clock(t) return ("clock_gettime(1) = %.9f\n"):format(t) end
      local function sleep(s) return ("sleep(%.9f), said: 1\n"):format(s) end
      assert.are.equal(clock(at) .. sleep(0.25) .. clock(at + 0.25), waits(engine, 0.25, from))
      assert.are.equal(clock(at) .. sleep(1) .. clock(at + 1), waits(engine, 1, from))
      assert.are.equal(clock(at) .. sleep(1) .. clock(at + 1) .. sleep(1) .. clock(at + 2)
        .. sleep(0.5) .. clock(at + 2.5), waits(engine, 2.5, from))
      for _, none in ipairs { 0, -1, 0 / 0 } do assert.are.equal("", waits(engine, none, from)) end
      assert.are.equal(0, cell(engine, RINGS.to_engine.sleeps))
    end
    freed(engine)
  end)

  it("wake who may sleep, and nobody else", function()
    local record = ffi.new("int64_t[1]", 5)
    for way, at in pairs(RINGS) do
      local _, engine = new()
      local _, worker = open(lib.gdn_channel_descriptor(engine))
      local here, there = way == "to_worker" and engine or worker, way == "to_worker" and worker or engine
      local other = RINGS[way == "to_worker" and "to_engine" or "to_worker"]
      for n = 1, 3 do
        local sleeps = n % 2
        cell(engine, at.sleeps, sleeps)
        local status
        local text = calls.of(nil, function()
          status = tonumber(lib.gdn_channel_send(here, record, 8))
        end)
        assert.are.same({ 0, sleeps == 1 and "wake(1)\n" or "" }, { status, text })
        assert.are.same({ n, 0 }, { cell(engine, at.wake), cell(engine, other.wake) })
        -- What lies there is read without a sleep, and the flag of another wait stays.
        local out = ffi.new "int64_t[1]"
        text = calls.of(nil, function()
          status = tonumber(lib.gdn_channel_receive(there, out, 8, 60))
        end)
        assert.are.same({ 8, 5, "" }, { status, tonumber(out[0]), text })
        assert.are.equal(sleeps, cell(engine, at.sleeps))
      end
      assert.are.equal(1, cell(engine, IS_OPEN))
      assert.are.same({ 0, 0 }, { cell(engine, at.closed), cell(engine, other.closed) })
      cell(engine, at.sleeps, 1)
      local function close() return calls.of(nil, function() lib.gdn_channel_close(here) end) end
      assert.are.same({ "wake(1)\n", "" }, { close(), close() })
      assert.are.same({ 4, 0 }, { cell(engine, at.wake), cell(engine, other.wake) })
      assert.are.same({ 1, 0 }, { cell(engine, at.closed), cell(engine, other.closed) })
      freed(worker)
      freed(engine)
    end
  end)
end)
