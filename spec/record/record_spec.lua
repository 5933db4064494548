-- Recordings: what is written, when it ends, and what is refused.
local cjson = require "cjson"
local drivers = require "spec.support.driver"
local fields = require("gdnmeta.native.schema").fields
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"
local recordings = require "spec.support.recordings"

local engine, serve, walk = recordings.engine, recordings.serve, recordings.walk
local lines, read, write = recordings.lines, recordings.read, recordings.write

describe("A recording", function()
  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  it("holds the builder, the engine, each step's rows, and the sums of its tensors", function()
    local e = engine({ kv_tokens = 4096, long_prefill_token_threshold = 32, max_num_batched_tokens = 32 },
                     { max_cudagraph_capture_size = 8, full_cuda_graph = true })
    local recording = assert(e:record(path))
    e:submit { id = "a", prompt_tokens = 40, max_tokens = 4 }
    for now = 1, 3 do e:complete(assert(e:step(now)), now) end
    e:step(4) -- in flight
    assert.is_true(recording:close())
    local text = lines(read(path))
    assert.are.equal(1 + 4 + 1, #text)
    assert.are.same({
      gdnmeta = "record", version = 2, library = gdn._VERSION,
      builder = { device = "cpu", rules = "strict", max_num_seqs = 4, max_num_batched_tokens = 64,
                  max_rows = 4, num_speculative_tokens = 0, full_cuda_graph = true,
                  max_cudagraph_capture_size = 8,
                  mamba_cache_mode = "none", mamba_block_size = 544, num_speculative_blocks = 0,
                  num_groups = 2, num_slots = { 5, 5 }, max_requests = 4, max_blocks_per_row = 1,
                  parallel_drafting = false, decode_context_parallel_size = 1, check_unique = true,
                  pad_slot_id = 0, query_start_loc_dtype = "int32" },
      engine = { policy = "fcfs", max_model_len = 200, max_num_seqs = 4, max_num_batched_tokens = 32,
                 long_prefill_token_threshold = 32, chunked_prefill = true, kv_tokens = 4096,
                 kv_block_size = 16, async = false },
    }, cjson.decode(text[1]))
    local first, third = cjson.decode(text[2]), cjson.decode(text[4])
    assert.are.same({ 1, 1, { 32 }, { 32 }, { 0 }, { -1 }, { { 1 }, { 1 } } }, { first.step, first.now,
      first.query_len, first.seq_len, first.prompt_done, first.read_column, first.blocks })
    assert.is_nil(first.read_blocks) -- where no state is read outside of a window
    assert.is_nil(third.read_blocks)
    assert.are.same({ 1, 32, 0, 0, 0, 0, 32, 1, 4, 0, 0, 0 }, first.counts)
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

  it("leaves no trace in the engine when it is off", function()
    local e = engine()
    serve(e, 1)
    local builder, fields_before = e.builder, {}
    for name in pairs(e) do fields_before[name] = true end
    local recording = assert(e:record(path))
    assert.is_false(rawequal(e.private.steps[1].builder, builder))
    serve(e, 2, 2)
    recording:close()
    assert.is_true(rawequal(e.private.steps[1].builder, builder))
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
      assert.is_false(e.recording)
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
    raises("gdnmeta.Engine:record: unknown option bytes, want one of max_bytes",
           function() e:record(path, { bytes = 3 }) end)
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
