-- What an engine tells its worker, record by record and field by field, and what the program of a worker says
-- to records that were written down before: against spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local hosts = require "spec.support.worker_host"
local channels = require "spec.support.channels"
local lib = require "gdnmeta.native"
local hellos = require "gdnmeta.worker.hello"
local noted = require "spec.support.noted"
local packs = require "gdnmeta.worker.pack"
local records = require "spec.support.step_records"
local record_text = require "spec.support.record_texts"
local serve = require "gdnmeta.worker.serve"

local int32s = gdn.array_of "int32_t"
local notes = noted.new "worker-"
local note, check = notes.note, notes.check

local BUILDER = "^%S+/serve%.lua:%d+: %f[f]" -- the place of what a builder refuses

-- The token after t is 3 t + 1, of 251; a drawn one tells what it was drawn with.
local function model_of(builder)
  local model, next = {}, int32s(builder.max_num_batched_tokens)
  function model.forward(_, metadata, tokens)
    for t = 0, metadata.num_actual_tokens - 1 do next[t] = (3 * tokens[t] + 1) % 251 end
    return next
  end
  function model.choose(_, at, temperature, top_p, seed, position)
    return (at + math.floor(8 * temperature) + math.floor(16 * top_p) + seed + position) % 251
  end
  return model
end

-- Play an engine with prompts of these lengths; what the worker is told is noted, and what it says.
local function play(name, builder, engine, turns, between)
  local host = assert(hosts.new(hosts.engine(builder, engine), { model = model_of, vocab_size = 251 }))
  local worker, seen = host.worker, {}
  for id, prompt in ipairs { "abcdef", ("a long prompt "):rep(2), "x" } do host:submit(id, prompt, 9) end
  host.records[3].sampled = { 0.5, 0.75, 2 ^ 40 + 3 }
  local pack = worker.private.pack
  for turn = 1, turns do
    assert.are.equal(0, #{ worker:poll() }) -- nothing is in flight
    if between then between(host, turn) end
    if host.engine:idle() then break end
    local step = host:send()
    if step then
      note(name .. ":", record_text(pack.memory, pack.hello))
      assert(host:receive())
      for id in ipairs(host.records) do seen[id] = #host:said(id) end
      note("emitted", seen)
    end
  end
  return host
end

describe("A worker is told", function()
  before_each(notes.clear)

  it("all of each step", function()
    play("drafts", nil, nil, 6):close()
    play("windows", { mamba_cache_mode = "align", mamba_block_size = 4, max_blocks_per_row = 16,
                      num_speculative_tokens = 1 },
      { kv_blocks = 40, kv_block_size = 3, max_model_len = 50 }, 6):close()
    play("buckets", { full_cuda_graph = "mixed", num_groups = 1 },
      { kv_blocks = 40, kv_block_size = 8 }, 4, function(host, turn)
        local bucket, worker = host.engine.mixed_capture_sizes[turn], host.worker
        for _ = 1, 2 do -- a model in this process has two places for what it says
          assert(worker:submit(assert(host.engine:idle_step(bucket.rows, bucket.tokens))))
          note("idle:", record_text(worker.private.pack.memory, worker.private.pack.hello))
          local result = assert(worker:poll())
          note("says", result.num_rows, result.num_tokens, result.num_drafts)
        end
      end):close()
    play("restarted", { num_speculative_tokens = 0 }, { kv_blocks = 40, kv_block_size = 3 }, 8,
      function(host, turn)
        if turn == 4 then note("lost", #assert(host.worker:restart())) end
      end):close()
    check "steps"
  end)

  it("which blocks to copy, as many as its hello has room for", function()
    local e = hosts.engine({ num_speculative_tokens = 0, num_groups = 1 },
                           { kv_blocks = 40, kv_block_size = 4 })
    local private = e.private
    assert(e:submit { id = 1, prompt_tokens = 3, max_tokens = 9 })
    local step = assert(e:step(1))
    for most = 0, 3 do
      local hello = hellos.of(private, { seed = 2 ^ 33 + 1, vocab_size = 77 })
      hello.max_kv_copies = most
      local pack = assert(packs.new(private, hello))
      for n = 0, 4 do
        for k = 1, n do step.kv_copies[k] = { from = k, to = 10 + k } end
        pack:forget()
        local bytes = pack:step(step, pack.tokens)
        note("copies", most, n, bytes < 0 and pack:problem() or record_text(pack.memory, hello))
        for k = 1, n do step.kv_copies[k] = nil end
      end
      for _, number in ipairs { 0, 1, 2 ^ 40 } do
        assert(pack:stop(number) > 0, pack:problem())
        note("stop", record_text(pack.memory, hello))
      end
      pack.buffers:close()
    end
    e:close()
    check "copies"
  end)

  it("how to draw, where the host says so or has said so before", function()
    local host = assert(hosts.new(hosts.engine(), { model = model_of }))
    assert(host.engine:submit { id = 1, prompt_tokens = 3, max_tokens = 9 })
    local worker, step = host.worker, assert(host.engine:step(1))
    local pack = worker.private.pack
    local floats, seeds = gdn.array_of "float", gdn.array_of "uint64_t"
    local given = { temperature = floats(1, { 0.25 }), top_p = floats(1, { 0.5 }), seed = seeds(1, { 77 }) }
    local tokens = int32s(3, { 7, 8, 9 })
    worker.temperature[0], worker.top_p[0], worker.seed[0] = 0.125, 0.75, 3
    for t = 0, 2 do worker.tokens[t] = 20 + t end
    for _, names in ipairs { {}, { "temperature" }, { "top_p" }, { "seed" },
                             { "temperature", "top_p", "seed" } } do
      local sampling = {}
      for _, name in ipairs(names) do sampling[name] = given[name] end
      for _, own in ipairs { false, tokens } do
        assert(worker:submit(step, own or nil, #names > 0 and sampling or nil))
        note(table.concat(names, " "), record_text(pack.memory, pack.hello))
        assert(worker:poll())
      end
    end
    host:close()
    check "drawing"
  end)

  it("what its builder is, in every option", function()
    for _, b in ipairs {
      {}, { num_groups = 1, num_slots = 50, pad_slot_id = 0 }, { full_cuda_graph = true, max_num_seqs = 5 },
      { full_cuda_graph = "mixed", query_start_loc_dtype = "int64", max_requests = 9, max_rows = 7 },
      { mamba_cache_mode = "align", mamba_block_size = 4, max_blocks_per_row = 16, num_slots = { 40, 41, 42 },
        num_speculative_blocks = 3 },
      { rules = "strict", max_num_batched_tokens = 63 },
    } do
      local kv = b.num_groups ~= nil
      local e = hosts.engine(b, { kv_blocks = kv and 9 or nil, kv_block_size = kv and 16 or nil,
                                  max_model_len = b.rules and 100 or 50 })
      local hello = hellos.of(e.private, { seed = 5, vocab_size = 6 })
      local fields = {}
      for _, name in ipairs { "seed", "kv_blocks", "kv_block_size", "kv_columns", "max_model_len",
                              "vocab_size", "max_kv_copies", "asynchronous" } do
        fields[#fields + 1] = ("%s %d"):format(name, tonumber(hello[name]))
      end
      local pack = assert(packs.new(e.private, hello))
      note("hello", table.concat(fields, ", "), pack:greeting(), pack.size, pack.result_bytes,
        pack.bare.columns)
      note("options", hellos.options(hello, "cpu"))
      pack.buffers:close()
      e:close()
    end
    check "hellos"
  end)
end)

describe("The program of a worker", function()
  before_each(notes.clear)
  local engine, step, pack, idle_pack, idle_step
  setup(function()
    local o = { num_speculative_tokens = 1, num_groups = 1, max_num_seqs = 2, full_cuda_graph = "mixed" }
    local resting = hosts.engine(o)
    engine = hosts.engine(o)
    local bucket = resting.mixed_capture_sizes[2]
    idle_step = assert(resting:idle_step(bucket.rows, bucket.tokens))
    assert(engine:submit { id = 1, prompt_tokens = 4, max_tokens = 9 })
    assert(engine:submit { id = 2, prompt_tokens = 40, max_tokens = 9 })
    local hello = hellos.of(engine.private, { seed = 2 ^ 33 + 1, vocab_size = 251 })
    pack = assert(packs.new(engine.private, hello))
    idle_pack = assert(packs.new(resting.private, hello))
    step = assert(engine:step(1))
  end)
  teardown(function()
    pack.buffers:close()
    idle_pack.buffers:close()
    engine:close()
  end)

  local function copy(bytes, of)
    of = of or pack
    assert(bytes > 0, of:problem())
    local memory = records.memory(bytes)
    ffi.copy(memory, of.memory, bytes)
    return { memory, bytes }
  end
  local WRITTEN = {
    hello = function() return copy(pack:greeting()) end,
    stop = function() return copy(pack:stop(7)) end,
    step = function()
      for t = 0, step.num_tokens - 1 do pack.tokens[t] = 5 * t end
      return copy(pack:step(step, pack.tokens))
    end,
    -- Of an engine whose steps have no buckets.
    plain_hello = function()
      local e = hosts.engine { num_speculative_tokens = 1, num_groups = 1, max_num_seqs = 2 }
      local plain = assert(packs.new(e.private, hellos.of(e.private, { seed = 1, vocab_size = 251 })))
      local record = copy(plain:greeting(), plain)
      plain.buffers:close()
      e:close()
      return record
    end,
    idle = function() return copy(idle_pack:step(idle_step, idle_pack.tokens), idle_pack) end,
    torn = function()
      local record = copy(pack:stop(7))
      record[1][15] = record[1][15] + 1
      return record
    end,
  }

  -- Serve what was written; then what the worker has said, and what it raised.
  local function served(list, make_model, options)
    local channel = channels.make(8192, 8192)
    for name in list:gmatch "%S+" do
      if name == "end" then
        lib.gdn_channel_close(channel)
      else
        local record = WRITTEN[name]()
        assert(lib.gdn_channel_send(channel, record[1], record[2]) == 0)
      end
    end
    local o = { descriptor = lib.gdn_channel_descriptor(channel) }
    for name, value in pairs(options or {}) do o[name] = value end
    local runs = 0
    local function make(builder, seed)
      local model = (make_model or model_of)(builder, seed, channel)
      local forward = model.forward
      function model.forward(...)
        runs = runs + 1
        return forward(...)
      end
      return model
    end
    local ok, problem = pcall(serve, make, o)
    problem = problem and problem:gsub("^%S+_spec.lua:%d+: ", ""):gsub(BUILDER, "")
    problem = problem and problem:gsub("%z", " "):sub(1, 120)
    note(list, ok, problem, "runs", runs)
    local memory, result, why = records.memory(8192), ffi.new "gdn_result_record", ffi.new "char[512]"
    for _ = 1, 9 do
      local bytes = lib.gdn_channel_receive(channel, memory, 8192, 0)
      if bytes <= 0 then break end -- none, or the end
      assert(lib.gdn_result_unpack(memory, bytes, result, why, 512) == 0, ffi.string(why))
      local text = ffi.string(result.text):gsub(BUILDER, "")
      local emitted, tokens = {}, {}
      for k = 1, result.num_rows do emitted[k] = result.emitted[k - 1] end
      for k = 1, result.num_tokens do tokens[k] = result.tokens[k - 1] end
      note("says", tonumber(result.number), result.status, #text, text:sub(1, 100), emitted, tokens,
        result.num_drafts, result.has_drafts)
    end
    channels.free(channel)
  end

  it("answers records in their order, to the last one or the channel's end", function()
    for _, list in ipairs { "end", "hello end", "hello stop", "hello step stop step",
                            "hello idle step idle stop", "hello step step end" } do
      served(list)
    end
    served("hello stop", function(builder, seed)
      note("made", builder.num_groups, seed)
      return model_of(builder)
    end, { text = "of a spec" })
    check "served"
  end)

  it("says what went wrong, and raises it", function()
    for _, list in ipairs { "step", "stop", "torn", "hello torn", "hello step torn", "hello hello",
                            "plain_hello idle" } do
      served(list)
    end
    served("hello stop", function() error("no model", 0) end)
    for _, length in ipairs { 4094, 4095, 4096, 9000 } do
      served("hello step stop", function()
        return { forward = function() error("a\0b" .. ("x"):rep(length - 3), 0) end }
      end)
    end
    -- The engine goes while the model runs: nobody is left to be told.
    served("hello step step", function(builder, _, channel)
      local model = model_of(builder)
      local forward = model.forward
      function model.forward(...)
        lib.gdn_channel_close(channel)
        return forward(...)
      end
      return model
    end)
    served("hello step step", function(builder, _, channel) -- a position that cannot be
      local memory = assert(io.open(("/proc/self/fd/%d"):format(lib.gdn_channel_descriptor(channel)), "r+b"))
      memory:seek("set", 64)
      memory:write(("\127"):rep(8))
      memory:close()
      return model_of(builder)
    end)
    note("no channel", pcall(serve, model_of))
    note("no channel", pcall(serve, model_of, { descriptor = 999 }))
    check "failures"
  end)
end)
