-- A step that comes again is known by its rows and slots, before it is partitioned: src/builder/repeat.c. Any
-- step that is another one is not. cuda_agree_spec has random ones.
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"

local int32s = gdn.array_of "int32_t"

local ROWS = 512

describe("A step that comes again", function()
  local driver, builder, batch, stream
  before_each(function()
    driver = drivers.open "fake"
    stream = driver:stream()
  end)
  after_each(function()
    batch:close()
    builder:close()
    driver:close()
  end)

  local function open(rows)
    builder = assert(gdn.builder { device = "cuda", max_num_seqs = ROWS, num_speculative_tokens = 3,
      num_groups = 6, num_slots = 2^22, max_num_batched_tokens = 4096 })
    batch = assert(builder:batch())
    for g = 0, 5 do
      local cells = builder:table(g)
      for i = 0, ROWS * 4 - 1 do cells[i] = 1 + i * 1000 end
    end
    for row = 0, rows - 1 do assert(batch:push(row, 4, 40, true, 3, 1 + row % 4)) end
  end

  -- Launches of the next build: 1, or 0 where it was counted as skipped.
  local function launches()
    local before = builder:counters()
    assert(builder:build(batch, stream))
    local now = builder:counters()
    assert.are.equal(1, now.launches + now.skipped - before.launches - before.skipped)
    return now.launches - before.launches
  end

  -- Sequences that grow change no output: the host knows that before it partitions the step.
  it("launches nothing while only lengths grow", function()
    open(20)
    launches()
    for n = 1, 6 do
      for i = 0, 19 do batch.rows.seq_len[i] = batch.rows.seq_len[i] + 1 end
      assert.are.same({ 0, n + 1 }, { launches(), tonumber(builder.metadata.step) })
    end
    batch.rows.seq_len[19] = 4
    assert.is_nil((builder:build(batch, stream)))
    batch.rows.seq_len[19] = 5
    assert.are.equal(0, (launches()))
  end)

  for _, row in ipairs { 0, 4 } do
    it(("sees a checkpoint of row %d that comes, moves, changes its slot and goes"):format(row), function()
      open(row)
      assert(batch:push(8, 200, 300, false))
      local c, slots = batch.rows, batch.rows.checkpoint_slot
      for g = 0, 5 do slots[g * c.max_rows + row] = 4000000 end
      local function at(len) return function() c.checkpoint_len[row] = len end end
      local function move() slots[row] = 4000001 end
      for _, change in ipairs { at(164), at(228), move, at(0) } do
        for _ = 1, 3 do launches() end
        change()
        assert.are.same({ 1, 0, 0 }, { (launches()), (launches()), (launches()) })
      end
    end)
  end

  -- Everything that a batch says, one at a time, there and back: what outputs are made of is seen each time.
  it("is another one where any number of it is another", function()
    open(20)
    assert(batch:push(20, 30, 30, false))
    local c = batch.rows
    local changes = {}
    local function add(owner, ...) -- pairs of a place and another value
      local changed = { ... }
      changes[#changes + 1] = function()
        for k = 1, #changed, 2 do
          local was = owner[changed[k]]
          owner[changed[k]], changed[k + 1] = changed[k + 1], was
        end
      end
    end
    add(c, "num_rows", 20)
    add(c.seq_len, 20, 40)
    add(c.query_len, 20, 29)
    add(c, "num_rows", 1)
    for _, row in ipairs { 0, 7, 19 } do
      add(c.table_row, row, 40)
      add(c.num_accepted_tokens, row, (row + 1) % 4 + 1)
      add(c.read_column, row, (row + 1) % 4)
      local lengths, drafts = c.query_len, c.num_draft_tokens
      changes[#changes + 1] = function()
        lengths[row], drafts[row] = 6 - lengths[row], 4 - drafts[row] -- 4 and 3, or 2 and 1
      end
      for _, group in ipairs { 0, 5 } do
        for column = 0, 3 do add(builder:table(group), row * 4 + column, 77) end
      end
    end
    for _ = 1, 3 do launches() end
    for k, change in ipairs(changes) do
      for _ = 1, 2 do
        change()
        assert.are.same({ k, 1, 0, 0 }, { k, (launches()), (launches()), (launches()) })
      end
    end
  end)

  -- Slots that are read alone, of either class, by columns that no row writes.
  it("is another one where any slot that is read is another", function()
    local rows, width = 20, 6
    for _, num_spec in ipairs { 0, 1, 7, rows } do
      builder = assert(gdn.builder { device = "cuda", max_num_seqs = rows, num_speculative_tokens = 3,
        num_groups = 2, num_slots = 2^16, max_num_batched_tokens = 4096, max_blocks_per_row = width })
      batch = assert(builder:batch())
      for g = 0, 1 do
        for i = 0, rows * width - 1 do builder:table(g)[i] = 1 + i end
      end
      for row = 0, rows - 1 do
        local is_spec = row < num_spec
        assert(batch:push(row, is_spec and 4 or 1, 40, true, is_spec and 3 or nil, 1, width - 1))
      end
      for _ = 1, 3 do launches() end
      for g = 0, 1 do
        for row = 0, rows - 1 do
          local cells, at = builder:table(g), row * width + width - 1
          cells[at] = cells[at] + 5000
          assert.are.same({ num_spec, g, row, 1 }, { num_spec, g, row, (launches()) })
          for _ = 1, 2 do launches() end
        end
      end
      if num_spec < rows then
        batch:close()
        builder:close()
      end
    end
  end)

  it("refuses rows that a table has no longer", function()
    open(20)
    local cells = int32s(ROWS * 4)
    for i = 0, ROWS * 4 - 1 do cells[i] = 1 + i * 1000 end
    assert(builder:borrow_table(2, cells, 4, 20))
    for _ = 1, 3 do launches() end
    assert(builder:borrow_table(2, cells, 4, 19))
    assert.are.equal("rows[19].table_row = 19, want -2048 .. 18", select(2, builder:build(batch, stream)))
    assert.is_nil((builder:build(batch, stream)))
    assert(builder:borrow_table(2, cells, 4, 20))
    assert.are.equal(0, (launches()))
  end)

  it("is looked at whole after one that was refused", function()
    open(20)
    for _ = 1, 3 do launches() end
    local c = batch.rows
    c.num_rows, c.prompt_done[0] = 1, 2
    assert.is_nil((builder:build(batch, stream)))
    c.num_rows, c.prompt_done[0] = 20, 1
    builder:table(3)[10 * 4] = 77
    assert.are.equal(1, (launches()))
  end)

  it("refuses padding of the host's own that names a slot", function()
    open(20)
    local c = batch.rows
    c.query_len[19], c.seq_len[19], c.num_draft_tokens[19], c.num_accepted_tokens[19] = 0, 0, -1, 1
    for g = 0, 5 do for i = 0, 3 do builder:table(g)[19 * 4 + i] = 0 end end
    for _ = 1, 3 do launches() end
    builder:table(5)[19 * 4 + 1] = 9
    assert.are.equal("rows[19] group 5 block 1 = 9, want 0 in a padding row",
      select(2, builder:build(batch, stream)))
  end)
end)
