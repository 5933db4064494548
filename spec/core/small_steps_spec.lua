-- Every small step on the CPU, as a batch and as vLLM's arguments, with and without padding: what is refused
-- and how often in which words, and sums of all outputs, against spec/goldens/texts. The oracle says whether
-- outputs are right, of random steps; this says that no small one changes unnoticed.
local ffi = require "ffi"
local golden = require "spec.support.golden"
local lib = require "gdnmeta.native"
local see = require "spec.support.see_outputs"
local steps = require "spec.support.small_steps"
local sum_of = require "spec.support.sum_of"

local ARRAYS = { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens", "prompt_done",
                 "table_row", "read_column", "checkpoint_len" }
local OWN = { { -1, 1, 2 }, { 0, -2, 2 }, { 1, 2, -3 }, { -1, -3, -2 }, { -4, -5, 0 } } -- ~i: those of row i
local PADDING = { { 0, 0 }, { 1, 0 }, { 0, 1 }, { 1, 2 }, { 3, 5 }, { 9, 9 } } -- rows and tokens more

describe("Every small step", function()
  for n, world in ipairs(steps.WORLDS) do
    it(("goes as it went, world %d"):format(n), function()
      local builder, batch = steps.open(world, "cpu")
      local handle, c, view, lines = builder.handle, batch.rows, ffi.new "gdn_metadata", {}
      local raw, arrays = steps.raw(builder)
      local counts, order, sum
      local function note(status)
        local words = status == 0 and "built" or ffi.string(lib.gdn_last_error(handle)):gsub("%-?%d+", "N")
        if not counts[words] then counts[words], order[#order + 1] = 0, words end
        counts[words] = counts[words] + 1
        sum:number(status)
        if status == 0 then
          see(sum, builder, view, steps.GROUPS)
          assert(lib.gdn_check_result(handle, 0, nil) == 0) -- what is right raises no alarm
          return
        end
        sum:text(ffi.string(lib.gdn_last_error(handle)))
      end
      local function part(name, body)
        counts, order, sum = {}, {}, sum_of.new()
        body()
        table.sort(order)
        lines[#lines + 1] = ("%s: sum %d"):format(name, sum.value)
        for _, words in ipairs(order) do lines[#lines + 1] = ("  %d %s"):format(counts[words], words) end
      end
      part("batches", function()
        for _, rows in ipairs(steps.batches(true)) do
          steps.write(c, rows)
          note(tonumber(lib.gdn_build(handle, c, nil)))
        end
      end)
      part("with padding", function()
        for _, a in ipairs(steps.SOME) do
          for _, b in ipairs(steps.SOME) do
            for _, more in ipairs(PADDING) do
              steps.write(c, { a, b })
              c.padded_rows, c.padded_tokens = 2 + more[1], a[1] + b[1] + more[2]
              note(tonumber(lib.gdn_build(handle, c, nil)))
              for _, name in ipairs(ARRAYS) do sum:array(c[name], steps.ROWS) end
            end
          end
        end
        c.padded_rows, c.padded_tokens = 0, 0
      end)
      part("with blocks of their own", function()
        for i = 0, steps.GROUPS * steps.ROWS * builder.max_blocks_per_row - 1 do
          c.blocks[i] = 13 + i * 7 % 24
        end
        for _, a in ipairs(steps.SOME) do
          for _, b in ipairs(steps.SOME) do
            for _, own in ipairs(OWN) do
              steps.write(c, { a, b, steps.SOME[2] })
              for i = 0, 2 do c.table_row[i] = own[i + 1] end
              note(tonumber(lib.gdn_build(handle, c, nil)))
            end
          end
        end
      end)
      part("with states that are kept", function()
        for _, row in ipairs(steps.SOME) do
          for length = -1, 7 do
            for slot = -1, 40, 8 do
              steps.write(c, { row, steps.SOME[8] })
              for i = 0, 1 do
                c.checkpoint_len[i] = i == 1 and 4 or length
                for g = 0, steps.GROUPS - 1 do c.checkpoint_slot[g * steps.ROWS + i] = slot + g + 10 * i end
              end
              note(tonumber(lib.gdn_build(handle, c, nil)))
            end
          end
        end
      end)
      part("vLLM's arguments", function()
        for _, rows in ipairs(steps.batches(true)) do
          steps.write_raw(raw, arrays, rows)
          note(tonumber(lib.gdn_build_raw(handle, raw, nil)))
        end
      end)
      part("vLLM's arguments, padded and captured", function()
        for _, a in ipairs(steps.SOME) do
          for _, b in ipairs(steps.SOME) do
            for _, more in ipairs(PADDING) do
              steps.write_raw(raw, arrays, { a, b, steps.SOME[9] })
              raw.num_reqs, raw.num_actual_tokens = 2 + more[1] % 2, a[1] + b[1] + more[2]
              note(tonumber(lib.gdn_build_raw(handle, raw, nil)))
              note(tonumber(lib.gdn_capture(handle, raw, nil)))
            end
          end
        end
      end)
      part("vLLM's arguments, some of them shorter", function()
        for _, a in ipairs(steps.SOME) do
          for _, b in ipairs(steps.SOME) do
            for k = 0, 2 do
              for _, name in ipairs { "num_num_accepted_tokens", "num_num_decode_draft_tokens",
                                      "num_seq_lens", "block_table_rows", "max_query_len" } do
                steps.write_raw(raw, arrays, { a, b })
                raw[name] = k
                note(tonumber(lib.gdn_build_raw(handle, raw, nil)))
              end
            end
          end
        end
      end)
      batch:close()
      builder:close()
      golden("small-steps-" .. n, table.concat(lines, "\n") .. "\n")
    end)
  end
end)
