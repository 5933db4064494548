-- Which blocks of the state tables a step record has: rows and columns at the ends of the tables that the
-- builder reads, own and lent, in each mode of the cache.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local records = require "spec.support.step_records"

local int32s = gdn.array_of "int32_t"
local why, said = records.why, records.said
local WIDTH = 6

local MODES = {
  { { num_speculative_tokens = 0 }, columns = 1 },
  { { num_speculative_tokens = 2 }, columns = 3 },
  { { num_speculative_tokens = 0, mamba_cache_mode = "align", mamba_block_size = 16 }, columns = 1,
    is_windowed = true },
  { { num_speculative_tokens = 2, mamba_cache_mode = "align", mamba_block_size = 16,
      num_speculative_blocks = 2 }, columns = 3, is_windowed = true },
}

describe("A step record's blocks", function()
  local builder, batch, rest, held
  local function open(options)
    local all = { max_blocks_per_row = WIDTH, max_requests = 9, num_slots = 1000, checkpoint_any = true }
    for name, value in pairs(options) do all[name] = value end
    builder = records.builder(all)
    batch = assert(builder:batch())
    rest, held = records.rest { num_rows = 1, num_tokens = 1, number = 1, graph = "eager",
                                samples = int32s(1, { 1 }) }
  end
  local function close()
    batch:close()
    builder:close()
  end

  -- The record of one row, or nil and what is said.
  local function pack(row)
    local rows = batch.rows
    rows.num_rows, rows.query_len[0], rows.seq_len[0] = 1, 1, row.seq_len
    rows.num_draft_tokens[0], rows.num_accepted_tokens[0] = -1, row.accepted or 1
    rows.prompt_done[0], rows.table_row[0], rows.read_column[0] = 1, row.table_row or 0, row.read_column or -2
    local memory = records.memory(2048)
    ffi.fill(memory, 2048, 0x5a)
    local bytes = tonumber(lib.gdn_step_pack_batch(builder.handle, rows, rest, nil, memory, 2048, why, 512))
    assert(held)
    if bytes > 0 then return assert(records.unpack(memory, bytes)), memory end
    assert.are.equal(gdn.EINVAL, bytes)
    assert.are.equal(("Z"):rep(2048), ffi.string(memory, 2048))
    return nil, said()
  end

  it("are of rows that every group's table has", function()
    open { num_speculative_tokens = 0 }
    local lent = int32s(9 * 8)
    for k = 0, 9 * 8 - 1 do lent[k] = 100 + k end
    local function try(fewest)
      for _, row in ipairs { -1, 0, fewest - 1, fewest, 8, 9, 2 ^ 31 - 1 } do
        local step, message = pack { seq_len = 5, table_row = row }
        if row >= 0 and row < fewest then
          assert(step, message)
        else
          local most = row < 0 and 2 ^ 31 - 1 or fewest - 1
          assert.are.equal(("table_row[0] = %d, want 0 .. %d"):format(row, most), message)
        end
      end
    end
    try(9)
    for group = 0, 1 do
      for rows = 1, 9 do
        assert.are.equal(0, tonumber(lib.gdn_builder_borrow_table(builder.handle, group, lent, 8, rows)))
        try(rows)
        local step, memory = pack { seq_len = 5, table_row = rows - 1, read_column = 5 }
        assert.are.same({ 100 + 8 * (rows - 1), 105 + 8 * (rows - 1) },
          { step.slots[group], step.read_slots[group] })
        assert(memory)
      end
      assert.are.equal(0, tonumber(lib.gdn_builder_borrow_table(builder.handle, group, nil, 0, 0)))
    end
    try(9)
    close()
  end)

  -- Columns from 0 on: where the row's window begins, and that of its state; nil: it has none.
  local function want_of(mode, row)
    local first, computed = mode.is_windowed and math.floor((row.seq_len - 1) / 16) or 0, row.seq_len - 1
    if row.read_column ~= -2 then return first, row.read_column >= 0 and row.read_column or nil end
    if computed == 0 or mode.is_windowed and mode[1].num_speculative_tokens > 0 then return first, nil end
    return first, mode.is_windowed and math.floor((computed - 1) / 16) or row.accepted - 1
  end

  it("are those of its window and its state, in each mode", function()
    for _, mode in ipairs(MODES) do
      open(mode[1])
      for group = 0, 1 do
        for row = 0, 8 do
          local blocks = {}
          for k = 1, WIDTH do blocks[k] = 100 * (group + 1) + 10 * row + k end
          builder:set_blocks(group, row, blocks)
        end
      end
      for _, seq_len in ipairs { 1, 2, 15, 16, 17, 18, 32, 33, 34, 64, 65, 80, 81, 96, 97, 98, 1000 } do
        for read_column = -2, WIDTH + 1 do
          for accepted = 1, mode[1].num_speculative_tokens + 1 do
            local row = { seq_len = seq_len, read_column = read_column, accepted = accepted, table_row = 3 }
            local step, other = pack(row)
            local first, read = want_of(mode, row)
            if first + mode.columns > WIDTH then
              assert.are.equal(("rows[0].seq_len = %d reaches column %d of the state table, want 0 .. 5")
                :format(seq_len, first + mode.columns - 1), other)
            elseif (read or 0) >= WIDTH then
              assert.are.equal(("rows[0].read_column = %d, want below %d"):format(read, WIDTH), other)
            else
              assert(step, other)
              for group = 0, 1 do
                local at = 100 * (group + 1) + 30 + 1
                assert.are.equal(read and at + read or 0, step.read_slots[group])
                for k = 0, mode.columns - 1 do
                  assert.are.equal(at + first + k, step.slots[group * mode.columns + k])
                end
              end
            end
          end
        end
      end
      close()
    end
  end)
end)
