-- full_cuda_graph = "mixed" on a CUDA device: one launch whose grid follows from the bucket, and one graph
-- that reads every step of it.
--   GDN_CUDA_SPECS=cuda   on a real device      GDN_SEED=N   replays a run
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"
local drivers = require "spec.support.driver"
local random = require "spec.support.random_config"
local array_of = require "gdnmeta.array_of"

local byte_array = array_of "uint8_t"

local KIND = os.getenv "GDN_CUDA_SPECS" or "fake"
local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CAPACITY, TOKENS, SLOTS = 64, 1024, 5000
local SIZES = { [0] = 4, 8, 1, 1 }

describe("A bucket on a CUDA device", function()
  local driver, stream
  drivers.around(KIND, { setup, teardown, after_each }, function(...) driver, stream = ... end)

  local function open(device, groups, S)
    local builder = assert(gdn.builder { device = device, full_cuda_graph = "mixed", num_groups = groups,
      num_speculative_tokens = S, max_num_seqs = CAPACITY, max_rows = CAPACITY, max_requests = CAPACITY,
      max_num_batched_tokens = TOKENS, num_slots = SLOTS })
    for g = 0, groups - 1 do
      local cells = builder:table(g)
      for i = 0, CAPACITY * (S + 1) - 1 do cells[i] = 1 + (i * 17 + g) % (SLOTS - 1) end
    end
    return builder, assert(builder:batch())
  end

  -- A step of any mix, in the order of strict: { query_len, computed, drafts } a row. kinds: 1 speculative
  -- rows, 2 decodes, 4 prefills, or a sum of them.
  local function draw(rand, kinds, S, rows, tokens)
    local list = {}
    local function put(q, computed, drafts)
      if #list == rows or q > tokens then return end
      list[#list + 1], tokens = { q, computed, drafts }, tokens - q
    end
    local spec, plain = S > 0 and kinds % 2 == 1, math.floor(kinds / 2) % 2 == 1
    for _ = 1, rand(1, 12) do
      if plain and random.chance(rand, 50) then put(1, 30, -1) end
      if spec then
        local drafts = rand(0, S)
        put(drafts + 1, 30, drafts)
      end
    end
    for _ = 1, kinds >= 4 and rand(0, 3) or 0 do put(2 * S + 2 + rand(0, 150), 90, -1) end
    for _ = 1, kinds >= 4 and rand(0, 3) or 0 do put(random.chance(rand, 30) and 1 or rand(1, 200), 0, -1) end
    return list
  end

  local function fill(batch, list, rows, tokens)
    batch:clear()
    for i, r in ipairs(list) do
      local accepted = r[2] > 0 and 1 + i % batch.rows.max_blocks_per_row or 1
      assert(batch:push(i * 7 % CAPACITY, r[1], r[1] + r[2], r[2] == 30, r[3], accepted))
    end
    assert(batch:pad(rows, tokens))
  end

  -- Every tensor of every group: "<name> of group <g>" -> { data, bytes }.
  local function tensors_of(builder)
    local found, meta = {}, ffi.new "gdn_metadata"
    for g = 0, builder.num_groups - 1 do
      assert.are.equal(0, lib.gdn_metadata_group(builder.handle, g, meta))
      for _, list in ipairs { g == 0 and compare.TENSORS or {}, compare.STATE } do
        for _, name in ipairs(list) do
          local t = meta[name]
          local bytes = t.shape[0] * t.shape[1] * SIZES[t.dtype]
          if t.data ~= nil and bytes > 0 then found[name .. " of group " .. g] = { t.data, bytes } end
        end
      end
    end
    return found
  end

  local function number(pointer) return tonumber(ffi.cast("uintptr_t", pointer)) end

  -- A graph that copies the memory from the first tensor to the end of the last.
  local function capture(builder)
    local out, executable, low, high = ffi.new "void *[1]", ffi.new "void *[1]", math.huge, 0
    local tensors = tensors_of(builder)
    for _, t in pairs(tensors) do
      low, high = math.min(low, number(t[1])), math.max(high, number(t[1]) + t[2])
    end
    local graph = { tensors = tensors, low = low, bytes = high - low }
    graph.copy = driver:int32(math.ceil(graph.bytes / 4))
    driver:call("cuStreamBeginCapture_v2", stream, 2)
    driver:call("cuMemcpyDtoDAsync_v2", ffi.cast("uint64_t", graph.copy), low, graph.bytes, stream)
    driver:call("cuStreamEndCapture", stream, out)
    driver:call("cuGraphInstantiateWithFlags", executable, out[0], 0)
    driver:call("cuGraphDestroy", out[0])
    graph.executable = executable[0]
    return graph
  end

  -- What the graph reads is what a builder on the CPU, which has seen no other step, makes of it.
  local function check(graph, want, where)
    local host, count = byte_array(graph.bytes), 0
    driver:call("cuGraphLaunch", graph.executable, stream)
    driver:call("cuMemcpyDtoHAsync_v2", host, ffi.cast("uint64_t", graph.copy), graph.bytes, stream)
    driver:call("cuStreamSynchronize", stream)
    for name, t in pairs(tensors_of(want)) do
      local captured = assert(graph.tensors[name], name)
      assert.are.equal(t[2], captured[2], name)
      local got = ffi.string(host + (number(captured[1]) - graph.low), t[2])
      assert(got == ffi.string(t[1], t[2]), name .. where)
      count = count + 1
    end
    for _ in pairs(graph.tensors) do count = count - 1 end
    assert.are.equal(0, count)
  end

  for _, case in ipairs { { 1, 0 }, { 2, 3 }, { 64, 1 } } do
    local groups, S = unpack(case)
    it(("is read by one graph, whatever the step: %d groups, S = %d"):format(groups, S), function()
      local rand = random.rng(SEED + groups)
      local gpu, batch = open("cuda", groups, S)
      local graphs, BUCKETS = {}, { { 1, 9 }, { 16, 300 }, { CAPACITY, TOKENS } }
      for i, b in ipairs(BUCKETS) do
        assert(gpu:capture({ rows = b[1], tokens = b[2] }, stream))
        graphs[i] = capture(gpu)
      end
      for n = 1, groups == 64 and 12 or 60 do
        local which = rand(1, #BUCKETS)
        local rows, tokens = unpack(BUCKETS[which])
        local kinds, cpu, rest = rand(0, 7), open("cpu", groups, S)
        if kinds == 0 then
          assert(gpu:capture({ rows = rows, tokens = tokens }, stream))
          assert(cpu:capture { rows = rows, tokens = tokens })
        else
          local list = draw(rand, kinds, S, rows, tokens)
          fill(batch, list, rows, tokens)
          fill(rest, list, rows, tokens)
          assert(gpu:build(batch, stream))
          assert(cpu:build(rest))
        end
        check(graphs[which], cpu, (" GDN_SEED=%d step %d"):format(SEED, n))
        rest:close()
        cpu:close()
      end
      for _, graph in ipairs(graphs) do driver:call("cuGraphExecDestroy", graph.executable) end
      batch:close()
      gpu:close()
    end)
  end

  it("is one launch of as many blocks as the bucket wants", function()
    if KIND ~= "fake" then return end
    local rand = random.rng(SEED)
    for _, case in ipairs { { 1, 0 }, { 3, 3 }, { 64, 3 } } do
      local builder, batch = open("cuda", unpack(case))
      local blocks = {}
      for n = 1, 60 do
        local kinds, small = n % 8, n % 3 == 0
        local rows, tokens = small and 20 or CAPACITY, small and 300 or TOKENS
        local list = draw(rand, kinds, case[2], rows, tokens)
        if kinds > 0 then fill(batch, list, rows, tokens) end
        lib.gdn_builder_poison(builder.handle)
        driver.lib.fake_reset()
        if kinds == 0 then assert(builder:capture({ rows = rows, tokens = tokens }, stream))
        else assert(builder:build(batch, stream)) end
        assert.are.same({ 1, 0, 0, 0 }, { driver:count "launches", driver:count "copies",
          driver:count "waits", driver:count "allocations" })
        blocks[rows] = blocks[rows] or driver:count "blocks"
        assert.are.equal(blocks[rows], driver:count "blocks")
      end
      assert.is_true(blocks[20] < blocks[CAPACITY])
      batch:close()
      builder:close()
    end
  end)

  it("takes accepted counts, lengths and tables from the device, and clamps bad ones", function()
    local cpu, want = open("cpu", 2, 3)
    local gpu, batch = open("cuda", 2, 3)
    local accepted, lens, cells = driver:int32(CAPACITY), driver:int32(CAPACITY), driver:int32(CAPACITY * 4)
    assert(gpu:borrow_device_accepted(accepted, CAPACITY))
    assert(gpu:borrow_device_seq_lens(lens, CAPACITY))
    assert(gpu:borrow_device_table(1, cells, 4, CAPACITY))
    driver:write(cells, cpu:table(1), CAPACITY * 4)
    local rand = random.rng(SEED)
    assert(gpu:capture({ rows = CAPACITY, tokens = TOKENS }, stream))
    local graph = capture(gpu)
    for n = 1, 30 do
      local list = draw(rand, rand(1, 7), 3, CAPACITY, TOKENS)
      fill(want, list, CAPACITY, TOKENS)
      fill(batch, list, CAPACITY, TOKENS)
      local counts, lengths = {}, {}
      for i = 1, CAPACITY do
        local row = i <= #list and want.rows
        counts[i] = row and row.num_accepted_tokens[i - 1] or 1
        lengths[i] = row and row.seq_len[i - 1] or 0
      end
      driver:write(accepted, counts)
      driver:write(lens, lengths)
      for i = 0, #list - 1 do
        batch.rows.num_accepted_tokens[i] = 1
        if list[i + 1][2] == 0 then batch.rows.read_column[i] = -1 end
        batch.rows.seq_len[i] = -5
      end
      assert(cpu:build(want))
      assert(gpu:build(batch, stream))
      check(graph, cpu, (" GDN_SEED=%d step %d"):format(SEED, n))
      assert.is_true(gpu:peek_device_error())
    end
    local bad = {}
    for i = 1, CAPACITY do bad[i] = 99 end
    driver:write(accepted, bad)
    fill(batch, draw(rand, 1, 3, CAPACITY, TOKENS), CAPACITY, TOKENS)
    local meta = assert(gpu:build(batch, stream))
    assert.are.equal(1, meta.num_accepted_tokens[0])
    assert.are.equal(0, meta.spec_read_state_indices[0])
    assert.is_nil((gpu:take_device_error()))
    driver:call("cuGraphExecDestroy", graph.executable)
    for _, object in ipairs { want, cpu, batch, gpu } do object:close() end
  end)
end)
