-- Steps of as many rows as the loops over blocks of rows take at once, one more and one less, in which one
-- row or one slot is another, or all rows from one on are, at the borders of such blocks: what is refused,
-- and sums of all outputs, against spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local lib = require "gdnmeta.native"
local see = require "spec.support.see_outputs"
local sum_of = require "spec.support.sum_of"

local MOST, S, GROUPS = 137, 2, 2
local LENGTHS = { 1, 7, 8, 9, 17, 63, 64, 65, 72, 73, 128, MOST }
local EDGES = { 0, 1, 7, 8, 9, 16, 62, 63, 64, 65, 71, 72, 127, 128 }
local FIELDS = { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens", "prompt_done" }

local WORLDS = {
  { "strict", {} }, { "strict without drafts", { num_speculative_tokens = 0 } },
  { "strict, unchecked", { check_unique = false, full_cuda_graph = true } },
  { "align", { mamba_cache_mode = "align", mamba_block_size = 4, max_blocks_per_row = 9 } },
  { "mixed", { full_cuda_graph = "mixed" } },
  { "vllm-2026-04", { rules = "vllm-2026-04", full_cuda_graph = true } },
  { "vllm-2026-08", { rules = "vllm-2026-08" } }, { "vllm-2026-11", { rules = "vllm-2026-11" } },
}
-- { query_len, seq_len, drafts, accepted, prompt_done }
local BASES = { { 1, 9, -1, 1, 1 }, { S + 1, 12, S, 2, 1 }, { 2, 2, -1, 1, 0 }, { 9, 20, -1, 1, 0 } }
local ODD = { { 2, 9, -1, 1, 1 }, { 1, 1, -1, 1, 0 }, { 7, 7, -1, 1, 0 }, { 0, 0, -1, 1, 0 },
              { 1, 9, 0, 1, 1 }, { 2, 9, 1, 2, 1 }, { 1, 9, -1, 1, 0 }, { 1, 9, -1, 0, 1 },
              { 1, 0, -1, 1, 1 },
              { -1, 9, -1, 1, 1 }, { 1, 9, -2, 1, 1 }, { 40, 70, -1, 1, 0 }, { 65536, 65536, -1, 1, 0 } }
local TAILS = { { 1, 1, -1, 1, 0 }, { 7, 7, -1, 1, 0 }, { 0, 0, -1, 1, 0 }, { 1, 9, -1, 1, 1 },
                { S + 1, 12, S, 2, 1 }, { 1, 9, 0, 1, 1 } }
local SLOTS = { -1, 0, 1, 2000, 2001, 1900 } -- in place of a row's first one; 1: that of row 0

describe("A long step", function()
  for n, world in ipairs(WORLDS) do
    it("goes as it went: " .. world[1], function()
      local options = { device = "cpu", max_num_seqs = MOST, max_rows = MOST, max_num_batched_tokens = 1500,
                        num_speculative_tokens = S, num_groups = GROUPS, num_slots = 2001,
                        full_cuda_graph = false }
      for name, value in pairs(world[2]) do options[name] = value end
      local builder = assert(gdn.builder(options))
      local batch, width = assert(builder:batch()), builder.max_blocks_per_row
      local c, handle, lines, view = batch.rows, builder.handle, {}, ffi.new "gdn_metadata"
      local cells, counts, order, sum = {}, nil, nil, nil
      for g = 0, GROUPS - 1 do
        cells[g] = lib.gdn_builder_table(handle, g)
        for i = 0, MOST * width - 1 do cells[g][i] = 1 + (i * 7 + g) % 1999 end
      end
      local function write(i, row)
        for f, name in ipairs(FIELDS) do c[name][i] = row[f] end
        c.table_row[i], c.read_column[i] = i, row[1] == row[2] and -1 or 0
      end
      local function build()
        local status = tonumber(lib.gdn_build(handle, c, nil))
        local words = status == 0 and "built" or ffi.string(lib.gdn_last_error(handle))
        sum:text(words)
        if status == 0 then see(sum, builder, view, GROUPS) end
        words = words:gsub("%-?%d+", "N")
        if not counts[words] then counts[words], order[#order + 1] = 0, words end
        counts[words] = counts[words] + 1
      end
      for b, base in ipairs(BASES) do
        counts, order, sum = {}, {}, sum_of.new()
        for _, rows in ipairs(LENGTHS) do
          c.num_rows = rows
          for i = 0, MOST - 1 do write(i, base) end
          build()
          for e = 1, #EDGES + 1 do
            local k = EDGES[e] or rows - 1
            if k < rows then
              for _, odd in ipairs(ODD) do
                write(k, odd)
                build()
              end
              write(k, base)
              for g = 0, GROUPS - 1 do
                local at = k * width
                local was = cells[g][at]
                for _, slot in ipairs(SLOTS) do
                  cells[g][at] = slot == 1 and cells[g][0] or slot
                  build()
                end
                cells[g][at] = was
              end
              for _, tail in ipairs(rows % 8 == 1 and TAILS or {}) do
                for i = k, rows - 1 do write(i, tail) end
                build()
              end
              for i = k, rows - 1 do write(i, base) end
            end
          end
        end
        table.sort(order)
        lines[#lines + 1] = ("base %d: sum %d"):format(b, sum.value)
        for _, words in ipairs(order) do lines[#lines + 1] = ("  %d %s"):format(counts[words], words) end
      end
      batch:close()
      builder:close()
      golden("long-steps-" .. n, table.concat(lines, "\n") .. "\n")
    end)
  end
end)
