-- The metadata that upstream's rules give for an engine's steps, and the situations in which kernels then
-- read a wrong state. B3: a first chunk of one token taken for a decode. B8: a plain step after a
-- speculative one. moved: a window of mode align that the state is not in yet, where upstream's runner would
-- copy it.
local gdn = require "gdnmeta"

local M = {}

--- A builder of other rules, sized like the engine's. config: as random_traffic.lua makes them.
function M.builder(c, rules)
  return assert(gdn.builder {
    device = "cpu", rules = rules, num_groups = c.num_groups, num_speculative_tokens = c.num_spec,
    max_num_seqs = c.seqs, max_num_batched_tokens = c.budget + 64, num_slots = c.num_slots,
    max_rows = c.budget + 64, full_cuda_graph = c.full_cuda_graph, mamba_block_size = c.block,
    mamba_cache_mode = c.align and "align" or "none",
    max_blocks_per_row = c.align and math.ceil(c.max_model_len / c.block) + c.num_spec or c.num_spec + 1,
  })
end

local function table_rows(step, engine, group, width)
  local rows, cells = {}, engine.builder:table(group)
  for row = 0, step.padded_rows - 1 do
    local cols = {}
    for column = 0, width - 1 do
      cols[column + 1] = row < step.num_rows and cells[step.table_row[row] * width + column] or 0
    end
    rows[row + 1] = cols
  end
  return rows
end

--- Build a step's metadata as upstream's runner would ask for it.
function M.build(builder, step, engine)
  local raw = { query_start_loc = { 0 }, seq_lens = {}, block_table = {}, num_reqs = step.padded_rows,
                num_actual_tokens = step.padded_tokens, max_query_len = 0 }
  local drafts, accepted, drafting, ends = {}, {}, false, 0
  for row = 0, step.padded_rows - 1 do
    local is_real = row < step.num_rows
    local n = is_real and step.query_len[row] or 0
    ends = ends + n
    raw.query_start_loc[row + 2], raw.seq_lens[row + 1] = ends, is_real and step.seq_len[row] or 0
    raw.max_query_len = math.max(raw.max_query_len, n)
    drafts[row + 1], accepted[row + 1] = is_real and step.drafts[row] or -1,
      is_real and step.last_accepted[row] or 1
    drafting = drafting or drafts[row + 1] >= 0
  end
  for group = 0, builder.num_groups - 1 do
    raw.block_table[group + 1] = table_rows(step, engine, group, builder.max_blocks_per_row)
  end
  if drafting then raw.num_decode_draft_tokens, raw.num_accepted_tokens = drafts, accepted end
  local meta, message = builder:build_raw(raw)
  if not meta then error(message, 0) end
  return meta
end

-- Does the row's state lie in another column than the one that upstream reads?
local function has_moved(step, n, is_speculative)
  return step.read_column[n] ~= step.column[n] + (is_speculative and step.last_accepted[n] - 1 or 0)
end

--- "B3", "B8", "moved" or nil. A step with prefills shows B3 in the rows in front of the first one, but not
--- under vllm-2026-04, whose chunk kernels run these rows too. rows: as state_kernel.lua has them.
function M.situation(rows, step, rules)
  local drafting, longest = false, 0
  for _, row in ipairs(rows) do
    drafting = drafting or row.drafts >= (rules == "vllm-2026-11" and 0 or 1)
    if rules == "vllm-2026-04" then longest = math.max(longest, row.n) end
  end
  for n, row in ipairs(rows) do
    longest = math.max(longest, row.n)
    if row.computed == 0 and longest == 1 and not drafting then return "B3" end
    local is_speculative = drafting and row.drafts >= 0
    if not is_speculative and row.last_accepted > 1 then return "B8" end
    if row.computed > 0 and has_moved(step, n - 1, is_speculative) then return "moved" end
  end
end

return M
