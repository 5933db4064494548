-- What a worker's process and channel are asked for, call by call, in the place of which stands a list: its
-- start, an answer that comes too early or twice, and its end.
local ffi = require "ffi"
local lib = require "gdnmeta.worker.native"
local libc = require "gdnmeta.native.libc"
local remote = require "gdnmeta.worker.remote"

local CHANNEL, PROCESS = ffi.cast("gdn_channel *", 16), ffi.cast("gdn_process *", 32)
local NAMES = { [16] = "channel", [32] = "process" }

local function upvalue(of, name)
  for n = 1, 60 do
    local found = debug.getupvalue(of, n)
    if found == name then return n end
    if not found then error("no upvalue " .. name) end
  end
end

local function shown(value)
  if type(value) == "cdata" then
    local ok, at = pcall(ffi.cast, "intptr_t", value)
    return ok and NAMES[tonumber(at)] or "memory"
  end
  return tostring(value)
end

describe("A worker's process", function()
  local calls, answers, peer, pack, undo

  -- Notes the call; returns what stands in answers, the first of a list.
  local function noting(name)
    return function(...)
      local list = {}
      for n = 1, select("#", ...) do list[n] = shown((select(n, ...))) end
      calls[#calls + 1] = ("%s(%s)"):format(name, table.concat(list, ", "))
      local answer = answers[name]
      if type(answer) == "function" then return answer(...) end
      if type(answer) == "table" then return table.remove(answer, 1) or 0 end
      return answer or 0
    end
  end

  local function stand_in(method, name, real)
    local at = upvalue(method, name)
    local fake = setmetatable({}, { __index = function(_, key)
      if key:find "^gdn_" or key == "libc_poll" then return noting((key:gsub("^gdn_", ""))) end
      return real[key]
    end })
    debug.setupvalue(method, at, fake)
    undo[#undo + 1] = function() debug.setupvalue(method, at, real) end
  end

  before_each(function()
    calls, answers, undo = {}, {}, {}
    pack = { memory = ffi.new "int64_t[4]", size = 64, result_bytes = 32, hello = { vocab_size = 0 },
             stop = noting "pack_stop", forget = noting "forget", greeting = noting "greeting",
             problem = function() return "why" end }
    answers.pack_stop, answers.greeting = 24, 16
    local options = { deadline = 30, start_deadline = 60, command = { "true" } }
    peer = remote.new(pack, options, 0, { take = noting "take" })
    stand_in(peer.stop, "lib", lib)
    stand_in(peer.stop, "libc", libc)
    peer.channel, peer.process, peer.code, peer.beats, peer.progress = CHANNEL, PROCESS, false, 0, 0
  end)
  after_each(function()
    for _, back in ipairs(undo) do back() end
  end)

  local function stopped(...)
    calls = {}
    peer:stop(...)
    assert.are.same({ true, true, 0, "the worker is closed", "dead" },
      { peer.channel == nil, peer.process == nil, peer.waiting, peer.message, peer.code })
    return table.concat(calls, "; ")
  end

  it("is ended at once, or given as long as was said", function()
    local told = "pack_stop(table, 9); channel_send(channel, memory, 24); channel_close(channel)"
    local waited, freed = "; process_ended(process, nil, 0); libc_poll(nil, 0, 10)",
      "; process_free(process); channel_free(channel)"
    for _, case in ipairs { { nil, 0 }, { 0, 0 }, { 0.001, 1 }, { 0.01, 1 }, { 0.05, 5 }, { 0.055, 6 },
                            { 1, 100 } } do
      peer.channel, peer.process, peer.code, peer.waiting = CHANNEL, PROCESS, false, 2
      local text = stopped(9, case[1]):gsub("pack_stop%(table: 0x%x+", "pack_stop(table")
      assert.are.equal(told .. waited:rep(case[2]) .. freed, text)
    end
    peer.channel, peer.process, peer.code = CHANNEL, PROCESS, "hung" -- who is not trusted is told nothing
    answers.process_ended = { 0, 0, 1 }
    assert.are.equal("channel_close(channel)" .. waited:rep(2) .. "; process_ended(process, nil, 0)" .. freed,
      stopped(9, 60))
    assert.are.equal("", stopped(9, 60)) -- there is none
    peer.channel = CHANNEL
    assert.are.equal("channel_close(channel); channel_free(channel)", stopped(9, 60))
    peer.process = PROCESS
    assert.are.equal("process_free(process)", stopped(9))
  end)

  it("has a number while it is there", function()
    for id, want in pairs { [0] = false, [1] = 1, [77] = 77 } do
      answers.process_id, peer.process = id, PROCESS
      assert.are.equal(want, peer:id() or false)
    end
    peer.process = nil
    assert.is_nil(peer:id())
  end)

  -- One result of that number, then none.
  local function answers_with(number)
    answers.channel_receive = { 32 }
    answers.result_unpack = function(_, _, result)
      result.number, result.status, result.text = number, lib.GDN_RESULT_OK, "hi"
      return 0
    end
  end

  it("answers the hello first, and once", function()
    for _, number in ipairs { 1, 5, 2 ^ 40, -1 } do
      peer.is_ready, peer.code = false, false
      answers_with(number)
      local said = ("a result of step %.0f, want an answer to the hello"):format(number)
      assert.are.same({ nil, said, "corrupt" }, { peer:poll({ number = 5 }, 3) })
      assert.are.same({ false, said, "corrupt" }, { peer.is_ready, peer.message, peer.code })
    end
    peer.code = false
    answers_with(0)
    calls = {}
    assert.is_nil(peer:poll({ number = 5 }, 3))
    assert.are.same({ true, false, 3, "hi" }, { peer.is_ready, peer.code, peer.progress, peer.text })
    assert.are.equal("channel_receive(channel, memory, 32, 0)", calls[1])
    for _, case in ipairs { { { number = 5 }, "one of step 5" }, { nil, "none" } } do
      peer.code = false
      answers_with(0)
      assert.are.same({ nil, "a result of step 0, want " .. case[2], "corrupt" }, { peer:poll(case[1], 4) })
    end
    peer.code = false
    answers_with(6)
    assert.are.same({ nil, "a result of step 6, want one of step 5", "corrupt" },
      { peer:poll({ number = 5 }, 4) })
  end)

  it("has no progress to make while nothing waits", function()
    peer.is_ready = true
    for _, now in ipairs { 5, 100, 1000 } do
      assert.is_nil(peer:poll(nil, now))
      assert.are.equal(now, peer.progress)
    end
    peer.waiting = 1
    assert.is_nil(peer:poll({ number = 5 }, 1030))
    assert.are.equal(1000, peer.progress)
    answers.channel_beats = 1 -- a sign of life
    assert.is_nil(peer:poll({ number = 5 }, 1031))
    assert.are.same({ 1031, 1 }, { peer.progress, peer.beats })
    assert.are.same({ nil, "the worker has made no progress for 31 s, want less than 30 s", "hung" },
      { peer:poll({ number = 5 }, 1062) })
  end)

  it("is started with a channel that knows nothing, and a hello", function()
    peer.channel, peer.process, peer.is_ready, peer.beats = nil, nil, true, 7
    answers.channel_new = function(_, _, out)
      out[0] = CHANNEL
      return 0
    end
    local lists = {}
    answers.process_new = function(arguments, variables, _, out)
      lists = { ffi.sizeof(arguments), ffi.sizeof(variables), ffi.string(arguments[0]),
                ffi.string(variables[0]), arguments[1] == nil, variables[1] == nil }
      out[0] = PROCESS
      return 0
    end
    calls = {}
    local started = { peer:start(12) }
    local channel, process = ffi.gc(peer.channel, nil), ffi.gc(peer.process, nil)
    assert.are.same({ true }, started)
    assert.are.same({ "channel", "process" }, { shown(channel), shown(process) })
    assert.are.same({ false, false, 0, 12 }, { peer.is_ready, peer.code, peer.beats, peer.progress })
    local names = {}
    for n, call in ipairs(calls) do names[n] = call:match "^[%w_]+" end
    assert.are.same({ "channel_new", "forget", "greeting", "channel_descriptor", "process_new",
                      "channel_send" }, names)
    assert.are.equal("channel_send(channel, memory, 16)", calls[6])
    assert.are.same({ 16, 16, "true", "GDNMETA_CHANNEL=3", true, true }, lists) -- as long as they are
    answers.greeting, peer.channel, peer.process = 0, nil, nil
    started = { peer:start(12) } -- any number from 0 on is of bytes
    ffi.gc(peer.channel, nil)
    ffi.gc(peer.process, nil)
    assert.are.same({ true }, started)
    answers.greeting = -3
    started = { peer:start(13) }
    ffi.gc(peer.channel, nil)
    assert.are.same({ nil, "why", "dead" }, started)
    peer.channel, answers.greeting = nil, 16
    answers.channel_new = -2
    assert.are.same({ nil, "", "dead" }, { peer:start(13) })
  end)

  it("says what came of sending", function()
    peer.waiting = 0
    assert.is_true(peer:send(8, 4))
    assert.are.same({ 1, 4 }, { peer.waiting, peer.progress })
    assert.is_true(peer:send(8, 5))
    assert.are.same({ 2, 4 }, { peer.waiting, peer.progress })
    for status, want in pairs {
      [tonumber(lib.GDN_ECAP)] = { nil, "the channel has no room for another step now", "busy" },
      [tonumber(lib.GDN_ECLOSED)] = { nil, "the worker has closed its channel", "dead" },
      [tonumber(lib.GDN_EGUARD)] = { nil, "the worker's position in the channel is not possible", "corrupt" },
    } do
      answers.channel_send, calls = status, {}
      assert.are.same(want, { peer:send(8, 6) })
      assert.matches("^forget%(", calls[2])
      assert.are.same({ 2, 4 }, { peer.waiting, peer.progress })
    end
  end)
end)
