-- Memory that scripts write stands between canaries: a stray index is reported by the next build.
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"
local raises = require "spec.support.raises"

local CAPACITY, GUARD = -3, -4

describe("memory that scripts write", function()
  local builder, batch
  before_each(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 3, num_groups = 2, max_blocks_per_row = 3 })
    batch = builder:batch()
  end)
  after_each(function() builder:close() end)

  -- The build after memory[at] was written, then the one after it was put back.
  local function build_with(memory, at)
    local kept = memory[at]
    memory[at] = kept == 1 and 2 or 1
    local refused = { builder:build(batch) }
    memory[at] = kept
    assert(builder:build(batch))
    return refused
  end

  it("is refused where an array of the batch was left", function()
    local sizes = { query_len = 3, seq_len = 3, num_draft_tokens = 3, num_accepted_tokens = 3,
                    prompt_done = 3, table_row = 3, read_column = 3, blocks = 2 * 3 * 3 }
    for name, size in pairs(sizes) do
      local refused = { nil, ("something wrote outside batch.%s[0 .. %d]"):format(name, size - 1), GUARD }
      assert.are.same(refused, build_with(batch.rows[name], -1))
      assert.are.same(refused, build_with(batch.rows[name], size))
    end
  end)

  it("is refused where indices of a device's inputs were left, by steps that have some", function()
    batch.rows.indexed = 1
    assert(builder:build(batch)) -- the CPU has none
    local driver = drivers.open "fake"
    builder:close()
    builder = assert(gdn.builder { device = "cuda", max_num_seqs = 3 })
    batch = builder:batch()
    for name, at in pairs { seq_index = -1, accepted_index = 3 } do
      local array = batch.rows[name]
      local kept = array[at]
      array[at] = kept + 1
      assert(builder:build(batch))
      batch.rows.indexed = 1
      assert.are.same({ nil, ("something wrote outside batch.%s[0 .. 2]"):format(name), GUARD },
                      { builder:build(batch) })
      array[at] = kept
      assert(builder:build(batch))
      batch.rows.indexed = 0
    end
    batch:close()
    builder:close()
    driver:close()
  end)

  it("is refused where a state table was left", function()
    local refused = { nil, "something wrote outside the state table of group 1", GUARD }
    assert.are.same(refused, build_with(builder:table(1), -1))
    assert.are.same(refused, build_with(builder:table(1), 9))
  end)

  it("is refused when the rows are counted wrongly", function()
    for _, count in ipairs { 4, -1, 2^31 - 1 } do
      batch.rows.num_rows = count
      assert.are.same({ nil, ("num_rows = %d, want 0 .. 3"):format(count), CAPACITY },
                      { builder:build(batch) })
    end
    batch:clear()
    batch.rows.padded_rows = 4
    assert.are.same({ nil, "padded_rows = 4, want 0 .. 3", CAPACITY }, { builder:build(batch) })
  end)

  it("is not touched where the count of rows is no count", function()
    for _, count in ipairs { -1, -2^31 } do
      batch.rows.num_rows = count
      raises(("gdnmeta.Batch:push: num_rows = %d, want an integer in 0 .. 3"):format(count),
             function() batch:push(0, 1, 1, false) end)
      raises(("gdnmeta.Batch:add: num_rows = %d, want an integer in 0 .. 3"):format(count),
             function() batch:add { query_len = 1, seq_len = 1, blocks = { {}, {} } } end)
    end
    for _, count in ipairs { -1, 4, 2^31 - 1 } do
      batch.rows.num_rows = count
      raises(("gdnmeta.Batch:pad: num_rows = %d, want an integer in 0 .. 3"):format(count),
             function() batch:pad(3, 3) end)
      assert.matches(("^gdnmeta.Batch: %d of 3 rows"):format(count):gsub("%-", "%%-"), tostring(batch))
    end
    batch:clear()
    assert(builder:build(batch))
  end)
end)
