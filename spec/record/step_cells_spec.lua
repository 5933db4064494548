-- Which cells of the state tables stand in a recorded step, for every row that there may be: its window, and
-- where some row's state is read outside of it, what each row reads.
local array_of = require "gdnmeta.array_of"
local step_line = require "gdnmeta.record.step_line"

local integers, flags = array_of "int32_t", array_of "uint8_t"

local WIDTH, GROUPS = 4, 2
local MODES = {
  { mamba_cache_mode = "align", mamba_block_size = 3, num_speculative_blocks = 1,
    num_speculative_tokens = 1 },
  { mamba_cache_mode = "none", mamba_block_size = 3, num_speculative_blocks = 2, num_speculative_tokens = 2 },
}

-- rows: { seq_len, read_column, table_row }
local function document_of(facts, rows, change)
  local n, tables = #rows, {}
  facts.num_groups, facts.max_blocks_per_row = GROUPS, WIDTH
  for group = 0, GROUPS - 1 do
    tables[group] = integers(3 * WIDTH)
    for k = 0, 3 * WIDTH - 1 do tables[group][k] = 100 * (group + 1) + k end
  end
  local step = { num_rows = n, number = 1, now = 0, query_len = integers(n), seq_len = integers(n),
                 drafts = integers(n), last_accepted = integers(n), prompt_done = flags(n),
                 table_row = integers(n), read_column = integers(n),
                 rows = { checkpoint_len = integers(n), num_groups = GROUPS, max_rows = 5,
                          checkpoint_slot = integers(5 * GROUPS) } }
  for k = 0, 5 * GROUPS - 1 do step.rows.checkpoint_slot[k] = 70 + k end
  for i, row in ipairs(rows) do
    step.seq_len[i - 1], step.read_column[i - 1], step.table_row[i - 1] = unpack(row)
    step.rows.checkpoint_len[i - 1] = row.kept or 0
  end
  if change then change(step) end
  return step_line.of(step, tables, facts, {}, {})
end

-- First and last column of a row's window.
local function window(facts, seq_len)
  if facts.mamba_cache_mode == "none" then return 0, facts.num_speculative_tokens end
  local first = math.max(math.ceil(seq_len / facts.mamba_block_size) - 1, 0)
  return first, first + facts.num_speculative_blocks
end

describe("Cells of a recorded step #lua", function()
  it("are the windows of its rows, and what is read where one reads outside", function()
    for _, facts in ipairs(MODES) do
      local longest = facts.mamba_cache_mode == "align" and 9 or 30
      for seq_len = 0, longest do
        for read = -1, WIDTH - 1 do
          local rows = { { 1, 0, 0 }, { seq_len, read, 1 }, { 2, -1, 2 } }
          local d = document_of(facts, rows)
          local blocks, reads, outside = {}, {}, false
          for group = 1, GROUPS do
            blocks[group], reads[group] = {}, {}
            for i, row in ipairs(rows) do
              local first, last = window(facts, row[1])
              for k = first, last do table.insert(blocks[group], 100 * group + row[3] * WIDTH + k) end
              reads[group][i] = row[2] < 0 and 0 or 100 * group + row[3] * WIDTH + row[2]
              outside = outside or row[2] >= 0 and (row[2] < first or row[2] > last)
            end
          end
          local what = ("%s, %d tokens, column %d"):format(facts.mamba_cache_mode, seq_len, read)
          assert.are.same(blocks, d.blocks, what)
          assert.are.same(outside and reads or nil, d.read_blocks, what)
        end
      end
    end
  end)

  it("have drafts and accepted ones where any row has other ones than none and one", function()
    for drafts = -1, 1 do
      for accepted = 0, 2 do
        for row = 0, 2 do -- of two, that has them; 0: each
          local d = document_of(MODES[2], { { 4, -1, 0 }, { 4, -1, 1 } }, function(step)
            for i = 0, 1 do
              local is = row == 0 or row == i + 1
              step.drafts[i], step.last_accepted[i] = is and drafts or -1, is and accepted or 1
            end
          end)
          local function wanted(value, default)
            if value == default then return nil end
            return { row ~= 2 and value or default, row ~= 1 and value or default }
          end
          assert.are.same({ wanted(drafts, -1), wanted(accepted, 1) }, { d.drafts, d.accepted })
        end
      end
    end
  end)

  it("are those of states that prefills keep, too, where any keeps one", function()
    for kept = 0, 7 do
      local rows, lens, slots, any = {}, {}, { {}, {} }, false
      for i = 1, 3 do
        local keeps = math.floor(kept / 2 ^ (i - 1)) % 2
        rows[i], lens[i], any = { 4, -1, i - 1, kept = keeps * (i + 1) }, keeps * (i + 1), any or keeps == 1
        for group = 1, GROUPS do slots[group][i] = keeps * (70 + 5 * (group - 1) + i - 1) end
      end
      local d = document_of(MODES[2], rows)
      assert.are.same({ any and lens or nil, any and slots or nil }, { d.checkpoint_len, d.checkpoint_slot })
      assert.is_nil(d.checkpoint_slot and d.checkpoint_slot[0])
    end
  end)
end)
