-- Slots of several arrays that a launch carries as one, at each width and of each kind of row: a step that
-- comes again is known by every element of it, and what differs in one is written as the CPU has it.
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"

local STATE = { "spec_state_indices_tensor", "non_spec_state_indices_tensor", "prefill_state_indices",
                "spec_read_state_indices", "non_spec_read_state_indices", "prefill_read_state_indices",
                "checkpoint_state_indices" }
local GROUPS, COLUMNS, ROWS = 2, 5, 9

describe("Slots that are carried together", function()
  local driver
  before_each(function() driver = drivers.open "fake" end)
  after_each(function() driver:close() end)

  -- Rows with drafts, plain ones and chunks of prompts. reads: columns beyond those that are written.
  local function open(device, options, reads)
    local o = { device = device, max_num_seqs = ROWS, max_num_batched_tokens = 400, num_groups = GROUPS,
                num_slots = 2 ^ 30, max_blocks_per_row = COLUMNS, max_requests = ROWS, check_unique = false }
    for name, value in pairs(options) do o[name] = value end
    local builder = assert(gdn.builder(o))
    local batch, drafts = assert(builder:batch()), o.num_speculative_tokens
    for row = 0, ROWS - 1 do
      local kind = math.floor(row / 3)
      if kind == 0 and drafts > 0 then
        assert(batch:push(row, drafts + 1, 40, true, drafts, 1 + row % (drafts + 1)))
      elseif kind == 1 or drafts == 0 and kind == 0 then
        assert(batch:push(row, 1, 30, true))
      else
        assert(batch:push(row, 20, 70, false))
      end
      if reads then batch.rows.read_column[row] = 3 + row % 2 end
      if o.checkpoint_any and kind == 2 then
        batch.rows.checkpoint_len[row] = 64
        for g = 0, GROUPS - 1 do batch.rows.checkpoint_slot[g * batch.rows.max_rows + row] = 6 end
      end
    end
    return builder, batch
  end

  local function outputs(meta)
    local all = {}
    for g = 0, GROUPS - 1 do
      for _, name in ipairs(STATE) do
        local view = meta:group(g)[name]
        all[g .. name] = view and view:totable() or false
      end
    end
    return all
  end

  it("are known again, and each of them is looked at", function()
    math.randomseed(5)
    local ran = 0
    for _, options in ipairs {
      { num_speculative_tokens = 2 }, { num_speculative_tokens = 2, checkpoint_any = true },
      { num_speculative_tokens = 0 }, { num_speculative_tokens = 2, rules = "vllm-2026-08" },
    } do
      for _, reads in ipairs { false, not options.rules } do
        for _, span in ipairs { 1, 2, 200, 255, 256, 60000, 65536, 2 ^ 24 } do
          local gpu, batch = open("cuda", options, reads)
          local cpu, same = open("cpu", options, reads)
          local function set(g, cell, value) gpu:table(g)[cell], cpu:table(g)[cell] = value, value end
          local cells = ROWS * COLUMNS
          for g = 0, GROUPS - 1 do
            for cell = 0, cells - 1 do set(g, cell, 7 + math.floor(span * math.random(0, 100) / 100)) end
          end
          local function launches()
            local before = gpu:counters().launches
            local meta = assert(gpu:build(batch))
            return gpu:counters().launches - before, meta
          end
          launches()
          for _ = 1, 12 do
            local g, cell = math.random(0, GROUPS - 1), math.random(0, cells - 1)
            local before = outputs(assert(cpu:build(same)))
            local n, meta = launches()
            assert.are.same({ 0, before }, { n, outputs(meta) })
            set(g, cell, 7 + (gpu:table(g)[cell] - 7 + math.max(1, math.floor(span / 3))) % (span + 1))
            local after = outputs(assert(cpu:build(same)))
            n, meta = launches()
            assert.are.same(after, outputs(meta))
            ran = ran + n
          end
          batch:close()
          same:close()
          gpu:close()
          cpu:close()
        end
      end
    end
    assert.is_true(ran > 200)
  end)
end)
