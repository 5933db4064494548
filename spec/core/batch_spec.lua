-- Rows of a batch: push, add, pad, clear, and what they refuse.
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"

local CAPACITY = -3
local INT32 = "an integer in -2147483648 .. 2147483647"

-- Row i of a batch as the core will read it.
local function row(batch, i)
  local r = batch.rows
  return { r.query_len[i], r.seq_len[i], r.num_draft_tokens[i], r.num_accepted_tokens[i],
           r.prompt_done[i], r.table_row[i], r.read_column[i] }
end

local function first(pointer, n)
  local out = {}
  for i = 1, n do out[i] = pointer[i - 1] end
  return out
end

describe("a batch", function()
  local builder, batch
  before_each(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_rows = 3, num_speculative_tokens = 2,
                                   num_groups = 2, max_requests = 5, max_num_batched_tokens = 100 })
    batch = builder:batch()
  end)
  after_each(function() builder:close() end)

  describe("push", function()
    it("writes a row and tells its number", function()
      assert.are.equal(0, batch:push(4, 3, 40, true, 2, 1, 0))
      assert.are.equal(1, batch:push(0, 7, 7, false, -1, 1, -1))
      assert.are.equal(2, batch.num_rows)
      assert.are.same({ 3, 40, 2, 1, 1, 4, 0 }, row(batch, 0))
      assert.are.same({ 7, 7, -1, 1, 0, 0, -1 }, row(batch, 1))
    end)

    it("takes nil for no drafts, one accepted token and the usual read column", function()
      batch:push(0, 1, 8, true)
      assert.are.same({ 1, 8, -1, 1, 1, 0, -2 }, row(batch, 0))
    end)

    it("reaches both ends of every domain", function()
      batch:push(0, 0, -2^31, false, -1, -2^31, -1)
      batch:push(4, 2^31 - 1, 2^31 - 1, false, 2^31 - 1, 2^31 - 1, 2^31 - 1)
      assert.are.same({ 0, -2^31, -1, -2^31, 0, 0, -1 }, row(batch, 0))
      assert.are.same({ 2^31 - 1, 2^31 - 1, 2^31 - 1, 2^31 - 1, 0, 4, 2^31 - 1 }, row(batch, 1))
    end)

    it("refuses anything else by name, at the caller's line, and writes nothing", function()
      local natural, draft = "an integer in 0 .. 2147483647", "an integer in -1 .. 2147483647"
      for _, case in ipairs {
        { "query_len = -1, want " .. natural, 0, -1, 8, true, -1, 1 },
        { "query_len = 2.5, want " .. natural, 0, 2.5, 8, true, -1, 1 },
        { "query_len = nan, want " .. natural, 0, 0 / 0, 8, true, -1, 1 },
        { "query_len = 2147483648, want " .. natural, 0, 2^31, 8, true, -1, 1 },
        { "query_len = 4294967297, want " .. natural, 0, 2^32 + 1, 8, true, -1, 1 },
        { 'query_len = "1", want ' .. natural, 0, "1", 8, true, -1, 1 },
        { "query_len = nil, want " .. natural, 0, nil, 8, true, -1, 1 },
        { "query_len = cdata int64_t, want " .. natural, 0, 1LL, 8, true, -1, 1 },
        { "seq_len = -2147483649, want " .. INT32, 0, 1, -2^31 - 1, true, -1, 1 },
        { "seq_len = inf, want " .. INT32, 0, 1, 1 / 0, true, -1, 1 },
        { "seq_len = true, want " .. INT32, 0, 1, true, true, -1, 1 },
        { "drafts = -2, want " .. draft, 0, 1, 8, true, -2, 1 },
        { "drafts = 0.5, want " .. draft, 0, 1, 8, true, 0.5, 1 },
        { "drafts = 2147483648, want " .. draft, 0, 1, 8, true, 2^31, 1 },
        { "accepted = nan, want " .. INT32, 0, 1, 8, true, -1, 0 / 0 },
        { "accepted = a table, want " .. INT32, 0, 1, 8, true, -1, {} },
        { "prompt_done = nil, want true or false", 0, 1, 8, nil, -1, 1 },
        { "prompt_done = 1, want true or false", 0, 1, 8, 1, -1, 1 },
        { "table_row = 5, want an integer in 0 .. 4", 5, 1, 8, true, -1, 1 },
        { "table_row = -1, want an integer in 0 .. 4", -1, 1, 8, true, -1, 1 },
        { "table_row = nil, want an integer in 0 .. 4", nil, 1, 8, true, -1, 1 },
        { "table_row = 0.5, want an integer in 0 .. 4", 0.5, 1, 8, true, -1, 1 },
        { "read_column = -2, want " .. draft, 0, 1, 8, true, -1, 1, -2 },
        { "read_column = 2147483648, want " .. draft, 0, 1, 8, true, -1, 1, 2^31 },
        { "read_column = false, want " .. draft, 0, 1, 8, true, -1, 1, false },
      } do
        raises("gdnmeta.Batch:push: " .. case[1], function() batch:push(unpack(case, 2, 8)) end)
      end
      assert.are.equal(0, batch.num_rows)
      assert.are.same({ 0, 0, 0, 0, 0, 0, 0 }, row(batch, 0))
    end)
  end)

  describe("add", function()
    it("writes a row with blocks of its own, one list per group", function()
      assert.are.equal(0, batch:add { query_len = 3, seq_len = 40, blocks = { { 7, 8, 9 }, { 17 } },
                                      drafts = 2, accepted = 3, prompt_done = true, read_column = 2 })
      assert.are.equal(1, batch:add { query_len = 5, seq_len = 5, blocks = { {}, { 18, 19 } } })
      assert.are.same({ 3, 40, 2, 3, 1, -1, 2 }, row(batch, 0))
      assert.are.same({ 5, 5, -1, 1, 0, -2, -2 }, row(batch, 1))
      -- [num_groups, max_rows, max_blocks_per_row]
      assert.are.same({ 7, 8, 9, 0, 0, 0, 0, 0, 0, 17, 0, 0, 18, 19, 0 }, first(batch.rows.blocks, 15))
    end)

    it("leaves nothing of an earlier step after short lists", function()
      batch:add { query_len = 1, seq_len = 1, blocks = { { 7, 8, 9 }, { 17, 18, 19 } } }
      batch:clear()
      batch:add { query_len = 1, seq_len = 1, blocks = { { 6 }, {} } }
      assert.are.same({ 6, 0, 0 }, first(batch.rows.blocks, 3))
      assert.are.same({ 0, 0, 0 }, first(batch.rows.blocks + 9, 3))
    end)

    it("takes a flat list where there is one group", function()
      local single = assert(gdn.builder { device = "cpu", max_num_seqs = 2, num_speculative_tokens = 1 })
      local one = single:batch()
      one:add { query_len = 1, seq_len = 1, blocks = { 5, 6 } }
      one:add { query_len = 1, seq_len = 1, blocks = { { 7, 8 } } }
      assert.are.same({ 5, 6, 7, 8 }, first(one.rows.blocks, 4))
      assert.are.same({ 5, 7 }, assert(single:build(one)).non_spec_state_indices_tensor:totable())
      single:close()
    end)

    it("refuses anything else by name, at the caller's line, and adds nothing", function()
      local good = { query_len = 1, seq_len = 8, blocks = { { 1 }, { 2 } } }
      local fields = ", want one of accepted, blocks, checkpoint_len, checkpoint_slot, drafts, prompt_done, "
        .. "query_len, read_column, seq_len"
      for _, case in ipairs {
        { "unknown field table_row" .. fields, "table_row", 0 },
        { "unknown field draft" .. fields, "draft", 0 },
        { "blocks = 7, want a list", "blocks", 7 },
        { "blocks has 1 elements, want 2, one list per group", "blocks", { { 1 } } },
        { "blocks[1] = 5, want a list", "blocks", { 5, 6 } },
        { "blocks[2] has 4 elements, want at most 3", "blocks", { {}, { 1, 2, 3, 4 } } },
        { 'blocks[2][1] = "9", want ' .. INT32, "blocks", { {}, { "9" } } },
        { "blocks[1][2] = 2147483648, want " .. INT32, "blocks", { { 1, 2^31 }, {} } },
        { "query_len = -1, want an integer in 0 .. 2147483647", "query_len", -1 },
        { "seq_len = 0.5, want " .. INT32, "seq_len", 0.5 },
        { "drafts = -2, want an integer in -1 .. 2147483647", "drafts", -2 },
        { "accepted = nan, want " .. INT32, "accepted", 0 / 0 },
        { "prompt_done = 0, want true or false", "prompt_done", 0 },
        { "read_column = -2, want an integer in -1 .. 2147483647", "read_column", -2 },
      } do
        local bad = setmetatable({ [case[2]] = case[3] }, { __index = good })
        for name, value in pairs(good) do
          if bad[name] == value then rawset(bad, name, value) end
        end
        raises("gdnmeta.Batch:add: " .. case[1], function() batch:add(bad) end)
      end
      raises("gdnmeta.Batch:add: blocks = nil, want a list",
             function() batch:add { query_len = 1, seq_len = 1 } end)
      raises("gdnmeta.Batch:add: row = 3, want a table", function() batch:add(3) end)
      assert.are.equal(0, batch.num_rows)
    end)
  end)

  it("says when it is full, and takes rows again once cleared", function()
    for i = 0, 2 do assert.are.equal(i, batch:push(0, 1, 1, false)) end
    assert.are.same({ nil, "4 rows, the batch holds 3", CAPACITY }, { batch:push(0, 1, 1, false) })
    assert.are.same({ nil, "4 rows, the batch holds 3", CAPACITY },
                    { batch:add { query_len = 1, seq_len = 1, blocks = { {}, {} } } })
    assert.are.equal(3, batch.num_rows)
    batch:clear()
    assert.are.equal(0, batch.num_rows)
    assert.are.equal(0, batch:push(0, 1, 1, false))
  end)

  describe("pad", function()
    it("returns the totals, after which no row may come before clear", function()
      batch:push(0, 2, 2, false)
      assert.is_true(batch:pad(3, 9))
      assert.are.same({ 1, 3, 9 }, { batch.rows.num_rows, batch.rows.padded_rows, batch.rows.padded_tokens })
      raises("gdnmeta.Batch:push: the batch is padded; clear() it first, or add rows before pad()",
             function() batch:push(0, 1, 1, false) end)
      raises("gdnmeta.Batch:add: the batch is padded; clear() it first, or add rows before pad()",
             function() batch:add { query_len = 1, seq_len = 1, blocks = { {}, {} } } end)
      assert.is_true(batch:pad(1, 2))
      assert.are.same({ 1, 2 }, { batch.rows.padded_rows, batch.rows.padded_tokens })
      batch:clear()
      assert.are.same({ 0, 0, 0 }, { batch.rows.num_rows, batch.rows.padded_rows, batch.rows.padded_tokens })
      assert.are.equal(0, batch:push(0, 1, 1, false))
    end)

    it("closes the batch whichever total it says", function()
      for _, totals in ipairs { { 0, 5 }, { 1, 0 } } do
        batch:clear()
        assert.is_true(batch:pad(totals[1], totals[2]))
        raises("gdnmeta.Batch:push: the batch is padded; clear() it first, or add rows before pad()",
               function() batch:push(0, 1, 1, false) end)
      end
    end)

    it("counts the rows of this step alone, up to all that it holds", function()
      for _ = 1, 3 do batch:push(0, 7, 7, false) end
      assert.is_true(batch:pad(3, 21))
      batch:clear()
      batch:push(0, 2, 2, false)
      assert.is_true(batch:pad(1, 2))
    end)

    it("refuses less than the rows have", function()
      batch:push(0, 2, 2, false)
      batch:push(0, 3, 3, false)
      raises("gdnmeta.Batch:pad: rows = 1, want an integer >= 2, the rows it has",
             function() batch:pad(1, 5) end)
      raises("gdnmeta.Batch:pad: tokens = 4, want an integer >= 5, the tokens of its rows",
             function() batch:pad(2, 4) end)
      raises("gdnmeta.Batch:pad: rows = nil, want an integer >= 2, the rows it has",
             function() batch:pad() end)
      raises("gdnmeta.Batch:pad: tokens = nil, want an integer >= 5, the tokens of its rows",
             function() batch:pad(2) end)
      raises("gdnmeta.Batch:pad: tokens = 5.5, want an integer >= 5, the tokens of its rows",
             function() batch:pad(2, 5.5) end)
      assert.are.equal(0, batch.rows.padded_rows)
    end)

    it("says when the padding does not fit", function()
      assert.are.same({ nil, "4 rows, the batch holds 3", CAPACITY }, { batch:pad(4, 4) })
      assert.are.same({ nil, "101 tokens, the builder takes 100", CAPACITY }, { batch:pad(3, 101) })
      assert.is_true(batch:pad(3, 100))
    end)
  end)

  it("has no other fields, and cannot be written", function()
    raises('gdnmeta.Batch: no field "num_row"', function() return { batch.num_row } end)
    raises("gdnmeta.Batch: no field 1", function() return { batch[1] } end)
    raises('gdnmeta.Batch: read-only, cannot set "num_rows"; clear() empties the batch',
           function() batch.num_rows = 0 end)
    raises('gdnmeta.Batch: read-only, cannot set "rules"', function() batch.rules = "strict" end)
    assert.is_nil(rawget(batch, "num_rows"))
  end)

  it("wants its methods called with a colon", function()
    local one = { query_len = 1, seq_len = 1, blocks = { {}, {} } }
    local wanted = "gdnmeta.Batch:%s: call it with a colon"
    raises(wanted:format "push", function() batch.push(0, 1, 1, false) end)
    raises(wanted:format "add", function() batch.add(one) end)
    raises(wanted:format "pad", function() batch.pad(1, 2) end)
    raises(wanted:format "clear", function() batch.clear() end)
    raises(wanted:format "close", function() batch.close() end)
    raises(wanted:format "index", function() batch.index(0, 0) end)
    raises(wanted:format "push", function() batch.push("1") end)
    raises(wanted:format "clear", function() batch.clear(builder) end)
  end)

  it("may be closed twice, and whatever comes after it is an error", function()
    batch:close()
    batch:close()
    local closed = "gdnmeta.Batch: closed"
    raises(closed, function() batch:push(0, 1, 1, false) end)
    raises(closed, function() batch:add {} end)
    raises(closed, function() batch:pad(1, 1) end)
    raises(closed, function() batch:clear() end)
    raises(closed, function() print(batch.num_rows) end)
    raises(closed, function() print(batch.rows) end)
    raises(closed, function() print(batch.query_len) end)
    assert.are.equal("gdnmeta.Batch(closed)", tostring(batch))
  end)
end)
