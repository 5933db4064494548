-- Recordings: what is written, that it builds again to the same, and that a file can neither lie nor crash.
local cjson = require "cjson"
local ffi = require "ffi"
local drivers = require "spec.support.driver"
local fields = require "gdnmeta.fields"
local gdn = require "gdnmeta"
local header = require "gdnmeta.record.header"
local play = require "spec.support.play"
local raises = require "spec.support.raises"
local random_config = require "spec.support.random_config"
local rebuilds = require "gdnmeta.record.rebuild"

local CASES = tonumber(os.getenv "GDN_CASES") or 2000
local SEED = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

-- Steps of a file, what it lacks, and why it was refused.
local function walk(path, use)
  local reader, message = gdn.record.open(path)
  if not reader then return nil, nil, message end
  local n = 0
  while true do
    local step
    step, message = reader:next()
    if not step then break end
    n = n + 1
    if use then use(step, reader) end
  end
  reader:close()
  return n, reader.missing, message
end

describe("A recording", function()
  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  local function engine(options, builder)
    local b = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64, num_groups = 2 }
    for name, value in pairs(builder or {}) do b[name] = value end
    local e = { policy = "fcfs", max_model_len = 200 }
    for name, value in pairs(options or {}) do e[name] = value end
    e.builder = assert(gdn.builder(b))
    return assert(gdn.engine(e))
  end

  local function serve(e, steps, from)
    for now = from or 1, (from or 1) + steps - 1 do
      e:submit { id = now, prompt_tokens = 10, max_tokens = 4 }
      local step = assert(e:step(now))
      assert(e:complete(step, nil, now + 0.5))
    end
  end

  -- n steps of a small engine, closed.
  local function short(n)
    local e = engine()
    local recording = assert(e:record(path))
    serve(e, n)
    assert.is_true(recording:close())
    e:close()
    return recording
  end

  it("holds the builder, the engine, each step's rows, and the sums of its tensors", function()
    local e = engine({ kv_tokens = 4096, long_prefill_token_threshold = 32 },
                     { max_cudagraph_capture_size = 8, full_cuda_graph = true })
    local recording = assert(e:record(path))
    e:submit { id = "a", prompt_tokens = 40, max_tokens = 4 }
    for now = 1, 3 do e:complete(assert(e:step(now)), nil, now) end
    e:step(4) -- in flight
    assert.is_true(recording:close())
    local text = lines(read(path))
    assert.are.equal(1 + 4 + 1, #text)
    assert.are.same({
      gdnmeta = "record", version = 1, library = gdn._VERSION,
      builder = { device = "cpu", rules = "strict", max_num_seqs = 4, max_num_batched_tokens = 64,
                  max_rows = 4, num_speculative_tokens = 0, full_cuda_graph = true,
                  max_cudagraph_capture_size = 8,
                  mamba_cache_mode = "none", mamba_block_size = 544, num_speculative_blocks = 0,
                  num_groups = 2, num_slots = { 5, 5 }, max_requests = 4, max_blocks_per_row = 1,
                  parallel_drafting = false, decode_context_parallel_size = 1, check_unique = true,
                  pad_slot_id = 0, query_start_loc_dtype = "int32" },
      engine = { policy = "fcfs", max_model_len = 200, max_num_seqs = 4, max_num_batched_tokens = 64,
                 long_prefill_token_threshold = 32, chunked_prefill = true, kv_tokens = 4096,
                 kv_block_size = 16, async = false },
    }, cjson.decode(text[1]))
    local first, third = cjson.decode(text[2]), cjson.decode(text[4])
    assert.are.same({ 1, 1, { 32 }, { 32 }, { 0 }, { -1 }, { { 1 }, { 1 } } }, { first.step, first.now,
      first.query_len, first.seq_len, first.prompt_done, first.read_column, first.blocks })
    assert.are.same({ 1, 32, 0, 0, 0, 0, 32, 1 }, first.counts)
    assert.are.same({ 3, "full", { 1 }, { 41 }, { 1 }, { 0 } }, { third.step, third.graph, third.query_len,
      third.seq_len, third.prompt_done, third.read_column })
    local names = {}
    for _, name in ipairs(fields.tensors) do
      if third.sums[name] then names[#names + 1] = ("%s %d"):format(name, #third.sums[name]) end
    end
    assert.are.same({ "non_spec_query_start_loc 1", "non_spec_state_indices_tensor 2",
                      "non_spec_read_state_indices 2", "non_spec_conv_shift 1" }, names)
    assert.are.same({ ["end"] = "closed", steps = 4 }, cjson.decode(text[6]))
    e:close()
  end)

  -- Uncompiled: the LuaJIT of Debian 12 has crashed in compiled loops over pairs.
  describe("of random traffic", function()
    setup(function() jit.off() end)
    teardown(function() jit.on() end)

    local seen

    local function note(kind) seen[kind] = (seen[kind] or 0) + 1 end

    local function again(device, recorded_on, case)
      math.randomseed(case)
      local c, where = play.configuration(), ("GDN_SEED=%d"):format(case)
      c.async, c.device = math.random() < 0.4, recorded_on
      local e = play.engine(c, "fcfs")
      local recording = assert(e:record(path))
      play.run(c, { engine = e, where = where, requests = play.requests(c, 12), cancel = 0.02 })
      e:close()
      assert.is_nil(recording.stopped, where)
      assert.are.equal(#read(path), recording.bytes)
      local rebuild, last = nil, 0
      local n, missing, message = walk(path, function(step, reader)
        rebuild = rebuild or assert(rebuilds.new(reader.header, device))
        local meta = assert(rebuild:build(step))
        assert.are.same({}, (rebuild:differences(step, meta)), where)
        if step.read_blocks then note "read elsewhere" end
        if step.drafts[1] >= 0 then note "speculative" end
        if step.step == last then note "built again" end
        if step.padded_rows > #step.query_len then note "padded" end
        last = step.step
      end)
      assert.is_nil(message, where)
      assert.is_nil(missing, where)
      assert.are.equal(recording.steps, n, where)
      if rebuild then rebuild:close() end
    end

    it("builds again to the same values", function()
      seen = {}
      for case = SEED, SEED + math.ceil(CASES / 40) - 1 do again("cpu", nil, case) end
      for _, kind in ipairs { "read elsewhere", "speculative", "built again", "padded" } do
        assert.is_truthy(CASES < 1000 or seen[kind], "no step was " .. kind)
      end
    end)

    it("builds to the same on a GPU, and from there on the CPU", function()
      local driver = drivers.open "fake"
      seen = {}
      for case = SEED, SEED + math.ceil(CASES / 400) - 1 do
        again("cuda", nil, case)
        again("cpu", "cuda", case)
      end
      driver:close()
    end)
  end)

  it("notices one other value, and says in which tensor of which group", function()
    short(3)
    local reader = assert(gdn.record.open(path))
    local rebuild = assert(rebuilds.new(reader.header, "cpu"))
    local step = assert(reader:next())
    step.blocks[2][1] = 3
    local differ = rebuild:differences(step, assert(rebuild:build(step)))
    assert.are.same({ { name = "non_spec_state_indices_tensor", group = 1 },
                      { name = "prefill_state_indices", group = 1 } }, differ)
    rebuild:close()
    reader:close()
  end)

  it("leaves no trace in the engine when it is off", function()
    local e = engine()
    serve(e, 1)
    local builder, fields_before = e.builder, {}
    for name in pairs(e) do fields_before[name] = true end
    local recording = assert(e:record(path))
    assert.is_false(rawequal(e.steps[1].builder, builder))
    serve(e, 2, 2)
    recording:close()
    assert.is_true(rawequal(e.steps[1].builder, builder))
    for name in pairs(e) do assert.is_true(fields_before[name], name) end
    serve(e, 2, 4)
    assert.are.equal(2, recording.steps)
    assert.is_true(recording:close()) -- again
    e:close()
  end)

  it("ends with the engine", function()
    local e = engine()
    assert(e:record(path))
    serve(e, 2)
    e:close()
    local n, missing = walk(path)
    assert.are.same({ 2 }, { n, missing })
  end)

  describe("of bounded size", function()
    it("stops before max_bytes, says so, and lets the steps go on", function()
      local e = engine()
      local recording = assert(e:record(path, { max_bytes = 5000 }))
      serve(e, 12)
      local why = ("max_bytes = 5000 reached before step %d"):format(recording.steps + 1)
      assert.are.equal(why, recording.stopped)
      assert.are.same({ nil, why }, { recording:close() })
      assert.are.equal(12, e.stats.steps)
      local text = read(path)
      assert.is_true(#text <= 5000 and #text > 3000, #text)
      local n, missing, message = walk(path)
      assert.are.same({ recording.steps, "the recording ended early: " .. why }, { n, missing, message })
      assert.is_nil(e.recording)
      assert(e:record(path)) -- another may begin
      e:close()
    end)

    it("is never larger, wherever the bound falls", function()
      local e = engine()
      for max_bytes = 3000, 4000, 7 do
        local recording = assert(e:record(path, { max_bytes = max_bytes }))
        local from = e.stats.steps
        while not recording.stopped do serve(e, 1, e.stats.steps + 1) end
        assert.is_true(e.stats.steps - from > 1)
        assert.is_true(#read(path) <= max_bytes, ("%d bytes of %d"):format(#read(path), max_bytes))
        assert.are.equal(recording.steps, (walk(path)))
      end
      e:close()
    end)

    it("refuses a size that holds no step's header", function()
      local e = engine()
      os.remove(path)
      local recording, message, code = e:record(path, { max_bytes = 100 })
      assert.is_nil(recording)
      assert.matches("^max_bytes = 100, want at least %d+ for header and end$", message)
      assert.are.equal(gdn.EINVAL, code)
      assert.is_nil(io.open(path, "rb"))
      e:close()
      write(path, "")
    end)

    it("is refused where the file takes no byte", function()
      local e, open = engine(), io.open
      local opened = stub(io, "open", function(name) return open(name, "rb") end)
      local recording, message, code = e:record(path)
      opened:revert()
      assert.are.same({ nil, "Bad file descriptor", gdn.EINVAL }, { recording, message, code })
      e:close()
    end)

    it("stops when the file is gone, and lets the steps go on", function()
      local e = engine()
      local recording = assert(e:record(path))
      serve(e, 1)
      recording.file:close()
      serve(e, 2, 2)
      assert.are.equal("step 2: the file was closed", recording.stopped)
      assert.are.equal(3, e.stats.steps)
      e:close()
    end)
  end)

  it("is refused where it cannot be right", function()
    local e = engine()
    local recording = assert(e:record(path))
    assert.are.same({ nil, "already recording to " .. path, gdn.EINVAL }, { e:record "elsewhere" })
    recording:close()
    assert.are.same({ nil, "/nowhere/x: No such file or directory", gdn.EINVAL }, { e:record "/nowhere/x" })
    raises("gdnmeta.Engine:record: path = nil, want a string", function() e:record() end)
    raises(("gdnmeta.Engine:record: path = %q, want a path without NUL bytes"):format(path .. "\0x"),
           function() e:record(path .. "\0x") end)
    raises("gdnmeta.Engine:record: unknown option bytes", function() e:record(path, { bytes = 3 }) end)
    raises("gdnmeta.Engine:record: max_bytes = 0.5, want an integer in 1 .. 2^53",
           function() e:record(path, { max_bytes = 0.5 }) end)
    e:close()
    raises("gdnmeta.Engine: closed", function() e:record(path) end)
  end)

  it("is refused where the accepted counts stand on the device", function()
    local driver = drivers.open "fake"
    local accepted = driver:int32(4)
    driver:write(accepted, { 1, 1, 1, 1 })
    local e = engine({ async = true, accepted = accepted }, { device = "cuda", num_speculative_tokens = 1 })
    assert.are.same({ nil, "accepted counts are given on the device, want them on the host to record them",
                      gdn.EINVAL }, { e:record(path) })
    e:close()
    e.builder:close()
    driver:close()
  end)

  it("that was cut anywhere is read up to the last whole line, and says what is missing", function()
    short(3)
    local text = read(path)
    local ends, steps = {}, 0
    for at in text:gmatch "()\n" do ends[#ends + 1] = at end
    for bytes = 0, #text - 1 do
      write(path, text:sub(1, bytes))
      local n, missing, message = walk(path)
      local whole = 0
      while ends[whole + 1] and ends[whole + 1] <= bytes do whole = whole + 1 end
      local rest = bytes - (ends[whole] or 0)
      if whole == 0 then
        local why = bytes == 0 and "empty, want a header" or "cut in its header"
        assert.are.equal(("%s:1: %s"):format(path, why), message)
      else
        assert.are.same({ whole - 1 }, { n, message })
        steps = steps + n
        assert.are.equal(rest == 0
          and ("no end line behind line %d: it was cut there, or is still being written"):format(whole)
          or ("cut in line %d, %d bytes of which are there: the rest is missing"):format(whole + 1, rest),
          missing)
      end
    end
    assert.is_true(steps > 1000)
  end)

  describe("that was tampered with", function()
    local text, documents

    before_each(function()
      short(3)
      text, documents = lines(read(path)), {}
      for i, line in ipairs(text) do documents[i] = cjson.decode(line) end
    end)

    local function refusal(number, document)
      local list = {}
      for i, line in ipairs(text) do list[i] = line end
      list[number] = type(document) == "string" and document or cjson.encode(document)
      write(path, table.concat(list, "\n") .. "\n")
      local _, _, message = walk(path)
      assert.is_truthy(message, "was accepted")
      local prefix = ("%s:%d: "):format(path, number)
      assert.are.equal(prefix, message:sub(1, #prefix))
      assert.is_true(#message < 500, message)
      assert.is_nil(message:find "%c", message)
      return message:sub(#prefix + 1)
    end

    local HOSTILE = {
      { "half a line", 3, '{"step":2,"now',
        "Expected object key string but found unexpected end of string at character 15" },
      { "binary", 3, "\0\1\2\255\254", "JSON parser does not support UTF-16 or UTF-32" },
      { "no object", 3, "17", "the line = 17, want an object" },
      { "deep nesting", 3, ("["):rep(100000), "Found too many nested data structures (5) at character 5" },
      { "deep nesting of objects", 3, ('{"a":'):rep(5000),
        "Found too many nested data structures (5) at character 21" },
      { "a number that is none", 3, '{"step":NaN}', "Expected value but found invalid token at character 9" },
      { "a line without an end", 3, ("x"):rep(2 ^ 22 + 1),
        "longer than the 4194304 bytes that a line may have" },
      { "an early end", 3, '{"end":"closed","steps":3}', 'steps = 3, want 1, the steps before it' },
      { "an end without a reason", 5, '{"end":7,"steps":3}', "end = 7, want a reason" },
      { "an empty object", 3, "{}", "step = nil, want an integer in 1 .. 9007199254740992" },
      { "no header", 1, '{"step":1}', "no recording of gdnmeta" },
      { "a later version", 1, '{"gdnmeta":"record","version":2}',
        "version = 2, want 1, the one this program reads" },
    }
    for _, case in ipairs(HOSTILE) do
      it("is refused for " .. case[1] .. ", with the line", function()
        assert.are.equal(case[4], (refusal(case[2], case[3])))
      end)
    end

    -- What is edited, the message: `step` stands for the second step's line, the others are the header's.
    local EDITS = {
      { "step", "query_len", "x", "query_len has 0 elements, want 1 .. 4" },
      { "step", "query_len", { 1, 1, 1, 1, 1 }, "query_len has 5 elements, want 1 .. 4" },
      { "step", "query_len", { 2 ^ 31 - 1, 2 ^ 31 - 1 }, "query_len adds up to 4294967294, want at most 64" },
      { "step", "query_len", { 1, -1 }, "query_len[1] = -1, want an integer in 0 .. 2147483647" },
      { "step", "seq_len", { 1e300, 1 },
        "seq_len[0] = 1e+300, want an integer in -2147483648 .. 2147483647" },
      { "step", "seq_len", { 1.5, 1 }, "seq_len[0] = 1.5, want an integer in -2147483648 .. 2147483647" },
      { "step", "seq_len", { 1 }, "seq_len has 1 elements, want 2" },
      { "step", "seq_len", nil, "seq_len = nil, want a list of 2" },
      { "step", "drafts", false, "drafts = false, want a list of 2" },
      { "step", "drafts", cjson.null, "drafts = null, want a list of 2" },
      { "step", "accepted", { "1", 1 }, 'accepted[0] = "1", want an integer in -2147483648 .. 2147483647' },
      { "step", "prompt_done", { 2, 0 }, "prompt_done[0] = 2, want an integer in 0 .. 1" },
      { "step", "table_row", { 0, 4 }, "table_row[1] = 4, want an integer in 0 .. 3" },
      { "step", "table_row", { -1, 1 }, "table_row[0] = -1, want an integer in 0 .. 3" },
      { "step", "table_row", { 1, 1 }, "table_row[1] = 1, want another than row 0 has" },
      { "step", "read_column", { 1, 0 }, "read_column[0] = 1, want an integer in -1 .. 0" },
      { "step", "blocks", { { 1, 2 } }, "blocks = a table, want a list of 2 lists, one a group" },
      { "step", "blocks", { { 1, 2 }, { 1 } }, "blocks[1] has 1 elements, want 2" },
      { "step", "blocks", { { 1, 2 }, 7 }, "blocks[1] = 7, want a list of 2" },
      { "step", "blocks", { { 1, 2 }, { 1, 2 ^ 31 } },
        "blocks[1][1] = 2147483648, want an integer in 0 .. 2147483647" },
      { "step", "read_blocks", {}, "read_blocks = a table, want a list of 2 lists, one a group" },
      { "step", "padded_rows", 5, "padded_rows = 5, want an integer in 2 .. 4" },
      { "step", "padded_tokens", 1e18, "padded_tokens = 1e+18, want an integer in 11 .. 64" },
      { "step", "step", 0, "step = 0, want an integer in 1 .. 9007199254740992" },
      { "step", "now", 1e300, "now = 1e+300, want seconds in -2^53 .. 2^53" },
      { "step", "graph", "x\27[31m", [[graph = "x\27[31m", want "eager", "piecewise" or "full"]] },
      { "step", "counts", { 1 }, "counts has 1 elements, want 8" },
      { "step", "sums", 3, "sums = 3, want an object" },
      { "step", "sums", { x = { "0" } }, 'sums: unknown field "x"' },
      { "step", "sums", { spec_query_start_loc = { "0" } },
        'sums.spec_query_start_loc[0] = "0", want 16 hexadecimal digits' },
      { "step", "sums", { spec_state_indices_tensor = { ("0"):rep(16) } },
        "sums.spec_state_indices_tensor = a table, want a list of 2" },
      { "step", "mine", 3, 'unknown field "mine"' },
      { "step", ("x"):rep(1000), 3, ('unknown field "%s..."'):format(("x"):rep(60)) },
      { "builder", "max_rows", nil, "builder.max_rows is missing" },
      { "builder", "max_rows", cjson.null, "builder.max_rows is missing" },
      { "builder", "max_rows", 1e9, "builder: max_rows = 1000000000, want an integer in 1 .. 65536" },
      { "builder", "rules", "loose",
        'builder: rules = "loose", want "strict", "vllm-2026-04" or "vllm-2026-08"' },
      { "builder", "num_groups", 65, "builder: num_groups = 65, want an integer in 1 .. 64" },
      { "builder", "num_groups", 3, "builder: num_slots has 2 elements, want 3" },
      { "builder", "num_slots", 5, "builder.num_slots = 5, want a list of one a group" },
      { "builder", "num_slots", { 5, 2 ^ 31 - 1 },
        "builder: needs up to 8192 MiB of memory, want at most 1024" },
      { "builder", "max_num_batched_tokens", 2 ^ 31 - 1,
        "builder: needs up to 40960 MiB of memory, want at most 1024" },
      { "builder", "max_requests", 2 ^ 31 - 1,
        "builder: needs up to 16384 MiB of memory, want at most 1024" },
      { "builder", "max_blocks_per_row", 2 ^ 31 - 1,
        "builder: needs up to 131072 MiB of memory, want at most 1024" },
      { "builder", "device", "\27[2J", [[builder.device = "\27[2J", want a name]] },
      { "builder", "mine", 1, 'builder: unknown field "mine"' },
      { "builder", "check", true, 'builder: unknown field "check"' },
      { "builder", "max_cudagraph_capture_size", "x",
        'builder: max_cudagraph_capture_size = "x", want an integer in 1 .. 2147483647' },
      { "engine", "policy", nil, "engine.policy = nil, want a name" },
      { "engine", "policy", ("p"):rep(201), ('engine.policy = "%s...", want a name'):format(("p"):rep(60)) },
      { "engine", "max_model_len", -1, "engine.max_model_len = -1, want an integer in 0 .. 2147483647" },
      { "engine", "async", 1, "engine.async = 1, want true or false" },
      { "engine", "mine", 1, 'engine: unknown field "mine"' },
    }
    for _, edit in ipairs(EDITS) do
      local where, name, value, message = edit[1], edit[2], edit[3], edit[4]
      it(("is refused: %s"):format(message), function()
        local number = where == "step" and 3 or 1
        local document = documents[number]
        local target = where == "step" and document or document[where]
        target[name] = value
        assert.are.equal(message, (refusal(number, document)))
      end)
    end

    it("may leave out the capture size, by null too", function()
      documents[1].builder.max_cudagraph_capture_size = cjson.null
      write(path, cjson.encode(documents[1]) .. "\n")
      local reader = assert(gdn.record.open(path))
      assert.is_nil(reader.header.builder.max_cudagraph_capture_size)
      reader:close()
    end)

    it("is refused where something stands behind the end", function()
      write(path, table.concat(text, "\n") .. "\n" .. text[2] .. "\n")
      assert.are.equal(path .. ":6: stands behind the end", (select(3, walk(path))))
      write(path, table.concat(text, "\n") .. "\nmore")
      assert.are.equal(path .. ":6: stands behind the end", (select(3, walk(path))))
    end)

    it("is opened by a path, and within memory", function()
      raises("gdnmeta.record.open: path = nil, want a string", function() gdn.record.open() end)
      raises(("gdnmeta.record.open: path = %q, want a path without NUL bytes"):format(path .. "\0x"),
             function() gdn.record.open(path .. "\0x") end)
      raises('gdnmeta.record.open: max_memory = "1", want a number of bytes above 0',
             function() gdn.record.open(path, "1") end)
      raises("gdnmeta.record.open: max_memory = nan, want a number of bytes above 0",
             function() gdn.record.open(path, 0 / 0) end)
    end)

    it("goes on being refused", function()
      write(path, text[1] .. "\n[1]\n" .. text[2] .. "\n")
      local reader = assert(gdn.record.open(path))
      local first = { reader:next() }
      assert.are.same({ nil, path .. ":2: unknown field 1", gdn.EINVAL }, first)
      assert.are.same(first, { reader:next() })
      reader:close()
    end)

    -- Whatever is accepted is built, under every rule set: memory must be safe, and nothing may raise.
    it("never crashes, at random", function()
      local good, accepted, rand = table.concat(text, "\n") .. "\n", 0, random_config.rng(SEED)
      local DIGITS = { "0", "-1", "1e9", "2147483647", "2147483648", "-2147483648", "1e400", '"x"', "null",
                       "[]", "{}", "true", "0.5", "64", "5" }
      local RULES = { "strict", "vllm-2026-04", "vllm-2026-08" }
      local function mutate(case)
        local at = rand(1, #good)
        local kind = case % 4
        if kind == 0 then return good:sub(1, at - 1) .. string.char(rand(0, 255)) .. good:sub(at + 1) end
        if kind == 1 then return good:sub(1, at - 1) .. good:sub(at + rand(1, 30)) end
        local from, to = good:find("%-?%d+", at)
        if not from then return good end
        return good:sub(1, from - 1) .. DIGITS[rand(1, #DIGITS)] .. good:sub(to + 1)
      end
      for case = 1, CASES do
        write(path, mutate(case))
        local rebuild
        local where = ("GDN_SEED=%d case %d"):format(SEED, case)
        local ok, why = pcall(walk, path, function(step, reader)
          rebuild = rebuild or rebuilds.new(reader.header, "cpu", RULES[case % 3 + 1]) or nil
          local meta = rebuild and rebuild:build(step)
          if meta then
            rebuild:differences(step, meta)
            accepted = accepted + 1
          end
        end)
        assert.is_true(ok, where .. ": " .. tostring(why))
        if rebuild then rebuild:close() end
      end
      assert.is_true(accepted > CASES / 2, accepted)
    end)
  end)

  it("of an endless line or a folder is refused at once", function()
    write(path, ("\0"):rep(2^22 + 1))
    assert.are.same({ nil, path .. ":1: longer than the 4194304 bytes that a line may have", gdn.EINVAL },
                    { gdn.record.open(path) })
    assert.are.same({ nil, "spec:1: Is a directory", gdn.EINVAL }, { gdn.record.open "spec" })
    assert.are.same({ nil, "nowhere: No such file or directory", gdn.EINVAL }, { gdn.record.open "nowhere" })
  end)

  -- At least, and under strict rules, which note who uses a slot, not much more.
  it("is judged by the memory that its builder and a batch take", function()
    local rand = random_config.rng(SEED)
    for case = 0, math.ceil(CASES / 10) do
      local strict = case % 2 == 0
      local config = random_config.config(rand, strict and "strict" or "vllm-2026-04")
      config.device, config.rules = "cpu", strict and "strict" or "vllm-2026-04"
      if case == 0 then config = { device = "cpu", max_num_seqs = 65536, max_num_batched_tokens = 1024 } end
      local builder = assert(gdn.builder(config))
      local cells = builder.num_groups * builder.max_rows * builder.max_blocks_per_row
      local bytes = builder.bytes + 4 * (cells + 7 * builder.max_rows)
      local judged = header.memory(header.builder(builder))
      local where = ("GDN_SEED=%d case %d: %d bytes, judged %d"):format(SEED, case, bytes, judged)
      assert.is_true(judged >= bytes and (not strict or judged < 3 * bytes), where)
      builder:close()
    end
  end)

  it("names every tensor and count of the metadata, and those of groups", function()
    local text = read "src/gdnmeta.h":match "typedef struct gdn_metadata {(.-)\n}"
    local tensors, counts = {}, {}
    for name, rest in text:gmatch "gdn_tensor ([%w_]+);([^\n]*)" do
      tensors[#tensors + 1] = name
      assert.are.equal(rest:find("] * ", 1, true) ~= nil, fields.per_group[name], name)
    end
    for name in text:gmatch "int32_t ([%w_]+);" do counts[#counts + 1] = name end
    assert.are.same(tensors, fields.tensors)
    assert.are.same(counts, fields.counts)
  end)
end)

describe("A checksum", function()
  local checksum = require "gdnmeta.record.checksum"
  local tensor = require "gdnmeta.tensor"
  local builder, core = { device = "cpu" }, { stamp = ffi.new "double[1]" }
  local KINDS = { int32 = { 0, "int32_t[?]" }, int64 = { 1, "int64_t[?]" }, bool = { 2, "uint8_t[?]" } }

  local function sum(dtype, shape, values)
    local kind = KINDS[dtype]
    local data = ffi.new(kind[2], #values + 1, values)
    local view = tensor.view(core, ffi.new("gdn_tensor", data, { shape[1], shape[2] or 1 }, kind[1], #shape))
    return checksum.tensor(builder, view), data -- which has to outlive the view
  end

  it("is of dtype, shape and every value", function()
    local seen = {}
    for _, args in ipairs {
      { "int32", { 2 }, { 1, 2 } }, { "int32", { 2 }, { 2, 1 } }, { "int32", { 2 }, { 1, 3 } },
      { "int32", { 2 }, { 1, -2 } }, { "int64", { 2 }, { 1, 2 } }, { "int32", { 2, 1 }, { 1, 2 } },
      { "int32", { 1, 2 }, { 1, 2 } }, { "int32", { 3 }, { 1, 2, 0 } }, { "int32", { 0 }, {} },
      { "bool", { 2 }, { 1, 0 } }, { "bool", { 2 }, { 0, 1 } }, { "int32", { 2 }, { -1, -1 } },
    } do
      local digits = sum(unpack(args))
      assert.matches("^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$", digits)
      assert.is_nil(seen[digits])
      seen[digits] = true
    end
    assert.are.equal((sum("int32", { 2 }, { 1, 2 })), (sum("int32", { 2 }, { 1, 2 })))
  end)

  it("is FNV-1a of 64 bits", function()
    -- dtype 0, one dimension of one element, the element 7, worked out apart.
    assert.are.equal("447f667f98e900f2", (sum("int32", { 1 }, { 7 })))
  end)
end)
