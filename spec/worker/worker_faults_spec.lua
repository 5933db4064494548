-- gdn.worker: whatever becomes of a process is found out, named, and survived.
local ffi = require "ffi"
local hosts = require "spec.support.worker_host"
local lib = require "gdnmeta.native"
local libc = require "gdnmeta.native.libc"
local process_state = require "spec.support.process_state"
local prompts = require "spec.support.worker_prompts"

ffi.cdef "int kill(int, int);"
local SIGKILL, SIGSTOP, SIGTERM = 9, 19, 15

local FAULTY = { "sh", "-c", "exec luajit spec/support/faulty_worker.lua 2>/dev/null" }
local PROMPTS, WANT = prompts.PROMPTS, prompts.WANT
local host_of, texts = prompts.host_of, prompts.texts
local is_running, assert_gone = prompts.is_running, prompts.assert_gone
local assert_nothing_held = prompts.assert_nothing_held

local function faulty(fault, options, after)
  local environment = { FAULT = fault, AFTER = tostring(after or 3) }
  for name, value in pairs(hosts.ENVIRONMENT) do environment[name] = value end
  local o = { command = FAULTY, environment = environment }
  for name, value in pairs(options or {}) do o[name] = value end
  return host_of(o)
end

-- The failure was as said; then a new worker ends what was begun.
local function assert_survives(host, message, code)
  local ok, got, kind = host:run()
  assert.is_nil(ok)
  assert.are.equal(code, kind, got)
  assert.matches(message, got)
  assert.are.same({ nil, got, code }, { host.worker:poll() }) -- it stays so
  assert.are.equal(code, select(3, host.worker:submit(host.engine.private.oldest)))
  local pid = host.worker.pid
  local options = host.worker.private.options
  options.command, options.deadline, options.start_deadline = hosts.COMMAND, 60, 60
  local lost = assert(host.worker:restart())
  assert.is_true(#lost > 0)
  assert_nothing_held(host.engine)
  if pid then assert_gone(pid) end
  assert(host:run())
  assert.are.same(WANT, texts(host))
  assert_nothing_held(host.engine)
  host:close()
end

describe("gdn.worker", function()
  it("notices a worker that was killed, and computes its requests again", function()
    for _, signal in ipairs { SIGKILL, SIGTERM } do
      local host, steps = host_of { command = hosts.COMMAND }, 0
      local send = host.send
      function host:send()
        local step, message, code = send(self)
        steps = steps + 1
        if steps == 9 then
          ffi.C.kill(self.worker.pid, signal)
          assert_gone(self.worker.pid)
        end
        return step, message, code
      end
      assert_survives(host, ("^the worker was ended by signal %d "):format(signal), "dead")
    end
  end)

  it("notices a worker that is stopped, by a deadline of the caller's clock", function()
    local host = host_of { command = hosts.COMMAND, deadline = 30 }
    for _ = 1, 4 do
      host:send()
      assert(host:receive())
    end
    local pid = host.worker.pid
    ffi.C.kill(pid, SIGSTOP)
    for _ = 1, 5000 do
      if process_state(pid) == "T" then break end
      libc.libc_poll(nil, 0, 1)
    end
    assert.are.equal("T", process_state(pid))
    local step = assert(host.engine:step(99))
    host.worker.tokens[0] = 65
    assert(host.worker:submit(step, nil, nil, 1000))
    assert.is_nil((select(2, host.worker:poll(1000))))
    assert.is_nil((select(2, host.worker:poll(1029.9))))
    local result, message, code = host.worker:poll(1030.5)
    assert.are.same({ nil, "the worker has made no progress for 30.5 s, want less than 30 s", "hung" },
                    { result, message, code })
    assert.is_true(is_running(pid)) -- nobody has killed it yet
    assert(host.worker:restart())
    assert_gone(pid)
    assert(host:run())
    assert.are.same(WANT, texts(host))
    host:close()
  end)

  it("notices one that closes, exits, raises or cannot be started", function()
    assert_survives(faulty "exits", "^the worker has ended with status 3$", "dead")
    assert_survives(faulty "closes", "^the worker has closed its channel$", "dead")
    assert_survives(faulty "raises", "^the worker failed: .*out of memory, says the model", "dead")
    assert_survives(faulty "exits_at_once", "^the worker has ended with status 5$", "dead")
    local got, message, code = hosts.new(hosts.engine(), { command = { "/no/such/program" } })
    assert.are.same({ nil, "cannot run /no/such/program: No such file or directory", "dead" },
                    { got, message, code })
  end)

  -- A clock that goes on where something happens, however busy the machine: by three quarters of a deadline
  -- when a step has not come back at once, and with every sign of life. The longest step, in seconds.
  local function timed(host, deadline)
    local peer = host.worker.private.peer
    local now, sent, looks, longest, beats = peer.progress, 0, 0, 0, 0
    function host.clock(is_sent)
      if is_sent then
        sent, looks = now, 0
        return now
      end
      local seen = tonumber(lib.gdn_channel_beats(peer.channel))
      looks = looks + 1
      if seen ~= beats or looks == 2 then now = now + 0.75 * deadline end
      beats, longest = seen, math.max(longest, now - sent)
      return now
    end
    return function() return longest end
  end

  it("waits for one that is slow or that gives signs of life, and not for one that hangs", function()
    for fault, least in pairs { is_slow = 0.15, beats = 0.3 } do
      local host = faulty(fault, { deadline = 0.2 }, 40) -- of 46 steps
      local longest = timed(host, 0.2)
      assert(host:run())
      assert.are.same(WANT, texts(host))
      assert.is_true(longest() > least - 1e-6, ("%s: %g s"):format(fault, longest()))
      host:close()
    end
    assert_survives(faulty("hangs", { deadline = 0.1 }), "^the worker has made no progress for ", "hung")
    assert_survives(faulty("never_opens", { start_deadline = 0.1 }), "^the worker has made no progress ",
                    "hung")
  end)

  it("believes no record that lies or is damaged", function()
    for fault, message in pairs {
      other_step = "^a result of step 5, want one of step 4$",
      greets_again = "^a result of step 0, want one of step 4$",
      too_few_rows = "^the result of step 4 has 0 rows, want %d$",
      says_nothing = "^the result of step 4: emitted%[%d%] = 0, want 1 .. %d$",
      says_too_much = "^the result of step 4: emitted%[0%] = 4, want %d .. %d$",
      says_all = "^the result of step 4 has 60 tokens and 0 drafts, want at most 9 and 6$",
      no_word = "^the result of step 4: tokens%[0%] = 4000, want 0 .. 255$",
      checksum = "^a result of the worker: the checksum does not match: the record is corrupt$",
      magic = "^a result of the worker: magic = 0x524e4400, want 0x524e4447$",
      cut = "^a result of the worker: bytes = %d+ in a record of %d+, want those, in units of 8$",
    } do
      assert_survives(faulty(fault, { vocab_size = 256 }), message, "corrupt")
    end
    assert_survives(faulty "version", "^a result of the worker: a record of version 2, want 1$", "version")
  end)

  it("fails requests instead, where that is wanted", function()
    local host = host_of { command = hosts.COMMAND, on_death = "fail" }
    for _ = 1, 3 do
      host:send()
      assert(host:receive())
    end
    local ran = { unpack(assert(host:send()).ids, 1, host.engine.stats.running) }
    table.sort(ran)
    ffi.C.kill(host.worker.pid, SIGKILL)
    local lost = assert(host.worker:restart())
    table.sort(lost)
    assert.are.same(ran, lost)
    for _, id in ipairs(lost) do assert.is_nil(host.engine:request(id)) end
    assert_nothing_held(host.engine)
    assert(host:run())
    for id in ipairs(PROMPTS) do
      local was_lost = host.engine.stats.cancelled > 0 and (ran[1] == id or ran[2] == id or ran[3] == id)
      if not was_lost then assert.are.equal(WANT[id], host:said(id)) end
    end
    assert.are.equal(#lost, host.engine.stats.cancelled)
    host:close()
  end)

  -- One that is not trusted any more is told nothing, and sees that its channel is closed.
  it("that is closed may leave by itself, in whatever state it is", function()
    for _, state in ipairs { "starts", "is ready", "works", "is said to hang" } do
      local path = os.tmpname()
      local host = host_of { command = { "sh", "-c", "luajit examples/worker.lua; echo $? >" .. path } }
      while state ~= "starts" and not host.worker:ready() do
        assert.is_nil(select(2, host.worker:poll()))
        libc.libc_poll(nil, 0, 1)
      end
      if state == "works" then assert(host:send()) end
      if state == "is said to hang" then
        host.worker.private.peer.code, host.worker.private.peer.message = "hung", "it hangs"
      end
      host.worker:close(60)
      host.engine:close()
      local file = assert(io.open(path))
      assert.are.equal("0\n", file:read "*a", state)
      file:close()
      os.remove(path)
    end
  end)

  it("is restarted in the middle of steps in flight, as often as one likes", function()
    local builder = { num_speculative_tokens = 0, max_num_seqs = 4, max_requests = 8, max_rows = 8 }
    local host = host_of({ command = hosts.COMMAND }, builder,
                         { async = true, kv_blocks = 60, kv_block_size = 8 })
    local turn, flying = 0, 0
    while not host.engine:idle() do
      local step = host:send()
      if step then flying = flying + 1 end
      turn = turn + 1
      if turn % 11 == 7 then
        local pid = host.worker.pid
        assert(host.worker:restart())
        assert_nothing_held(host.engine)
        assert.are.equal(0, host.worker.in_flight)
        assert_gone(pid)
        flying = 0
      elseif flying == 2 or not step and flying > 0 then
        assert(host:receive())
        flying = flying - 1
      end
      assert.is_true(turn < 400)
    end
    assert.are.same(WANT, texts(host))
    assert_nothing_held(host.engine)
    host:close()
  end)
end)
