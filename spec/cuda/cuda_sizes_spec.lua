-- How much a launch carries: with how many rows of each kind a payload outgrows the small launch, the medium
-- and the large one, and how many blocks and how much shared memory each takes. Against spec/goldens/texts:
-- an array that nothing reads is seen here, as one that is packed wider than it need be.
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local drivers = require "spec.support.driver"
local noted = require "spec.support.noted"

local ROWS, S = 700, 3
local notes = noted.new "cuda-"
local note, check = notes.note, notes.check

-- Query length, sequence length, prompt done, drafts, accepted of row i; and what of the tables' cells.
local KINDS = {
  { "decodes", function(i) return 1, 20 + i, true end },
  { "decodes, slots in order", function(i) return 1, 20 + i, true end, "ramp" },
  { "decodes, far slots", function(i) return 1, 20 + i, true end, "far" },
  { "drafts", function(i) return S + 1, 40 + i, true, S, 1 + i % (S + 1) end },
  { "drafts, all accepted", function() return S + 1, 40, true, S, S + 1 end },
  { "drafts of lengths", function(i) return 1 + i % (S + 1), 40, true, i % (S + 1), 1 end },
  { "drafts and decodes", function(i)
    if i % 2 == 0 then return 1, 30, true end
    return S + 1, 40, true, S, 2
  end },
  { "first chunks", function(i) return 2 + i % 5, 2 + i % 5, false end },
  { "chunks", function(i) return 5 + i % 3, 90 + i, false end },
  { "long chunks", function() return 300, 300, false end },
}
local OPTIONS = {
  { "strict", {} }, { "strict, no drafts", { num_speculative_tokens = 0 } },
  { "strict, three groups", { num_groups = 3 } }, { "strict, graphs", { full_cuda_graph = true } },
  { "strict, mixed graphs", { full_cuda_graph = "mixed" } },
  { "strict, mixed graphs, no drafts", { full_cuda_graph = "mixed", num_speculative_tokens = 0 } },
  { "strict, align", { mamba_cache_mode = "align", mamba_block_size = 64, max_blocks_per_row = 9 } },
  { "vllm-2026-04", { rules = "vllm-2026-04" } }, { "vllm-2026-08", { rules = "vllm-2026-08" } },
  { "vllm-2026-11", { rules = "vllm-2026-11" } },
}

describe("A launch", function()
  it("carries what its step needs", function()
    local driver = drivers.open "fake"
    for _, of in ipairs(OPTIONS) do
      local options = { device = "cuda", max_num_seqs = ROWS, num_speculative_tokens = S, max_rows = ROWS,
                        max_num_batched_tokens = 300 * ROWS, num_slots = 2 ^ 22, check_unique = nil }
      for name, value in pairs(of[2]) do options[name] = value end
      local builder = assert(gdn.builder(options))
      local batch, drafts = assert(builder:batch()), options.num_speculative_tokens > 0
      local columns = builder.max_blocks_per_row
      for _, kind in ipairs(KINDS) do
        for g = 0, builder.num_groups - 1 do
          local cells = builder:table(g)
          for i = 0, ROWS * columns - 1 do
            local is_far, is_ramp = kind[3] == "far", kind[3] == "ramp"
            cells[i] = 1 + (is_ramp and i or is_far and i * 7919 % 4000000 or i * 31 % 30000)
          end
        end
        -- 0 .. 2: which launch, 3: the ring, 4: refused; and in words.
        local function level(rows)
          lib.gdn_builder_poison(builder.handle) -- nothing is skipped
          batch:clear()
          for i = 0, rows - 1 do
            local q, seq, done, d, a = kind[2](i)
            local is_taken = batch:push(i, q, seq, done, d, a, options.mamba_cache_mode and 0 or nil)
            if not is_taken then return 4, "full" end
          end
          local ring, blocks = builder:counters().ring_launches, driver:count "blocks"
          local meta, why = builder:build(batch)
          if not meta then return 4, (why:gsub("%d+", "N")) end
          local is_in_ring = builder:counters().ring_launches > ring
          return is_in_ring and 3 or driver:count "kernel",
            ("%d blocks, %d shared"):format(driver:count "blocks" - blocks, driver:count "shared")
        end
        if drafts or not kind[1]:find "draft" then
          for _, rows in ipairs { 1, 100 } do note(of[1], kind[1], rows, level(rows)) end
          for wanted = 1, 4 do -- the first number of rows that takes so much
            local low, high = 0, ROWS + 1
            while high - low > 1 do
              local middle = math.floor((low + high) / 2)
              if level(middle) >= wanted then high = middle else low = middle end
            end
            if high <= ROWS then note(of[1], kind[1], high, level(high)) end
            if high > ROWS then break end
          end
        end
      end
      batch:close()
      builder:close()
    end
    driver:close()
    check "sizes"
  end)
end)
