-- A build that would change nothing launches nothing; whatever may have changed the tensors makes it launch.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local ROWS = 512
local LAUNCH_FAILED = 719

describe("A build of the step that the tensors hold", function()
  local driver, builder, batch, stream, other
  before_each(function()
    driver = drivers.open "fake"
    stream, other = driver:stream(), driver:stream()
  end)
  after_each(function()
    driver.lib.fake_reset()
    if batch then batch:close() end
    if builder then builder:close() end
    builder, batch = nil, nil
    driver:close()
  end)

  -- Six groups of 512 rows outgrow a launch, 20 rows do not.
  local function open(rows, options)
    local all = { device = "cuda", max_num_seqs = ROWS, num_speculative_tokens = 3, num_groups = 6,
      num_slots = 2^22, max_num_batched_tokens = 4096 }
    for name, value in pairs(options or {}) do all[name] = value end
    builder = assert(gdn.builder(all))
    batch = assert(builder:batch())
    for g = 0, builder.num_groups - 1 do
      local cells = builder:table(g)
      for i = 0, ROWS * 4 - 1 do cells[i] = 1 + i * 1000 end
    end
    for row = 0, rows - 1 do assert(batch:push(row, 4, 40, true, 3, 1 + row % 4)) end
  end

  -- Launches of the next build: 1, or 0 where it was counted as skipped.
  local function launches(on)
    driver.lib.fake_reset()
    local before = builder:counters()
    local meta = assert(builder:build(batch, on or stream))
    local now = builder:counters()
    assert.are.equal(1, now.launches + now.skipped - before.launches - before.skipped)
    assert.are.equal(now.launches - before.launches, driver:count "launches")
    assert.are.same({ 0, 0, 0 }, { driver:count "copies", driver:count "waits", driver:count "allocations" })
    return driver:count "launches", meta
  end

  local function settle()
    if launches() == 1 then assert.are.equal(0, (launches())) end
  end

  for name, rows in pairs { ["inside a launch"] = 20, ["in the ring"] = ROWS } do
    it("launches nothing: payload " .. name, function()
      open(rows)
      for n, want in ipairs { 1, 0, 0 } do
        local got, meta = launches()
        assert.are.same({ want, n }, { got, meta.step })
      end
      local meta = builder.metadata
      assert.are.equal(1 + (rows - 1) % 4, meta.num_accepted_tokens[rows - 1])
      assert.are.equal(1 + (rows * 4 - 1) * 1000, meta:group(5).spec_state_indices_tensor[rows * 4 - 1])
      assert.are.equal(2, builder:counters().skipped)
      assert.are.equal(rows == ROWS and 1 or 0, builder:counters().ring_launches)
    end)

    -- What changes between two builds, and the payload or the head with it.
    it("launches where an input differs: payload " .. name, function()
      open(rows)
      local c = batch.rows
      local last = rows - 1
      local function shift(cells) for i = 0, ROWS * 4 - 1 do cells[i] = cells[i] + 1 end end
      local CHANGES = {
        accepted = function() c.num_accepted_tokens[last] = 1 + c.num_accepted_tokens[last] % 4 end,
        table_cell = function() builder:table(5)[0] = builder:table(5)[0] + 1 end,
        all_cells = function() shift(builder:table(2)) end, -- in the group's base alone
        all_accepted = function()                           -- in the head alone
          for i = 0, last do c.num_accepted_tokens[i] = 2 end
          launches()
          for i = 0, last do c.num_accepted_tokens[i] = 3 end
        end,
        table_row = function() c.table_row[0], c.table_row[1] = c.table_row[1], c.table_row[0] end,
        read_column = function() c.read_column[last] = c.num_accepted_tokens[last] % 4 end,
        rows = function() c.num_rows = c.num_rows - 1 end,
        drafts = function() c.num_draft_tokens[0], c.query_len[0] = 2, 3 end,
        fresh = function() batch:push(400, 70, 70, false) end,
      }
      local names = {}
      for change in pairs(CHANGES) do names[#names + 1] = change end
      table.sort(names)
      launches()
      for _, change in ipairs(names) do
        if change ~= "fresh" or rows < ROWS then
          CHANGES[change]()
          assert.are.same({ 1, 0 }, { (launches()), (launches()) }, change)
        end
      end
    end)

    it("is not fooled by a step in between: payload " .. name, function()
      open(rows)
      local first = batch.rows.num_accepted_tokens[0]
      for n = 1, 12 do
        batch.rows.num_accepted_tokens[0] = 1 + (first + n) % 2
        local got, meta = launches()
        assert.are.equal(1, got)
        assert.are.equal(1 + (first + n) % 2, meta.num_accepted_tokens[0])
      end
    end)

    it("launches after one that failed, or whose end is unknown: payload " .. name, function()
      open(rows)
      launches()
      local failed = {}
      for n = 1, 8 do
        local accepted = batch.rows.num_accepted_tokens[0]
        batch.rows.num_accepted_tokens[0] = 3 - accepted
        driver.lib.fake_fail(n, LAUNCH_FAILED)
        local meta = builder:build(batch, stream)
        local call = ffi.string(driver.lib.fake_failed_call())
        driver.lib.fake_reset()
        if not meta then
          failed[call] = true
          batch.rows.num_accepted_tokens[0] = accepted -- as it was before the build that failed
          assert.are.equal(1, (launches()), call)
        end
        settle()
      end
      assert.are.same({ cuCtxGetCurrent = true, cuStreamIsCapturing = true, cuLaunchKernel = true }, failed)
    end)
  end

  -- One element of an array of each width: 1, 8, 16 and 32 bits, the first and the last.
  it("launches where one element of many differs", function()
    open(0, { rules = "vllm-2026-08", num_groups = 1, max_num_batched_tokens = 2^16 })
    local c, cells = batch.rows, builder:table(0)
    local function each(n, array, change)
      for _, i in ipairs { 0, n - 1 } do
        settle()
        local was = array[i]
        change(i)
        assert.are.same({ 1, 0 }, { (launches()), (launches()) })
        array[i] = was
      end
    end
    for row = 0, 19 do assert(batch:push((row + 5) % 20, 70, row % 3 == 0 and 140 or 70, false)) end
    each(20, c.seq_len, function(i) c.seq_len[i] = 210 - c.seq_len[i] end)
    for _, apart in ipairs { 1, 20, 1000 } do
      for i = 0, ROWS * 4 - 1 do cells[i] = 1 + i * apart end
      each(20, c.table_row, function(i) c.table_row[i] = 10 end)
    end
  end)

  it("launches on another stream, and on one that was given a dead one's handle", function()
    open(20)
    assert.are.same({ 1, 0, 1, 0, 1 }, { launches(), (launches()), (launches(other)), (launches(other)),
      (launches()) })
    assert.are.same({ 0, 1, 0 }, { (launches()), (launches(ffi.cast("void *", 0))),
      (launches(ffi.cast("void *", 0))) })
    launches()
    local dead = table.remove(driver.streams, 1)
    driver:call("cuStreamDestroy_v2", dead)
    assert.is_true(driver:stream() == dead)
    assert.are.same({ 1, 0 }, { (launches()), (launches()) })
  end)

  it("is refused while its stream is being captured, and the graph has no part of it", function()
    open(20)
    launches()
    local graph = ffi.new "void *[1]"
    driver:call("cuStreamBeginCapture_v2", stream, 2)
    local meta, message = builder:build(batch, stream)
    assert.is_nil(meta)
    assert.are.equal("stream is capturing: build before the capture begins", message)
    batch.rows.num_accepted_tokens[0] = 2
    assert.is_nil((builder:build(batch, stream)))
    driver:call("cuStreamEndCapture", stream, graph)
    driver:call("cuGraphDestroy", graph[0])
    assert.are.same({ 1, 0 }, { (launches()), (launches()) })
    assert.are.equal(2, builder.metadata.num_accepted_tokens[0])
  end)

  it("launches after poison, and after a read that failed", function()
    open(20)
    settle()
    lib.gdn_builder_poison(builder.handle)
    assert.are.same({ 1, 0 }, { (launches()), (launches()) })
    assert.are.equal(1, builder.metadata.num_accepted_tokens[0])
    driver.lib.fake_fail(3, LAUNCH_FAILED)
    assert.is_false((pcall(function() return builder.metadata.spec_query_start_loc:totable() end)))
    assert.are.same({ 1, 0 }, { (launches()), (launches()) })
  end)

  for _, options in ipairs { { check = true }, { poison = true } } do
    it("is written each time with " .. next(options), function()
      open(20, options)
      local before = builder:counters().launches
      for _ = 1, 3 do assert(builder:build(batch, stream)) end
      assert.are.same({ 6, 0 }, { builder:counters().launches - before, builder:counters().skipped })
    end)
  end

  -- Who writes such memory does not tell the builder.
  it("launches as long as an input lives on the device", function()
    open(20)
    local accepted, lens, cells = driver:int32(ROWS), driver:int32(ROWS), driver:int32(ROWS * 4)
    local counts = {}
    for i = 1, ROWS do counts[i] = 1 end
    driver:write(accepted, counts)
    for i = 1, ROWS do counts[i] = 40 end
    driver:write(lens, counts)
    driver:write(cells, builder:table(3), ROWS * 4)
    local function each(borrow, give_back)
      assert(borrow())
      for _ = 1, 3 do assert.are.equal(1, (launches())) end
      assert(give_back())
      assert.are.same({ 1, 0 }, { (launches()), (launches()) })
    end
    each(function() return builder:borrow_device_accepted(accepted, ROWS) end,
         function() return builder:borrow_device_accepted() end)
    each(function() return builder:borrow_device_seq_lens(lens, ROWS) end,
         function() return builder:borrow_device_seq_lens() end)
    each(function() return builder:borrow_device_table(3, cells, 4, ROWS) end,
         function() return builder:borrow_device_table(3) end)
    driver:free_all()
  end)

  it("finds the values of a borrowed table, not its address", function()
    open(20)
    local cells = int32s(ROWS * 4)
    for i = 0, ROWS * 4 - 1 do cells[i] = 1 + i * 1000 end
    launches()
    assert(builder:borrow_table(2, cells, 4, ROWS))
    assert.are.equal(0, (launches()))
    cells[3] = 7
    assert.are.equal(1, (launches()))
    assert.are.equal(7, builder.metadata:group(2).spec_state_indices_tensor[3])
  end)

  it("knows nothing of another builder's, nor of what a refused build asked for", function()
    open(20)
    launches()
    local first, rows = builder, batch
    open(20)
    assert.are.equal(1, (launches()))
    batch:close()
    builder:close()
    builder, batch = first, rows
    batch.rows.num_accepted_tokens[0] = 9
    assert.is_nil((builder:build(batch, stream)))
    batch.rows.num_accepted_tokens[0] = 1
    assert.are.equal(0, (launches()))
  end)

  it("is one of build, build_raw and capture alike", function()
    builder = assert(gdn.builder { device = "cuda", rules = "vllm-2026-08", max_num_seqs = 8,
                                   num_speculative_tokens = 3, full_cuda_graph = true })
    batch = assert(builder:batch())
    local raw = { query_start_loc = { 0, 1, 2 }, seq_lens = { 9, 9 },
                  block_table = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } } }
    for _, method in ipairs { "build_raw", "capture" } do
      for n = 0, 2 do
        local before = builder:counters().skipped
        assert(builder[method](builder, raw, stream))
        assert.are.equal(n == 0 and method == "build_raw" and 0 or 1, builder:counters().skipped - before)
      end
    end
  end)

  it("calls the driver to ask for context, capture and stream alone", function()
    open(20)
    settle()
    launches()
    assert.are.equal(3, driver:count "calls")
    assert.are.equal(0, tonumber(lib.gdn_device_error(builder.handle, 0)))
  end)
end)
