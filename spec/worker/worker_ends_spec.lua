-- Small things at the ends of a worker in Lua: a library of another version, the clock's memory and its large
-- numbers, what a second close and a restart leave, and who waits at a channel until something comes.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local hosts = require "spec.support.worker_host"
local lib = require "gdnmeta.worker.native"
local serve = require "gdnmeta.worker.serve"

local echo = { forward = function(_, _, tokens) return tokens end }

-- The value that a function has under that name, and a setter.
local function upvalue(of, name)
  for n = 1, 60 do
    local found, value = debug.getupvalue(of, n)
    if found == name then return value, function(other) debug.setupvalue(of, n, other) end end
    if not found then error("no upvalue " .. name) end
  end
end

-- Calls of the library, in the place of which stand these.
local function stand_in(calls)
  return setmetatable(calls, { __index = lib })
end

describe("The library of workers", function()
  it("is refused where it is of another version", function()
    local native, loaded = package.loaded["gdnmeta.native"], package.loaded["gdnmeta.worker.native"]
    local ours = tonumber(lib.GDN_WORKER_VERSION)
    for _, theirs in ipairs { ours, ours - 1, ours + 1, 99 } do
      package.loaded["gdnmeta.native"] = stand_in { gdn_worker_version = function() return theirs end }
      package.loaded["gdnmeta.worker.native"] = nil
      local ok, message = pcall(require, "gdnmeta.worker.native")
      package.loaded["gdnmeta.native"], package.loaded["gdnmeta.worker.native"] = native, loaded
      local want = ("gdnmeta.worker: the library has worker version %d, these bindings want %d")
        :format(theirs, ours)
      assert.are.equal(theirs == ours, ok)
      if theirs ~= ours then assert.are.equal(want, message) end
    end
  end)
end)

describe("A worker", function()
  local engine, worker
  before_each(function()
    engine = hosts.engine({ num_speculative_tokens = 0 }, { async = true })
    worker = assert(gdn.worker { engine = engine, model = echo })
  end)
  after_each(function()
    worker:close()
    engine:close()
  end)

  it("reads seconds of any size from a clock that writes 16 bytes", function()
    local now_of = upvalue(worker.submit, "now_of")
    local monotonic = upvalue(now_of, "monotonic")
    assert.are.equal(16, ffi.sizeof((upvalue(monotonic, "time"))))
    local libc, set = upvalue(monotonic, "libc")
    for _, case in ipairs { { 0, 0 }, { 7, 999999999 }, { 2 ^ 31, 5 }, { 2 ^ 32 - 1, 1 }, { 2 ^ 32, 2 },
                            { 2 ^ 33 + 9, 500000000 }, { 2 ^ 40 + 2 ^ 31, 0 } } do
      set { libc_clock_gettime = function(clock, time)
        assert.are.equal(1, clock)
        time[0], time[1] = case[1], case[2]
      end }
      local ok, seconds = pcall(now_of, "poll")
      set(libc)
      assert.are.same({ true, case[1] + case[2] * 1e-9 }, { ok, seconds })
      assert.are.equal(5.5, now_of("poll", 5.5))
    end
  end)

  it("is closed once, and leaves no memory", function()
    local peer, pack, stops = worker.private.peer, worker.private.pack, {}
    local stop = peer.stop
    function peer.stop(self, number, wait)
      stops[#stops + 1] = { number, wait }
      return stop(self, number, wait)
    end
    assert.is_truthy(next(pack.buffers.blocks))
    for _ = 1, 3 do worker:close(2) end
    assert.are.same({ { 1, 2 } }, stops)
    assert.is_nil(next(pack.buffers.blocks))
  end)

  it("has no step after a restart, and takes the next", function()
    assert(engine:submit { id = 1, prompt_tokens = 5, max_tokens = 9 })
    for k = 1, 2 do
      local step = assert(engine:step(0))
      for t = 0, 4 do worker.tokens[t] = k == 1 and t or -1 end
      assert(worker:submit(step))
    end
    assert.are.equal(2, worker.in_flight)
    local peer, stops = worker.private.peer, {}
    function peer.stop(_, ...) stops[#stops + 1] = { ... } end
    assert.are.same({ 1 }, assert(worker:restart()))
    peer.stop = nil
    assert.are.same({ { 1 } }, stops)
    assert.are.same({ false, false }, worker.private.sent)
    assert.are.same({ 0, nil }, { worker.in_flight, (worker:poll()) })
    for t = 0, 4 do worker.tokens[t] = t end
    local step = assert(engine:step(1))
    assert(worker:submit(step))
    assert.are.equal(step, assert(worker:poll()).step)
    assert.are.same({}, { worker:poll() })
  end)

  it("takes any number from 0 on for bytes, and any below for a refusal", function()
    assert(engine:submit { id = 1, prompt_tokens = 5, max_tokens = 9 })
    local step, pack, peer, sent = assert(engine:step(0)), worker.private.pack, worker.private.peer, {}
    function peer.send(_, bytes)
      sent[#sent + 1] = bytes
      return nil, "not now", "busy"
    end
    for _, bytes in ipairs { 0, 1, 128 } do
      pack.step = function() return bytes end
      assert.are.same({ nil, "not now", "busy" }, { worker:submit(step) })
    end
    pack.step = function() return -1 end
    assert.are.equal(-1, (select(3, worker:submit(step))))
    assert.are.same({ 0, 1, 128 }, sent)
    pack.step, peer.send = nil, nil
  end)
end)

describe("A worker's process", function()
  it("says why a result cannot be packed", function()
    local run = upvalue(serve, "run")
    local send = upvalue(run, "send")
    local _, set = upvalue(send, "lib")
    local why, sent = ffi.new "char[512]", {}
    ffi.copy(why, "no room")
    for _, status in ipairs { 64, 0, -1, -3 } do
      set(stand_in { gdn_result_pack = function() return status end,
                     gdn_channel_send = function(channel, output, bytes)
        sent[#sent + 1] = bytes
        assert.are.same({ 5, 6 }, { channel, output })
        return 7
      end })
      local ok, said = pcall(send, { channel = 5, output = 6, output_bytes = 64, why = why }, {})
      set(lib)
      assert.are.same(status >= 0 and { true, 7 } or { false, "gdnmeta.worker: no room" }, { ok, said })
    end
    assert.are.same({ 64, 0 }, sent)
  end)

  it("waits for records as long as its engine lives, and knows what is none", function()
    local receive = upvalue(serve, "receive")
    local _, set = upvalue(receive, "lib")
    local function received(answers)
      local asked = {}
      set(stand_in { gdn_channel_receive = function(channel, _, size, seconds)
        asked[#asked + 1] = { channel, size, seconds }
        return table.remove(answers, 1)
      end })
      local ok, bytes = pcall(receive, { channel = 5, input_bytes = 64 })
      set(lib)
      for _, call in ipairs(asked) do assert.are.same({ 5, 64, 1e9 }, call) end
      return ok, bytes, #answers
    end
    assert.are.same({ true, 24, 0 }, { received { 24 } })
    assert.are.same({ true, 8, 0 }, { received { 0, 0, 0, 8 } })
    assert.are.same({ true, nil, 1 }, { received { 0, tonumber(lib.GDN_ECLOSED), 9 } })
    for _, status in ipairs { -1, tonumber(lib.GDN_EGUARD), tonumber(lib.GDN_ECAP) } do
      assert.are.same({ false, "gdnmeta.worker: the channel is corrupt", 1 }, { received { status, 9 } })
    end
  end)
end)
