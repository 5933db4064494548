-- gdn.worker: a process says what the model in this one says; and whatever becomes of it is found out, named,
-- and survived.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local hosts = require "spec.support.worker_host"
local models = require "examples.worker"
local libc = require "gdnmeta.native.libc"
local tiny = require "examples.tiny_model"

ffi.cdef "int kill(int, int);"
local SIGKILL, SIGSTOP, SIGTERM = 9, 19, 15

local PROMPTS = { "Once upon a time", "a", "a prompt that is cut, being longer than a step", "x = y" }
local LENGTH = 24
local FAULTY = { "sh", "-c", "exec luajit spec/support/faulty_worker.lua 2>/dev/null" }

local function want() -- by itself, without batches
  local texts = {}
  for id, prompt in ipairs(PROMPTS) do texts[id] = tiny.alone(7, prompt, LENGTH) end
  return texts
end
local WANT = want()

local function submit_all(host)
  for id, prompt in ipairs(PROMPTS) do host:submit(id, prompt, LENGTH) end
end

local function texts(host)
  local said = {}
  for id in ipairs(PROMPTS) do said[id] = host:said(id) end
  return said
end

local function host_of(options, builder, engine)
  local host = assert(hosts.new(hosts.engine(builder, engine), options))
  submit_all(host)
  return host
end

local function faulty(fault, options, after)
  local environment = { FAULT = fault, AFTER = tostring(after or 3) }
  for name, value in pairs(hosts.ENVIRONMENT) do environment[name] = value end
  local o = { command = FAULTY, environment = environment }
  for name, value in pairs(options or {}) do o[name] = value end
  return host_of(o)
end

local function is_running(pid)
  local file = io.open("/proc/" .. pid .. "/stat")
  if not file then return false end
  local state = file:read("*a"):match "%) (%a)"
  file:close()
  return state ~= "Z"
end

-- Until it is gone; never long.
local function assert_gone(pid)
  for _ = 1, 2000 do
    if not is_running(pid) then return end
    libc.libc_poll(nil, 0, 1)
  end
  error(("process %d is still there"):format(pid))
end

local function assert_nothing_held(engine)
  assert.are.equal(0, engine:slots().used)
  assert.are.equal(0, (engine:kv() or { used = 0 }).used)
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
  local function ways(name, body)
    it(name .. ", in a process", function() body { command = hosts.COMMAND } end)
    it(name .. ", in a model of this process", function()
      body { model = function(builder) return models.model(builder, 7) end }
    end)
  end

  ways("says what each request says alone", function(options)
    local host = host_of(options)
    assert(host:run())
    assert.are.same(WANT, texts(host))
    host:close()
  end)

  ways("says it with windows, blocks of attention cache and buckets", function(options)
    local host = host_of(options, { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 36,
                                    full_cuda_graph = "mixed" }, { kv_blocks = 99, kv_block_size = 4 })
    assert(host:run())
    assert.are.same(WANT, texts(host))
    host:close()
  end)

  ways("takes a step before the one before has its result", function(options)
    local builder = { num_speculative_tokens = 0, max_num_seqs = 4, max_requests = 8, max_rows = 8 }
    local host = host_of(options, builder, { async = true })
    local flying = 0
    while not host.engine:idle() do
      local step = host:send()
      assert.is_not_nil(step)
      if step then flying = flying + 1 end
      if flying == 2 or not step and flying > 0 then
        assert(host:receive())
        flying = flying - 1
      end
    end
    assert.are.same(WANT, texts(host))
    host:close()
  end)

  it("draws the same tokens in a process and in this one", function()
    local function draws(options)
      local host = assert(hosts.new(hosts.engine(), options))
      for id, prompt in ipairs(PROMPTS) do
        host:submit(id, prompt, LENGTH, { 0.8 + id / 9, 0.9, id * 1000 })
      end
      assert(host:run())
      local said = texts(host)
      host:close()
      return said
    end
    local said = draws { command = hosts.COMMAND }
    assert.are.same(said, draws { model = function(builder) return models.model(builder, 7) end })
    assert.are_not.same(WANT, said)
  end)

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

  it("waits for one that is slow or that gives signs of life, and not for one that hangs", function()
    for _, fault in ipairs { "is_slow", "beats" } do
      local host = faulty(fault, { deadline = 0.2 }, 60)
      assert(host:run())
      assert.are.same(WANT, texts(host))
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

  it("makes no garbage in a step, nor while it waits", function()
    local engine = hosts.engine({ num_speculative_tokens = 0, max_num_seqs = 8, num_groups = 2 },
                                { kv_blocks = 2000, kv_block_size = 4, max_model_len = 8000 })
    local worker = assert(gdn.worker { engine = engine, command = { "luajit", "bench/worker.lua", "echo" },
                                       environment = hosts.ENVIRONMENT })
    for id = 1, 8 do assert(engine:submit { id = id, prompt_tokens = 3, max_tokens = 7000 }) end
    local now = 0
    local function alone()
      now = now + 1
      engine:complete(engine:step(now), now)
    end
    local function sent()
      now = now + 1
      local step = engine:step(now)
      worker:submit(step)
      repeat local result = worker:poll() until result
      engine:complete(step, now)
    end
    -- Bytes of 300 turns, once they are compiled.
    local function garbage_of(turn)
      for _ = 1, 1200 do turn() end
      collectgarbage()
      collectgarbage "stop"
      for _ = 1, 3 do turn() end
      local before = collectgarbage "count"
      for _ = 1, 300 do turn() end
      local garbage = (collectgarbage "count" - before) * 1024
      collectgarbage "restart"
      return garbage
    end
    local without = garbage_of(alone)
    local with = garbage_of(sent)
    worker:close()
    engine:close()
    assert.is_true(with < without + 300 * 8, ("%d bytes, without a worker %d"):format(with, without))
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
