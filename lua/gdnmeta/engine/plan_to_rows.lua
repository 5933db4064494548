-- From plan to batch: decodes in front as the plan lists them, then the chunks by a stable partition into
-- the order that a build wants. Writing a row also
-- moves its request on, to where it will be when the step is complete and every draft accepted.
local lib = require "gdnmeta.native"
local kept_states = require "gdnmeta.engine.kept_states"
local pad_step = require "gdnmeta.engine.pad_step"
local joint = require("gdnmeta.native.trace_cuts").joint

local are_summed, rows_are_written = joint(), joint()
local floor, max, min, huge = math.floor, math.max, math.min, math.huge
local READ_DEFAULT = tonumber(lib.GDN_READ_DEFAULT)
local ACCEPTED_GIVEN = -2 -- accepted_index: the row's num_accepted_tokens counts

local M = {}

-- Columns of a step's window after `tokens`; mode none has column 0 only.
local function block_of(e) return e.align and e.block or huge end

-- A decode always emits. I8: it is a speculative row where any row drafts, or has been speculative: kernels
-- apply what a row's last step accepted in speculative rows alone. In a bucket plain decodes have a branch of
-- their own: there only rows that draft, or have, are speculative. Nothing here branches on a row.
local function write_decodes(e, step, speculative)
  local plan, r, block, on_device = e.plan, e.requests, block_of(e), e.reads_accepted
  local decodes, drafted, next_drafts = plan.decodes, plan.drafts, e.default_drafts
  local spare = e.states.spare
  local all = speculative and not e.in_buckets and 1 or 0
  for row = 0, plan.num_decodes - 1 do
    local i, drafts = decodes[row], drafted[row]
    local n, read, spec = 1 + drafts, r.read_column[i], max(all, min(1, drafts + r.speculative[i]))
    local ends = r.computed[i] + n
    local column = floor((ends - 1) / block)
    step.query_len[row], step.seq_len[row], step.drafts[row] = n, ends, n * spec - 1
    step.last_accepted[row], step.prompt_done[row] = r.accepted[i], 1
    step.table_row[row] = r.table_row[i]
    step.read_column[row] = on_device and read ~= spare and READ_DEFAULT or read
    step.request[row], step.epoch[row], step.column[row] = i, r.epoch[i], column
    step.read_before[row], step.samples[row], step.planned[row] = r.read_before[i], 1, drafts
    step.accepted_drafts[row], step.stop[row], step.next_drafts[row] = 0, 0, next_drafts
    step.ids[row + 1] = r.id[i]
    r.computed[i], r.flight[i], r.ahead[i] = ends, r.flight[i] + 1, r.ahead[i] + n
    r.pending[i], r.placeholders[i] = r.pending[i] + 1, r.placeholders[i] + n
    r.read_before[i], r.read_column[i], r.accepted[i] = read, column + drafts, n
    r.speculative[i] = r.speculative[i] + spec
  end
end

-- Does the device know where the state lies? Of one that somebody else left it knows nothing.
local function is_implied(e, i, computed, read)
  local r = e.requests
  return computed > 0 and read ~= e.states.spare and not (r.on_host[i] == 1 and computed == r.cached[i])
end

-- 1 if a >= b, of whole numbers, else 0. Without a branch, as the rest: prompts come in all combinations.
local function is_least(a, b) return max(0, min(1, a - b + 1)) end

local function write_chunk(e, step, row, i, n, block)
  local r = e.requests
  local computed, read = r.computed[i], r.read_column[i]
  local ends = computed + n
  local samples, column = is_least(ends, r.known[i]), floor((ends - 1) / block)
  step.query_len[row], step.seq_len[row], step.drafts[row] = n, ends, -1
  step.last_accepted[row], step.prompt_done[row] = r.accepted[i], is_least(computed, r.prompt[i])
  step.table_row[row] = r.table_row[i]
  step.read_column[row] = e.reads_accepted and is_implied(e, i, computed, read) and READ_DEFAULT or read
  step.request[row], step.epoch[row], step.column[row] = i, r.epoch[i], column
  step.read_before[row], step.samples[row], step.planned[row] = r.read_before[i], samples, 0
  step.accepted_drafts[row], step.stop[row], step.next_drafts[row] = 0, 0, e.default_drafts
  step.ids[row + 1] = r.id[i]
  r.computed[i], r.flight[i], r.ahead[i] = ends, r.flight[i] + 1, r.ahead[i] + n
  r.pending[i], r.placeholders[i] = r.pending[i] + samples, r.placeholders[i] + samples
  r.read_before[i], r.read_column[i], r.accepted[i] = read, column, 1
end

-- I12. Places in the order of a batch, after the decodes: stretches of text that a preempted request computes
-- again and that are as short as a decode, short extends, long extends, first chunks.
local FIRST, LONG = 3, 2

local function row_order(e, i, n)
  local computed = e.requests.computed[i]
  local has_begun, is_long = is_least(computed, 1), is_least(n, e.reorder_threshold + 1)
  local is_text = 1 - is_least(computed, e.requests.prompt[i])
  return max(FIRST * (1 - has_begun), LONG * is_long, is_text)
end

local function write_chunks(e, step)
  local plan, places, orders, first, block = e.plan, e.places, e.orders, e.plan.num_decodes, block_of(e)
  for p = 0, plan.num_chunks - 1 do
    places[p], orders[p] = p, row_order(e, plan.chunks[p], plan.tokens[p])
  end
  lib.gdn_sort_by_key(plan.num_chunks, orders, places, e.work)
  for k = 0, plan.num_chunks - 1 do
    write_chunk(e, step, first + k, plan.chunks[places[k]], plan.tokens[places[k]], block)
  end
end

-- Returns whether the decodes are speculative rows.
local function sums(e, step)
  local plan, speculative, drafts, before, prefill = e.plan, e.requests.speculative, 0, 0, 0
  for p = 0, plan.num_decodes - 1 do
    drafts, before = drafts + plan.drafts[p], before + speculative[plan.decodes[p]]
  end
  for p = 0, plan.num_chunks - 1 do prefill = prefill + plan.tokens[p] end
  step.num_decodes, step.num_rows = plan.num_decodes, plan.num_decodes + plan.num_chunks
  step.decode_tokens, step.prefill_tokens = plan.num_decodes + drafts, prefill
  step.num_tokens = step.decode_tokens + prefill
  are_summed()
  return drafts + before > 0
end

-- The device's accepted counts stand by table row, whatever the order of the batch. Of a state that somebody
-- else left it knows nothing: the first row of a request that begins with one says its count itself.
local function index_accepted(e, step)
  local rows, cached = step.rows, e.requests.cached
  for row = 0, step.num_rows - 1 do
    local computed = step.seq_len[row] - step.query_len[row]
    local is_source = computed > 0 and computed == cached[step.request[row]]
    rows.seq_index[row], rows.accepted_index[row] = -1, is_source and ACCEPTED_GIVEN or step.table_row[row]
  end
  rows.indexed = 1
end

--- Fill the step's batch from the plan.
function M.write(e, step)
  local rows = step.rows
  write_decodes(e, step, sums(e, step))
  if e.plan.num_chunks > 0 then write_chunks(e, step) end
  rows_are_written()
  if e.device_accepted then index_accepted(e, step) end
  if e.num_keeps > 0 then kept_states.write(e, step) end
  if e.prefix and e.prefix.host then e.prefix.host:restore_rows(step) end
  pad_step.pad(e, step)
  rows.num_rows, rows.padded_rows, rows.padded_tokens = step.num_rows, step.padded_rows, step.padded_tokens
end

--- The build was refused: requests stand where they stood.
function M.undo(e, step)
  local r = e.requests
  kept_states.undo(e, step)
  step.restored.n = 0
  for row = 0, step.num_rows - 1 do
    local i, n, samples = step.request[row], step.query_len[row], step.samples[row]
    r.computed[i], r.flight[i], r.ahead[i] = r.computed[i] - n, r.flight[i] - 1, r.ahead[i] - n
    r.read_column[i], r.read_before[i] = r.read_before[i], step.read_before[row]
    r.accepted[i] = step.last_accepted[row]
    r.speculative[i] = r.speculative[i] - (step.drafts[row] >= 0 and 1 or 0)
    r.pending[i] = r.pending[i] - samples
    r.placeholders[i] = r.placeholders[i] - samples * (1 + step.planned[row])
  end
end

return M
