-- The ends of a channel and of a worker's process: how much memory, what a refusal or a failed allocation
-- leaves, what the other side sees of one that is freed, and that who waits sleeps.
local ffi = require "ffi"
local gdn = require "gdnmeta"
require "spec.support.step_records"
local noted = require "spec.support.noted"
local page_end = require "spec.support.page_end"
local shell = require "spec.support.shell"

pcall(ffi.cdef, "int64_t gdn_counted_bytes(void);")
pcall(ffi.cdef, "void gdn_counted_fail(int64_t n);")
pcall(ffi.cdef, "int64_t gdn_counted_live(void);")
pcall(ffi.cdef, [[
extern char **environ;
int channel_ends_dup(int) __asm__("dup");
int channel_ends_dup2(int, int) __asm__("dup2");
int channel_ends_close(int) __asm__("close");
]])

local lib = ffi.load(require("spec.support.counted_library").path)
local strings = gdn.array_of "const char *"
local notes = noted.new "records-"
local why = ffi.new "char[300]"

local function new(to_worker, to_engine)
  local out = ffi.new "gdn_channel *[1]"
  ffi.fill(why, 300)
  local status = tonumber(lib.gdn_channel_new(to_worker, to_engine, out, why, 300))
  return status, out[0]
end

local function open(descriptor)
  local out = ffi.new "gdn_channel *[1]"
  ffi.fill(why, 300)
  local status = tonumber(lib.gdn_channel_open(descriptor, out, why, 300))
  return status, out[0]
end

local function start(program)
  local out, list = ffi.new "gdn_process *[1]", strings(2)
  list[0] = program
  local channel = select(2, new(8, 8))
  ffi.fill(why, 300)
  local status = tonumber(lib.gdn_process_new(list, nil, lib.gdn_channel_descriptor(channel), out, why, 300))
  local said = ffi.string(why)
  lib.gdn_channel_free(channel)
  return status, out[0], said
end

-- Open descriptors and mappings of channels, and pieces of memory.
local function held()
  local pipe = io.popen "ls -l /proc/$PPID/fd | grep -c memfd:gdnmeta; grep -c memfd:gdnmeta /proc/$PPID/maps"
  local descriptors, maps = pipe:read("*n", "*n")
  pipe:close()
  return { descriptors, maps, tonumber(lib.gdn_counted_live()) }
end

local function receive(channel, seconds)
  local out = ffi.new "int64_t[8]"
  return tonumber(lib.gdn_channel_receive(channel, out, 64, seconds or 0))
end

describe("A channel's ends", function()
  before_each(notes.clear)

  it("have this much memory", function()
    for _, sizes in ipairs { { 8, 8 }, { 64, 200 }, { 4096, 8 }, { 2 ^ 20 - 16, 8 }, { 2 ^ 20 - 8, 8 },
                             { 2 ^ 20, 8 }, { 2 ^ 21, 2 ^ 22 }, { 2 ^ 31 - 8, 2 ^ 31 - 8 } } do
      lib.gdn_counted_bytes()
      local status, channel = new(sizes[1], sizes[2])
      assert.are.same({ 0, 112 }, { status, tonumber(lib.gdn_counted_bytes()) })
      local file = assert(io.open("/proc/self/fd/" .. lib.gdn_channel_descriptor(channel), "rb"))
      notes.note("channel", ("%.0f, %.0f: %.0f"):format(sizes[1], sizes[2], file:seek "end"))
      file:close()
      lib.gdn_channel_free(channel)
    end
    notes.check "channel-memory"
  end)

  it("leave nothing, used or refused", function()
    local before = held()
    for _, sizes in ipairs { { 8, 8 }, { 7, 8 }, { 8, 0 }, { 8, 12 } } do
      local status, channel = new(unpack(sizes))
      if status == 0 then
        local opened, worker = open(lib.gdn_channel_descriptor(channel))
        assert.are.equal(0, opened)
        assert.are.equal(gdn.EINVAL, (open(lib.gdn_channel_descriptor(channel))))
        assert.are.equal("another worker has opened the channel", ffi.string(why))
        lib.gdn_channel_free(worker)
        lib.gdn_channel_free(channel)
      end
      assert.are.equal(gdn.EINVAL, (open(999)))
      assert.are.same(before, held())
    end
    assert.are.same(-1, tonumber(lib.gdn_channel_descriptor(nil)))
    lib.gdn_channel_free(nil)
  end)

  it("leave nothing where there is no memory, and say so", function()
    local _, channel = new(8, 8)
    local before = held()
    lib.gdn_counted_fail(1)
    local made = new(8, 8)
    local said = ffi.string(why)
    local opened = open(lib.gdn_channel_descriptor(channel))
    lib.gdn_counted_fail(0)
    assert.are.same({ gdn.ENOMEM, "no memory for a channel", gdn.ENOMEM, "no memory for a channel" },
      { made, said, opened, ffi.string(why) })
    assert.are.same(before, held())
    lib.gdn_channel_free(channel)
  end)

  it("may have descriptor 0, and give it back", function()
    local kept = ffi.C.channel_ends_dup(0)
    assert(kept > 2 and ffi.C.channel_ends_close(0) == 0)
    local status, channel = new(8, 8)
    local descriptor, said = lib.gdn_channel_descriptor(channel), ffi.string(why)
    lib.gdn_channel_free(channel)
    local closed = ffi.C.channel_ends_close(0)
    ffi.C.channel_ends_dup2(kept, 0)
    ffi.C.channel_ends_close(kept)
    assert.are.same({ 0, "", 0, -1 }, { status, said, tonumber(descriptor), closed })
  end)

  it("are of records that may be, in both rings", function()
    for at, value in pairs { [24] = 12, [32] = 20 } do
      local _, channel = new(64, 64)
      local file = assert(io.open("/proc/self/fd/" .. lib.gdn_channel_descriptor(channel), "r+b"))
      file:seek("set", at)
      file:write(ffi.string(ffi.new("int64_t[1]", value), 8))
      file:close()
      assert.are.equal(gdn.EINVAL, (open(lib.gdn_channel_descriptor(channel))))
      assert.are.equal(("a channel for records of %d bytes"):format(value), ffi.string(why))
      lib.gdn_channel_free(channel)
    end
  end)

  it("are none without a descriptor, which is said", function()
    local status, text = shell.run([[ulimit -n 40; exec luajit -e "
      local ffi, lib = require 'ffi', require 'gdnmeta.native'
      require 'spec.support.step_records'
      ffi.cdef 'int open(const char *, int);'
      local why, out = ffi.new 'char[300]', ffi.new 'gdn_channel *[1]'
      while ffi.C.open('/dev/null', 0) >= 0 do end
      print(lib.gdn_channel_new(8, 8, out, why, 300), ffi.string(why))"]])
    assert.are.same({ 0, "-2\tmemfd_create: Too many open files\n" }, { status, text })
  end)

  it("say that the other is gone, however it went", function()
    for _, who in ipairs { "engine", "worker" } do
      local _, engine = new(64, 64)
      local _, worker = open(lib.gdn_channel_descriptor(engine))
      local here, there = who == "engine" and engine or worker, who == "engine" and worker or engine
      assert.are.equal(0, receive(there))
      lib.gdn_channel_free(here)
      assert.are.equal(tonumber(lib.GDN_ECLOSED), receive(there))
      lib.gdn_channel_free(there)
    end
  end)

  it("carry a record from and to the end of readable memory", function()
    local _, engine = new(64, 64)
    local _, worker = open(lib.gdn_channel_descriptor(engine))
    for words = 1, 8 do
      local ends = page_end.new()
      local from, to = ends.array("int64_t", words), ends.array("int64_t", words)
      for k = 0, words - 1 do from[k] = 100 * words + k end
      for _, way in ipairs { { engine, worker }, { worker, engine } } do
        ffi.fill(to, 8 * words)
        assert.are.equal(0, tonumber(lib.gdn_channel_send(way[1], from, 8 * words)))
        assert.are.equal(8 * words, tonumber(lib.gdn_channel_receive(way[2], to, 8 * words, 0)))
        for k = 0, words - 1 do assert.are.equal(100 * words + k, tonumber(to[k])) end
      end
    end
    lib.gdn_channel_free(worker)
    lib.gdn_channel_free(engine)
  end)

  it("sleep while they wait", function()
    local _, engine = new(64, 64)
    local function sleeps()
      local file = assert(io.open "/proc/self/status")
      local n = file:read("*a"):match "\nvoluntary_ctxt_switches:%s*(%d+)"
      file:close()
      return tonumber(n)
    end
    -- A busy machine may come back to a wait when its time is over, which then has no sleep: so each has some
    -- tries.
    for wait = 1, 20 do
      local has_slept = false
      for _ = 1, 20 do
        local before = sleeps()
        assert.are.equal(0, receive(engine, 0.002))
        has_slept = sleeps() > before
        if has_slept then break end
      end
      assert.is_true(has_slept, wait)
    end
    lib.gdn_channel_free(engine)
  end)
end)

describe("A process of a worker", function()
  it("leaves nothing where it is not started", function()
    local before = held()
    for n = 1, 2 do -- memory for it, and for its variables
      local _, channel = new(8, 8)
      local out, list = ffi.new "gdn_process *[1]", strings(2)
      list[0] = "true"
      ffi.fill(why, 300)
      lib.gdn_counted_fail(n)
      local status = lib.gdn_process_new(list, nil, lib.gdn_channel_descriptor(channel), out, why, 300)
      lib.gdn_counted_fail(0)
      assert.are.same({ gdn.ENOMEM, "no memory for a process", true },
        { tonumber(status), ffi.string(why), out[0] == nil })
      lib.gdn_channel_free(channel)
      assert.are.same(before, held())
    end
    local status, process, said = start "/no/such"
    assert.are.same({ gdn.EINVAL, "cannot run /no/such: No such file or directory", true },
      { status, said, process == nil })
    assert.are.same(before, held())
    lib.gdn_counted_bytes()
    status, process = start "true"
    assert.are.equal(0, status)
    local bytes, variables = tonumber(lib.gdn_counted_bytes()) - 112 - 100, 0 -- of its channel and itself
    while ffi.C.environ[variables] ~= nil do variables = variables + 1 end
    assert.are.equal(8 * (variables + 1), bytes) -- pointers to them, and one at the end
    assert.are.equal(before[3] + 1, tonumber(lib.gdn_counted_live()))
    lib.gdn_process_free(process)
    assert.are.same(before, held())
  end)
end)
