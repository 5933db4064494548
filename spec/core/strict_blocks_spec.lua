-- Most rows are tested in blocks: one bad value among many good ones is found wherever it stands, and the
-- row is named.
local strict = require "spec.support.strict_rows"

local ROWS = 37 -- two blocks of sixteen, one of four, and one row

after_each(strict.close)

-- A batch of decodes, all alike, whose blocks stand in the tables; S drafts each, or none.
local function decodes(S, drafts, reads)
  local builder = strict.builder_of { num_speculative_tokens = S, max_rows = ROWS, num_slots = 1000,
    max_blocks_per_row = S + 2, max_num_seqs = ROWS, num_groups = 2 }
  local batch = assert(builder:batch())
  for row = 0, ROWS - 1 do
    for g = 0, 1 do
      local blocks = {}
      for column = 0, S + 1 do blocks[column + 1] = 1 + row * (S + 2) + column end
      builder:set_blocks(g, row, blocks)
    end
    local read = reads and S + 1 or nil
    assert(batch:push(row, 1 + drafts, 60, true, drafts > 0 and drafts or nil, 1 + row % (S + 1), read))
  end
  return builder, batch
end

-- Each bad value in turn, in each row, and in all of them.
local function check_fields(builder, batch, bad)
  assert(builder:build(batch))
  for name, values in pairs(bad) do
    local array = batch.rows[name]
    for row = 0, ROWS - 1 do
      for _, value in ipairs(values) do
        local kept = array[row]
        array[row] = value
        local meta, reason = builder:build(batch)
        array[row] = kept
        assert.is_nil(meta, ("rows[%d].%s = %d builds"):format(row, name, value))
        local head = ("rows[%d]"):format(row)
        assert.are.equal(head, reason:sub(1, #head))
        if name == "table_row" then
          local want = "rows[%d].table_row = %d, want %d .. %d"
          assert.are.equal(want:format(row, value, -ROWS, ROWS - 1), reason)
        end
      end
    end
    for _, value in ipairs(values) do
      local kept = {}
      for row = 0, ROWS - 1 do kept[row], array[row] = array[row], value end
      local meta, reason = builder:build(batch)
      for row = 0, ROWS - 1 do array[row] = kept[row] end
      assert.is_nil(meta, ("%s = %d in all rows builds"):format(name, value))
      assert.are.equal("rows[0]", reason:sub(1, 7))
    end
  end
  assert(builder:build(batch))
end

local function check_blocks(builder, batch, columns)
  for g = 0, 1 do
    local cells, width = builder:table(g), builder.max_blocks_per_row
    for row = 0, ROWS - 1 do
      for _, column in ipairs(columns) do
        for _, value in ipairs { 0, -1, 1000, 2147483647, -2147483648 } do
          local kept = cells[row * width + column]
          cells[row * width + column] = value
          local meta, reason = builder:build(batch)
          cells[row * width + column] = kept
          assert.is_nil(meta)
          local head = ("rows[%d] group %d block "):format(row, g)
          assert.are.equal(head, reason:sub(1, #head))
        end
      end
    end
  end
  assert(builder:build(batch))
end

describe("Among many rows the bad one is found:", function()
  for S = 0, 4 do
    for _, reads in ipairs { false, true } do
      local read_bad = { S + 2, -1, 2147483647 }

      it(("plain, S = %d%s"):format(S, reads and ", read columns named" or ""), function()
        local builder, batch = decodes(S, 0, reads)
        check_fields(builder, batch, { query_len = { 0, -1 }, seq_len = { 0, -1, -2147483648 },
          num_accepted_tokens = { 0, S + 2, 2147483647 }, prompt_done = { 2, -1, -2147483648 },
          num_draft_tokens = { -2, S + 1, 2147483647, -2147483648 }, table_row = { ROWS, -ROWS - 1 },
          read_column = reads and read_bad or {} })
        check_blocks(builder, batch, reads and { 0, S + 1 } or { 0 })
        batch:close()
      end)

      if S > 0 then
        it(("speculative, S = %d%s"):format(S, reads and ", read columns named" or ""), function()
          local builder, batch = decodes(S, S, reads)
          check_fields(builder, batch, { seq_len = { S + 1, S, -1, -2147483648 }, query_len = { S, S + 2 },
            num_accepted_tokens = { 0, S + 2, 2147483647 }, prompt_done = { 0, 2, -1 },
            num_draft_tokens = { -2, S - 1, S + 1, 2147483647 }, read_column = reads and read_bad or {} })
          local columns = reads and { S + 1 } or {}
          for column = 0, S do columns[#columns + 1] = column end
          check_blocks(builder, batch, columns)
          batch:close()
        end)
      end
    end
  end

  it("but nothing that comes after them", function()
    for _, drafts in ipairs { 0, 2 } do
      local builder, batch = decodes(2, drafts, false)
      batch.rows.num_rows = 20
      local meta = assert(builder:build(batch))
      local name = drafts > 0 and "spec_state_indices_tensor" or "non_spec_state_indices_tensor"
      local want = meta[name]:totable()
      for _, junk in ipairs { -2147483648, -1, 2147483647 } do
        for _, array in ipairs { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens",
                                 "prompt_done", "table_row", "read_column" } do
          for row = 20, ROWS - 1 do batch.rows[array][row] = junk end
        end
        meta = assert(builder:build(batch))
        assert.are.same(want, meta[name]:totable())
      end
      batch:close()
    end
  end)
end)
