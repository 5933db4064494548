-- A step that comes again is known before it is partitioned and its slots are looked at, which is most of
-- what it costs: src/builder/repeat.c. Slots that are looked at take stamps.
local ffi = require "ffi"

pcall(ffi.cdef, "int setenv(const char *name, const char *value, int overwrite);")
ffi.C.setenv("GDNMETA_LIB", os.getenv "GDN_COUNTED" or "build/libgdncounted.so", 1) -- before it is loaded

local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"
ffi.cdef "uint32_t gdn_counted_stamp_of(const gdn_builder *b);"

local ROWS = 8

describe("A step that comes again", function()
  local driver
  setup(function() driver = drivers.open "fake" end)
  teardown(function() driver:close() end)

  for _, groups in ipairs { 1, 3 } do
    for _, own in ipairs { false, true } do
      local where = own and "of the batch" or "in tables"
      it(("is not looked at: %d groups, blocks %s"):format(groups, where), function()
        local builder = assert(gdn.builder { device = "cuda", max_num_seqs = ROWS, num_speculative_tokens = 1,
          num_groups = groups, num_slots = 999 })
        local batch, stream = assert(builder:batch()), driver:stream()
        for g = 0, groups - 1 do
          for i = 0, ROWS * 2 - 1 do builder:table(g)[i] = 1 + i end
        end
        for row = 0, ROWS - 2 do
          if own then
            local blocks = {}
            for g = 1, groups do blocks[g] = { 2 * row + 1, 2 * row + 2 } end
            assert(batch:add { query_len = 2, seq_len = 9, drafts = 1, accepted = 1, prompt_done = true,
                               blocks = blocks })
          else
            assert(batch:push(row, 2, 9, true, 1, 1))
          end
        end
        local function stamps() -- that a build takes
          local before = lib.gdn_counted_stamp_of(builder.handle)
          assert(builder:build(batch, stream))
          return lib.gdn_counted_stamp_of(builder.handle) - before
        end
        for round = 1, 3 do
          assert.is_true(stamps() > 0) -- another step
          stamps()
          for _ = 1, 3 do
            assert.are.equal(0, (stamps()))
            for i = 0, ROWS - 2 do batch.rows.seq_len[i] = batch.rows.seq_len[i] + 1 end
          end
          batch.rows.num_accepted_tokens[round] = 2
        end
        batch:close()
        builder:close()
      end)
    end
  end
end)
