-- What an engine makes of what its worker says: the specs hold the worker's end of the channel themselves,
-- the process that was started sleeps, and the clock is the caller's. Bounds on both sides, against
-- spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local int32s = gdn.array_of "int32_t"
local lib = require "gdnmeta.native"
local libc = require "gdnmeta.native.libc"
local noted = require "spec.support.noted"
local records = require "spec.support.step_records"
local results = require "gdnmeta.worker.results"
local worker_peer = require "spec.support.worker_peer"

local notes = noted.new "worker-"
local note, check = notes.note, notes.check
local function start(...) return worker_peer(note, ...) end

local function words(a, n)
  local list = {}
  for k = 1, n do list[k] = a[k - 1] end
  return list
end

describe("An engine hears its worker", function()
  before_each(notes.clear)

  it("until its deadlines, and not after them", function()
    local p = start():open()
    for _, at in ipairs { 0, 19.99, 20, 20.25 } do p:poll("start " .. at, at) end
    p:forgive()
    lib.gdn_channel_beat(p.channel)
    for _, at in ipairs { 30, 50, 50.25 } do p:poll("beat at 30, " .. at, at) end
    p:forgive()
    p:say { text = "well" }
    p:poll("greets", 60)
    p:poll("idle", 99)
    p:plan()
    assert(p:submit(100))
    for _, at in ipairs { 105, 110, 110.25 } do p:poll("sent at 100, " .. at, at) end
    p:forgive()
    lib.gdn_channel_beat(p.channel)
    for _, at in ipairs { 111, 121, 121.25 } do p:poll("beat at 111, " .. at, at) end
    p:forgive()
    p:say { number = 1, num_rows = 2, num_tokens = 2, emitted = { 1, 1 }, tokens = { 5, 6 } }
    local result = p:poll("result", 130)
    note("result", result.number, result.num_rows, result.num_tokens, result.num_drafts,
      words(result.emitted, 2), words(result.tokens, 2), result.next_drafts == nil)
    p:poll("idle", 199)
    p:close()
    check "deadlines"
  end)

  it("of two steps in flight, each from when the one before was done", function()
    local p = start(nil, nil, { num_speculative_tokens = 0, num_groups = 1, max_num_seqs = 4 },
                    { async = true }):open()
    p:say {}
    p:poll("greets", 1)
    local first = p:plan()
    assert(p:submit(10))
    p:plan()
    assert(p:submit(15))
    p:say { number = 1, num_rows = 2, num_tokens = 2, emitted = { 1, 1 }, tokens = { 5, 6 } }
    p:poll("sent at 10", 19)
    assert(p.engine:complete(first, 3))
    for _, at in ipairs { 29, 29.25 } do p:poll("result at 19, " .. at, at) end
    p:close()
    check "two-steps"
  end)

  it("and believes of a result what its step can have emitted", function()
    local p = start():open()
    p:say { number = 1 }
    p:poll("greets with 1", 1)
    p:forgive()
    p:say {}
    p:poll("greets", 1)
    p:say {}
    p:poll("greets again", 1)
    p:forgive()
    p:say { number = 1 }
    p:poll("none was sent", 1)
    p:forgive()
    p:plan()
    assert(p:submit(1))
    local function with(fields)
      local all = { number = 1, num_rows = 2, num_tokens = 2, emitted = { 1, 1 }, tokens = { 5, 6 } }
      for name, value in pairs(fields) do all[name] = value end
      return all
    end
    for _, fields in ipairs {
      { number = 0 }, { number = 2 }, { number = 2 ^ 32 + 1 },
      { number = 2 ^ 32 + 2 ^ 31 + 5 }, { num_rows = 1, num_tokens = 1 },
      { num_rows = 3, num_tokens = 2, emitted = { 1, 1, 0 } }, { emitted = { 2, 0 } }, { emitted = { 0, 2 } },
      { tokens = { 5, 251 } }, { num_drafts = 3, next_drafts = { 1, 2 }, drafts = { 1, 2, 3 } },
      { num_drafts = 2, next_drafts = { 2, 0 }, drafts = { 1, 2 } },
      { num_drafts = 2, next_drafts = { 1, 1 }, drafts = { 1, 251 } },
      { number = 1, status = 1, text = "cannot", num_rows = 0, num_tokens = 0 },
      { num_drafts = 2, next_drafts = { 1, 1 }, drafts = { 250, 0 }, tokens = { 250, 0 } },
    } do
      p:say(with(fields))
      p:poll("a result", 1)
      p:forgive()
    end
    p:close()
    check "lies"
  end)

  it("of a step without rows, before its first step and after", function()
    local p = start():open()
    local bucket = p.engine.mixed_capture_sizes[1]
    p:say {}
    for number = 1, 2 do
      p.step = assert(p.engine:idle_step(bucket.rows, bucket.tokens))
      assert(p:submit(1))
      p:say { number = 1 }
      p:poll("idle", 1)
      if number == 1 then
        local step = p:plan()
        assert(p:submit(2))
        p:say { number = 1, num_rows = 2, num_tokens = 2, emitted = { 1, 1 }, tokens = { 5, 6 } }
        p:poll("rows", 2)
        assert(p.engine:complete(step, 2))
      end
    end
    p:close()
    check "idle"
  end)

  it("when its channel is full, closed or damaged, and when its process has ended", function()
    local p = start():open()
    p:plan()
    local bytes, sent = p.worker.private.pack:step(p.step, p.worker.tokens), 0
    local message, code
    repeat
      local ok
      ok, message, code = p.remote:send(bytes, p.start)
      sent = sent + (ok and 1 or 0)
    until not ok
    note("full", sent, message, code, p.remote.waiting)
    lib.gdn_channel_close(p.channel)
    note("closed", select(2, p.remote:send(bytes, p.start)))
    p:poll("closed", 0)
    note("restarted", #assert(p.worker:restart(p.start)), p.remote.waiting, p.worker.in_flight)
    p:plan()
    assert(p:submit(0))
    note("restarted", #assert(p.worker:restart(p.start + 7)), p.remote.waiting, p.worker.in_flight)
    p:open():say {}
    p:poll("greets", 7)
    p:say { number = p.step.number }
    p:poll("of a step before the restart", 8)
    p:close()

    for _, version in ipairs { 0, lib.gdn_worker_version(), 9 } do
      p = start { "true" }
      local descriptor = lib.gdn_channel_descriptor(p.remote.channel)
      local file = assert(io.open(("/proc/self/fd/%d"):format(descriptor), "r+b"))
      file:seek("set", 8)
      file:write(string.char(version))
      file:close()
      for _ = 1, 5000 do
        if lib.gdn_process_ended(p.remote.process, nil, 0) ~= 0 then break end
        libc.libc_poll(nil, 0, 1)
      end
      p:poll("ended", 0)
      p:close()
    end
    check "ends"
  end)

  it("only after it was told the whole kv table again, where it had no room for a step", function()
    local p = start(nil, nil, nil, { kv_blocks = 40, kv_block_size = 4 }):open()
    p:plan()
    local pack, message = p.worker.private.pack
    local function changes() return pack:step(p.step, pack.tokens) > 0 and pack.record.num_table_changes end
    local all = changes()
    assert.is_true(all > 0)
    assert.are.equal(0, changes())
    repeat message = select(2, p.remote:send(pack:step(p.step, pack.tokens), p.start)) until message
    assert.are.equal("the channel has no room for another step now", message)
    assert.are.equal(all, changes())
    p:close()
  end)

  it("and finds out that the position it says is none", function()
    local p = start():open()
    local descriptor = lib.gdn_channel_descriptor(p.remote.channel)
    local memory = assert(io.open(("/proc/self/fd/%d"):format(descriptor), "r+b"))
    memory:seek("set", 192)
    memory:write(("\127"):rep(8))
    memory:close()
    assert.are.same({ nil, "the worker's position in the channel is not possible", "corrupt" },
                    { p.worker:poll(1) })
    p:close()
  end)

  it("not at all, where there is no hello for it", function()
    local p = start()
    local pack = p.worker.private.pack
    function pack.greeting() return -1 end
    function pack.problem() return "no hello" end
    assert.are.same({ nil, "no hello", "dead" }, { p.worker:restart(1) })
    assert.is_nil(p.worker.pid)
    assert.are.same({ nil, "no hello", "dead" }, { p.worker:poll(2) })
    p:close()
  end)

  it("at its end, for as long as it may take", function()
    for _, case in ipairs { { 0, "sleep 30" }, { nil, "sleep 30" }, { 20, "sleep 0.1" },
                            { 0.03, "sleep 30" } } do
      local path, memory, kinds = os.tmpname(), records.memory(8192), {}
      local p = start({ "sh", "-c", ("%s; echo done >%s"):format(case[2], path) }):open()
      local channel = p.channel
      p.channel = nil
      p:close(case[1])
      while true do
        local bytes = lib.gdn_channel_receive(channel, memory, 8192, 0)
        if bytes <= 0 then
          kinds[#kinds + 1] = bytes == tonumber(lib.GDN_ECLOSED) and "closed" or bytes
          break
        end
        kinds[#kinds + 1] = ffi.cast("int32_t *", memory)[6]
      end
      note("close", case[1], "told", kinds, "left by itself:", assert(io.open(path)):read "*a" == "done\n")
      os.remove(path)
      lib.gdn_channel_free(ffi.gc(channel, nil))
    end
    check "stops"
  end)
end)

describe("A result", function()
  before_each(notes.clear)

  it("fits a step, or the first that does not is named", function()
    local S = 2
    local shown = results.new(ffi.new("gdn_config", { max_rows = 4, num_speculative_tokens = S,
                                                      max_num_batched_tokens = 64 }))
    local step = { number = 9, num_rows = 3, samples = { [0] = 1, 1, 0 }, drafts = { [0] = 2, -1, -1 },
                   accepted_drafts = {}, next_drafts = {} }
    local function try(fields, vocab)
      local r, held = ffi.new "gdn_result_record", {}
      local all = { num_rows = 3, num_tokens = 2, emitted = { 1, 1, 0 }, tokens = { 5, 6 } }
      for name, value in pairs(fields) do all[name] = value end
      for name, value in pairs(all) do
        if type(value) == "table" then held[name] = int32s(12, value) end
        r[name] = held[name] or value
      end
      r.has_drafts = all.next_drafts and 1 or 0
      local problem = shown:take(step, r)
      note("take", fields, problem or "taken", shown.num_rows, shown.num_tokens, shown.num_drafts,
        shown.next_drafts ~= nil)
      if problem then return end
      note("problem", vocab, results.problem(step, shown, S, vocab))
      for row = 0, 3 do step.accepted_drafts[row], step.next_drafts[row] = -9, -9 end
      results.write(step, shown)
      note("written", words(step.accepted_drafts, 4), words(step.next_drafts, 4))
      assert(held)
    end
    for _, vocab in ipairs { 0, 6, 7 } do
      try({}, vocab)
      try({ num_drafts = 2, next_drafts = { 1, 1, 0 }, drafts = { 6, 7 } }, vocab)
      try({ num_drafts = 2, next_drafts = { 2, 0, 0 }, drafts = { 7, 2 } }, vocab)
    end
    for _, emitted in ipairs { { 0, 1, 0 }, { 1, 0, 0 }, { 3, 1, 0 }, { 4, 1, 0 }, { 3, 2, 0 }, { 1, 1, 1 },
                               { 1, 1, -1 } } do
      try({ emitted = emitted }, 0)
    end
    for _, next_drafts in ipairs { { 2, 2, 0 }, { 3, 0, 0 }, { 0, 3, 0 }, { 0, 0, 1 } } do
      try({ next_drafts = next_drafts, num_drafts = 1, drafts = { 1 } }, 0)
    end
    for _, fields in ipairs { { num_rows = 2 }, { num_rows = 4 }, { num_tokens = 9 }, { num_tokens = 10 },
                              { num_drafts = 6 }, { num_drafts = 7 } } do
      try(fields, 0)
    end
    check "results"
  end)
end)
