-- Every width of a packed array, and prefix sums of every length: staged in one go, in many, not at all.
--   GDN_CUDA_SPECS=cuda   on a real device
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"

local KIND = os.getenv "GDN_CUDA_SPECS" or "fake"

describe("A payload", function()
  local driver
  setup(function() driver = drivers.open(KIND) end)
  teardown(function() driver:close() end)

  it("holds numbers of any span", function()
    local builder = assert(gdn.builder { device = "cuda", rules = "vllm-2026-08", max_num_seqs = 40 })
    local batch = assert(builder:batch())
    for _, span in ipairs { 0, 1, 255, 256, 65535, 65536, 2^31 - 8 } do
      for _, base in ipairs { 0, 7, span == 0 and -5 or 1 } do
        batch:clear()
        local want = {}
        for row = 0, 39 do
          want[row + 1] = base + math.floor(span * ((row * 7) % 40) / 39)
          builder:set_blocks(0, row, { want[row + 1] })
          batch:push(row, 1, 9, true)
        end
        local meta = assert(builder:build(batch))
        assert.are.same(want, meta.non_spec_state_indices_tensor:totable(), ("%d over %d"):format(span, base))
      end
    end
    batch:close()
    builder:close()
  end)

  -- Speculative rows of 1 .. 3 tokens with a plain one after every third: no array of theirs is a ramp.
  local function step(device, rows)
    local builder = assert(gdn.builder { device = device, rules = "vllm-2026-08", num_speculative_tokens = 2,
      max_num_seqs = rows, max_rows = rows, max_num_batched_tokens = 4 * rows + 100 })
    local batch, cells = assert(builder:batch()), builder:table(0)
    for i = 0, rows * 3 - 1 do cells[i] = i end
    for row = 0, rows - 1 do
      if row % 3 == 2 then
        batch:push(row, 1 + row % 4, 50, true)
      else
        batch:push(row, 1 + row % 3, 50, true, row % 3, 1)
      end
    end
    local meta = assert(builder:build(batch))
    local out = {}
    for _, name in ipairs { "spec_token_indx", "non_spec_token_indx", "batch_ptr", "token_chunk_offset_ptr",
                            "chunk_indices", "chunk_offsets", "spec_query_start_loc" } do
      out[name] = meta[name]:totable()
    end
    batch:close()
    builder:close()
    return out
  end

  for _, rows in ipairs { 500, 5000, 40000 } do
    it(("is searched right with %d rows"):format(rows), function()
      local want, got = step("cpu", rows), step("cuda", rows)
      for name, values in pairs(want) do
        assert.are.equal(#values, #got[name], name)
        for i, value in ipairs(values) do
          local other = got[name][i]
          if type(value) == "table" then
            value, other = table.concat(value, ","), table.concat(other, ",")
          end
          if value ~= other then assert.are.equal(value, other, ("%s[%d]"):format(name, i - 1)) end
        end
      end
    end)
  end
end)
