-- gdn.worker used wrongly: each option, argument and order that is refused, and what is said, against
-- spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local hosts = require "spec.support.worker_host"
local libc = require "gdnmeta.native.libc"
local noted = require "spec.support.noted"

local notes = noted.new "worker-"
local note, check = notes.note, notes.check
local echo = { forward = function() return ffi.new "int32_t[64]" end }

-- What is raised, without places; or what is returned.
local function said(ok, value, message, code)
  if not ok then return "raises", (tostring(value):gsub("^%S+_spec.lua:%d+: ", "here: ")) end
  return "returns", type(value) == "table" and "something" or value, message, code
end

local function monotonic()
  local time = gdn.array_of "int64_t" (2)
  libc.libc_clock_gettime(1, time)
  return tonumber(time[0]) + tonumber(time[1]) * 1e-9
end

describe("A worker", function()
  before_each(notes.clear)

  it("has options of these kinds", function()
    local e, closed = hosts.engine(), hosts.engine()
    closed:close()
    local loop = { forward = 3 }
    for _, case in ipairs {
      { "engine", 3 }, { "engine", {} }, { "engine", closed }, { "command", "true" }, { "command", {} },
      { "command", { 1 } }, { "command", { "true", 2 } }, { "command", { "tr\0ue" } }, { "model", 3 },
      { "model", {} }, { "model", loop }, { "environment", 3 }, { "environment", { "a" } },
      { "environment", { A = 1 } }, { "environment", { ["A\0"] = "b" } }, { "environment", { A = "b\0" } },
      { "deadline", 0 }, { "deadline", 0.0009 }, { "deadline", 0.001 }, { "deadline", 1e6 },
      { "deadline", 1000000.5 }, { "deadline", "1" }, { "start_deadline", 0.0009 }, { "start_deadline", 1e6 },
      { "start_deadline", 1000001 }, { "on_death", "ask" }, { "on_death", "fail" }, { "seed", -1 },
      { "seed", 0 }, { "seed", 2 ^ 53 }, { "seed", 2 ^ 53 + 2 }, { "seed", 0.5 }, { "vocab_size", -1 },
      { "vocab_size", 2 ^ 31 - 1 }, { "vocab_size", 2 ^ 31 }, { "more", 1 },
    } do
      local o = { engine = e, model = echo }
      if case[1] == "command" then o.model = nil end
      o[case[1]] = case[2]
      note(case[1], case[2] == closed and "closed" or case[2], said(pcall(gdn.worker, o)))
    end
    for _, o in ipairs { {}, { engine = e }, { model = echo },
                         { engine = e, model = echo, command = { "true" } } } do
      note("worker", said(pcall(gdn.worker, o)))
    end
    note("model", said(pcall(gdn.worker, { engine = e, model = function() error("no memory", 0) end })))
    for _, o in ipairs { { hash_block_size = 4, host_slots = 2 }, { hash_block_size = 4 } } do
      local caching = hosts.engine({ max_blocks_per_row = 4 }, o)
      note("host tier", said(pcall(gdn.worker, { engine = caching, model = echo })))
      caching:close()
    end
    e:close()
    check "options"
  end)

  it("takes steps of its engine, each once and in flight, and seconds", function()
    local e = hosts.engine { num_speculative_tokens = 0, full_cuda_graph = "mixed" }
    local other = hosts.engine()
    local request = { id = 1, prompt_tokens = 3, max_tokens = 9 }
    for _, engine in ipairs { e, other } do assert(engine:submit(request)) end
    local worker = assert(gdn.worker { engine = e, model = echo })
    local function try(name, step, now)
      note(name, said(pcall(worker.submit, worker, step, nil, nil, now)))
    end
    try("nil", nil)
    try("a table", { number = 1, in_flight = true, metadata = {} })
    try("of another engine", assert(other:step(1)))
    local idle = e.private.rowless
    try("idle, not built", idle)
    local step = assert(e:step(1))
    for _, now in ipairs { 0 / 0, 1 / 0, "1", {} } do try("now", step, now) end
    note("poll", said(pcall(worker.poll, worker, 0 / 0)))
    note("restart", said(pcall(worker.restart, worker, "soon")))
    try("a step", step, 5)
    try("a step again", step, 5)
    note("polled", said(pcall(worker.poll, worker, 5)))
    assert(e:complete(step, 2))
    try("a step that is complete", step)
    local bucket = e.mixed_capture_sizes[1]
    try("idle", assert(e:idle_step(bucket.rows, bucket.tokens)))
    worker:close()
    worker:close()
    try("closed", step)
    for _, name in ipairs { "poll", "ready", "restart" } do note(name, said(pcall(worker[name], worker))) end
    for _, name in ipairs { "submit", "poll", "ready", "restart", "close" } do
      note(name, said(pcall(worker[name], {})))
      note(name, said(pcall(worker[name])))
    end
    e:close()
    other:close()
    check "steps-refused"
  end)

  it("waits for drafts before the step that they are of", function()
    local o = { num_speculative_tokens = 2, max_num_seqs = 3, max_requests = 6, max_rows = 12 }
    local e = hosts.engine(o, { async = true })
    for id = 1, 2 do assert(e:submit { id = id, prompt_tokens = 3, max_tokens = 9 }) end
    local worker = assert(gdn.worker { engine = e, model = echo })
    local first = assert(e:step(1))
    note("first", said(pcall(worker.submit, worker, first)))
    local second = assert(e:step(2))
    if second.num_rows > 0 then note("second", said(pcall(worker.submit, worker, second))) end
    note("first", said(pcall(worker.poll, worker)))
    worker:close()
    e:close()
    check "drafts"
  end)

  it("has these fields, and no others, to read", function()
    local e = hosts.engine()
    local worker = assert(gdn.worker { engine = e, model = echo })
    for _, name in ipairs { "tokens", "temperature", "top_p", "seed", "text", "in_flight", "pid", "peer",
                            "pack", "options", 1 } do
      local ok, value = pcall(function() return worker[name] end)
      if type(value) == "cdata" then value = tonumber(value[0]) end
      note(name, said(ok, value))
      note("set", name, said(pcall(function() worker[name] = 1 end)))
    end
    note("shown", tostring(worker), worker:ready())
    worker:close()
    note("shown", tostring(worker))
    e:close()
    check "fields"
  end)

  it("is told the time by a clock that goes forward", function()
    local e = hosts.engine()
    local before = monotonic()
    local worker = assert(gdn.worker { engine = e, command = { "sleep", "9" } })
    local at = worker.private.peer.progress
    local after = monotonic()
    assert.is_true(worker.pid > 1)
    worker:close()
    assert.is_nil(worker.pid)
    e:close()
    local message = ("%.9f, want %.9f .. %.9f"):format(at, before, after)
    assert.is_true(at >= before and at <= after, message)
  end)
end)
