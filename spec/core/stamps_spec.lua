-- Who writes a slot is found by stamps of 32 bits, which begin again after 2^32 writes: a builder that comes
-- there says of each step what a new one says. A check's stamps have 30 bits.
local ffi = require "ffi"

require("spec.support.counted_library").use() -- before gdnmeta is loaded

local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"
ffi.cdef [[void gdn_counted_stamp(gdn_builder *b, uint32_t stamp);
           void gdn_counted_check_stamp(gdn_builder *b, uint32_t stamp);]]

local random = math.random
local SLOTS, GROUPS, S = 60, 2, 1

local function make()
  local builder = assert(gdn.builder {
    device = "cpu", max_num_seqs = 4, num_speculative_tokens = S, num_groups = GROUPS, num_slots = SLOTS,
    max_blocks_per_row = S + 2, max_num_batched_tokens = 16, checkpoint_any = true,
  })
  return builder, builder:batch()
end

-- Rows that write one slot or two, and read a third; seldom one that another row has, too.
local function rows()
  local list, free = {}, {}
  for g = 1, GROUPS do
    free[g] = {}
    for slot = 1, SLOTS - 1 do table.insert(free[g], random(#free[g] + 1), slot) end
  end
  for i = 1, random(3) do
    local drafts, blocks = random(0, S), {}
    for g = 1, GROUPS do
      blocks[g] = {}
      for column = 1, S + 2 do
        blocks[g][column] = random() < 0.2 and random(6) or table.remove(free[g])
      end
    end
    list[i] = { query_len = drafts + 1, seq_len = 20, drafts = drafts, accepted = 1, prompt_done = true,
                blocks = blocks, read_column = S + 1 }
  end
  return list
end

local function said(builder, batch, list)
  batch:clear()
  for _, row in ipairs(list) do assert(batch:add(row)) end
  local meta, why = builder:build(batch)
  return meta and "taken" or why
end

describe("A builder's stamps", function()
  it("begin again, and say the same", function()
    math.randomseed(5)
    local new, new_batch = make()
    local counts = { taken = 0, refused = 0 }
    for before = 0, 60 do
      local old, old_batch = make()
      for _ = 1, 12 do said(old, old_batch, rows()) end -- each slot has a low stamp
      lib.gdn_counted_stamp(old.handle, 2 ^ 32 - 1 - before)
      for k = 1, 12 do
        local list = rows()
        local want = said(new, new_batch, list)
        assert.are.equal(want, said(old, old_batch, list), ("%d before the end, step %d"):format(before, k))
        local kind = want == "taken" and "taken" or "refused"
        counts[kind] = counts[kind] + 1
      end
      old_batch:close()
      old:close()
    end
    assert.is_true(counts.taken > 200 and counts.refused > 100)
  end)
end)

-- Decodes that write slots of their own, read others, and keep none.
describe("A stamp of long ago", function()
  local ROWS, LAST = 4, 300

  local function open()
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = ROWS, num_slots = LAST + 1,
                                         max_blocks_per_row = 2, max_num_batched_tokens = 64,
                                         checkpoint_any = true })
    return builder, assert(builder:batch())
  end
  local function build(builder, batch, writes, reads, keeps)
    batch:clear()
    for i = 1, ROWS do
      local kept = keeps and keeps[i]
      assert(batch:add { query_len = kept and 2 or 1, seq_len = 9, prompt_done = not kept, read_column = 1,
                         blocks = { writes[i], reads[i] }, checkpoint_len = kept and 8 or nil,
                         checkpoint_slot = kept })
    end
    return builder:build(batch)
  end

  it("is no stamp of a step after they have begun again", function()
    for before = 0, 8 do
      for _, old in ipairs { 1, LAST - 7 } do -- slots that a step before the end has written
        local builder, batch = open()
        local writes, reads = { old, old + 1, old + 2, old + 3 }, { 100, 101, 102, 103 }
        assert(build(builder, batch, writes, reads))
        lib.gdn_counted_stamp(builder.handle, 2 ^ 32 - 1 - before)
        for step = 0, 3 do
          local turned = {}
          for i = 1, ROWS do turned[i] = old + (i + step) % ROWS end
          assert(build(builder, batch, { 200, 201, 202, 203 }, turned))
        end
        batch:close()
        builder:close()
      end
    end
  end)

  it("of a state that was kept is no stamp of the next step", function()
    local builder, batch = open()
    for step = 1, 9 do
      local kept = 50 + step
      assert(build(builder, batch, { 10, 11, 12, 13 }, { 20, 21, 22, 23 }, { nil, nil, nil, kept }))
      assert(build(builder, batch, { 30, 31, 32, 33 }, { 20, kept, 22, kept }))
      local _, why = build(builder, batch, { 30, 31, 32, 33 }, { 20, kept, 22, 23 }, { [4] = kept })
      local words = "rows[3] group 0 checkpoint_slot = %d, want one that rows[1] does not read"
      assert.are.equal(words:format(kept), why)
    end
    batch:close()
    builder:close()
  end)
end)

describe("A check's stamps", function()
  local MOST = 2 ^ 30

  for _, device in ipairs { "cpu", "cuda" } do
    local driver
    local function open()
      driver = device == "cuda" and drivers.open "fake"
      local builder = assert(gdn.builder { device = device, max_num_seqs = 4, num_groups = GROUPS,
                                           check = true, num_slots = { 11, 9 }, max_num_batched_tokens = 16 })
      return builder, assert(builder:batch()), 11 * GROUPS
    end
    local function close(builder, batch)
      batch:close()
      builder:close()
      if driver then driver:close() end
    end
    local function build(builder, batch, slots)
      batch:clear()
      for _, slot in ipairs(slots) do
        assert(batch:add { query_len = 1, seq_len = 9, prompt_done = true, blocks = { { slot }, { slot } } })
      end
      return assert(builder:build(batch))
    end

    it("begin again, and no row of long ago uses a slot: " .. device, function()
      for _, stamp in ipairs { 0, 3, 21, 22, MOST - 1 } do
        local builder, batch, claims = open()
        local function age(before) lib.gdn_counted_check_stamp(builder.handle, (stamp - before) % MOST) end
        age(1)
        build(builder, batch, { 1, 2, 3, 8 })
        build(builder, batch, { 4, 5, 6, 7 })
        age(2 * claims + 1) -- half of them may lie before the first stamp, where numbering begins anew
        for _ = 1, 2 * claims do assert(builder:check()) end
        build(builder, batch, { 8, 3, 2, 1 })
        local is_right, why = builder:peek_check_result()
        close(builder, batch)
        assert.are.same({ stamp, true }, { stamp, is_right, why })
      end
    end)

    it("make way for no claim of the same check: " .. device, function()
      local builder, batch, claims = open()
      local meta, seen = build(builder, batch, { 1, 2, 3, 8 }), {}
      for group = 0, GROUPS - 1 do
        local slots = ffi.cast("int32_t *", meta:group(group).non_spec_state_indices_tensor.data)
        local function write(slot)
          if driver then driver:write(slots + 1, { slot }) else slots[1] = slot end
        end
        local function check(stamp, is_shared)
          write(is_shared and 8 or 2)
          lib.gdn_counted_check_stamp(builder.handle, stamp % MOST)
          assert(builder:check())
          seen[#seen + 1] = (builder:take_check_result() == true) ~= is_shared
        end
        for stamp = 2, 3 * claims do check(stamp, stamp % 2 == 0) end
        for stamp = -3, 2 do check(stamp, stamp % 2 == 1) end -- numbering begins anew
        write(2)
      end
      close(builder, batch)
      for _, is_so in ipairs(seen) do assert.is_true(is_so) end
    end)
  end
end)
