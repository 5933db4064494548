-- What the prompt says of each field in steps of every kind, in buckets and without: sentences that were not
-- the same in the step before, against spec/goldens/texts.
local gdn = require "gdnmeta"
local noted = require "spec.support.noted"
local explain = require "gdnmeta.repl.explain"

local notes = noted.new "explain-"

local ENTRIES = {}
for _, part in ipairs { "counts", "rows", "prefills", "checkpoints", "buckets" } do
  for name, entry in pairs(require("gdnmeta.repl.explain." .. part)) do ENTRIES[name] = entry end
end

-- { query_len, tokens computed before, drafts, accepted, where the state is kept as well }
local STEPS = {
  { { 1, 9 } },
  { { 1, 9 }, { 1, 8 }, { 1, 0 } },
  { { 64, 0 } },
  { { 65, 0 }, { 2, 7 } },
  { { 1, 9 }, { 9, 0 }, { 130, 64 } },
  { { 3, 9, 2, 3 } },
  { { 3, 9, 2, 1 }, { 1, 9, 0, 2 }, { 2, 9, 1 } },
  { { 2, 9, 1, 1 }, { 1, 9 }, { 20, 0 } },
  { { 1, 5 }, { 130, 64, nil, nil, 128 }, { 70, 0, nil, nil, 64 } },
  {},
}

describe("The prompt's words on a step's fields #lua", function()
  before_each(notes.clear)

  -- Steps and, where there is room for more, the same with padding.
  local function note_steps(options, first)
    local o = { device = "cpu", max_num_seqs = 6, max_num_batched_tokens = 220, num_slots = 40,
                num_speculative_tokens = 2 }
    for name, value in pairs(options) do o[name] = value end
    local builder = assert(gdn.builder(o))
    local batch, before = builder:batch(), {}
    for number = first or 1, #STEPS do
      local step = STEPS[number]
      for more = 0, o.full_cuda_graph == "mixed" and number < 4 and 2 or 0 do
        batch:clear()
        local tokens = 0
        for n, row in ipairs(step) do
          tokens = tokens + row[1]
          local blocks = o.num_speculative_tokens > 0 and { n, n + 10, n + 20 } or { n }
          batch:add { query_len = row[1], seq_len = row[1] + row[2], drafts = row[3], accepted = row[4],
                      blocks = blocks, prompt_done = row[1] <= 3 and row[2] > 0,
                      checkpoint_len = row[5], checkpoint_slot = row[5] and 30 + n }
        end
        if o.full_cuda_graph == "mixed" then batch:pad(#step + more, math.max(tokens + more, 1)) end
        local meta, message = builder:build(batch)
        if not meta then notes.note(number, message) end -- as of drafts where there may be none
        for _, name in ipairs(meta and explain.names or {}) do
          local entry, value = ENTRIES[name], meta[name]
          local what = type(entry[1]) == "function" and entry[1](meta)
          for place, text in ipairs { value == nil and "none" or entry[3](value, meta), what or nil } do
            local is_new = text ~= before[place .. name]
            if is_new then notes.note(("%d + %d, %s:"):format(number, more, name), text) end
            before[place .. name] = text
          end
        end
      end
    end
    builder:close()
  end

  it("are these of steps as they come", function()
    note_steps {}
    notes.check "fields"
  end)

  it("are these in buckets", function()
    note_steps { full_cuda_graph = "mixed", pad_slot_id = -1 }
    notes.check "fields-bucket"
  end)

  it("are these in buckets without drafts", function()
    note_steps { full_cuda_graph = "mixed", num_speculative_tokens = 0 }
    notes.check "fields-plain-bucket"
  end)

  it("are these of other rules and backends", function()
    for _, options in ipairs { { rules = "vllm-2026-08" }, { gdn_prefill_backend = "flashinfer" } } do
      notes.note(options.rules or options.gdn_prefill_backend)
      note_steps(options, 8)
    end
    notes.check "fields-rules"
  end)
end)
