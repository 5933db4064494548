-- Who writes a slot is found by stamps of 32 bits, which begin again after 2^32 writes: a builder that comes
-- there says of each step what a new one says.
local ffi = require "ffi"

pcall(ffi.cdef, "int setenv(const char *name, const char *value, int overwrite);")
ffi.C.setenv("GDNMETA_LIB", os.getenv "GDN_COUNTED" or "build/libgdncounted.so", 1) -- before it is loaded

local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
ffi.cdef "void gdn_counted_stamp(gdn_builder *b, uint32_t stamp);"

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
