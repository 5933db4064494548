-- Rules strict, first half: which batches are legal, clause by clause. `M.rows` turns inputs into one
-- record a real row, which is all that the second half (oracle_strict) looks at:
--   q, fresh, drafts, accepted, shift        tokens, nothing computed, drafts or -1, counts
--   keep, keep_slots[g]                      tokens before a state that is kept, 0: none; where it goes
--   window[g], read[g]                       state blocks from the first written one; block to read
local parts = require "spec.support.oracle_parts"

local M = {}

local DEFAULT = -2 -- read_column, when not given

--- Rows before the trailing padding.
function M.real_rows(q)
  for i = #q, 1, -1 do
    if q[i] > 0 then return i end
  end
  return 0
end

--- `used`: columns of a table row that a row of the first window would use. Nothing else of a padding
--- row reaches a result, so nothing else of it is looked at.
local function refuse_padding(config, inputs, from, R, used)
  local drafts = inputs.num_decode_draft_tokens
  for i = from, R do
    if inputs.seq_lens[i] ~= 0 then return "padding with a length" end
    if drafts and drafts[i] ~= -1 then return "padding with drafts" end
    for g = 1, config.num_groups or 1 do
      for k = 1, used do
        if parts.tables(config, inputs)[g][i][k] ~= 0 then return "padding with blocks" end
      end
    end
  end
end

local function row_order(row, threshold)
  if row.fresh then return 3 end
  if row.q > threshold then return 2 end
  return row.prompt_done and 0 or 1
end

--- Which column holds the row's current state; or nil and a reason.
local function read_column(config, S, row, given, cols)
  local column = given or DEFAULT
  if column == DEFAULT then
    if row.fresh then return -1 end
    if (config.mamba_cache_mode or "none") ~= "align" then
      column = row.accepted - 1
    elseif S == 0 then
      column = math.floor((row.computed - 1) / config.mamba_block_size)
    else
      return nil, "read_column must be given"
    end
  end
  if row.fresh then
    if column ~= -1 then return nil, "nothing computed, but a state to read" end
  elseif column < 0 or column >= cols then
    return nil, "read_column outside of the table row"
  end
  return column
end

--- Blocks that the row writes and reads in each group; or a reason.
local function take_blocks(config, S, row, i, inputs, spec_step, written)
  local cols = inputs.block_table_cols
  for g, rows in ipairs(parts.tables(config, inputs)) do
    local slots = type(config.num_slots) == "table" and config.num_slots[g] or config.num_slots
    local windowed = parts.state_table(config, { rows[i] }, cols, { row.seq_len })
    if not windowed then return "window outside of the table row" end
    local window = windowed[1]
    local writes = spec_step and row.drafts >= 0 and row.drafts + 1 or 1
    local emits = spec_step and row.drafts >= 0 and S + 1 or 1
    for k = 1, emits do
      local block = window[k]
      if block < (k <= writes and 1 or 0) or block >= slots then return "block outside of the pool" end
      if k <= writes and config.check_unique ~= false then
        if written[g][block] then return "block written twice" end
        written[g][block] = i
      end
    end
    row.window[g] = window
    row.read[g] = 0
    if not row.fresh then
      row.read[g] = rows[i][row.read_column + 1]
      if row.read[g] < 1 or row.read[g] >= slots then return "read block outside of the pool" end
    end
  end
end

-- A block that one row reads while another writes it. `written` is empty where that is not checked.
local function refuse_races(rows, written)
  for i, row in ipairs(rows) do
    for g, block in ipairs(row.read) do
      local writer = not row.fresh and written[g][block]
      if writer and writer ~= i then return "block read by one row and written by another" end
    end
  end
end

-- The position of a checkpoint in a row; or a reason.
local function take_checkpoint(config, row, i, inputs, spec_step)
  local len = inputs.checkpoint_len and inputs.checkpoint_len[i] or 0
  row.keep, row.keep_slots = 0, {}
  if len == 0 then return end
  if spec_step and row.drafts >= 0 then return "a checkpoint in a speculative row" end
  if len <= row.computed or len >= row.seq_len then return "a checkpoint outside of its row" end
  row.keep = len - row.computed
  if row.keep % 64 ~= 0 and not config.checkpoint_any then return "a checkpoint within a chunk" end
  for g = 1, config.num_groups or 1 do
    local slots = type(config.num_slots) == "table" and config.num_slots[g] or config.num_slots
    row.keep_slots[g] = inputs.checkpoint_slot[g][i]
    if row.keep_slots[g] < 1 or row.keep_slots[g] >= slots then return "a checkpoint outside of the pool" end
  end
end

-- Slots of checkpoints are nobody else's.
local function refuse_shared(rows, written)
  for g = 1, #written do
    local taken = {}
    for _, row in ipairs(rows) do
      local slot = row.keep > 0 and row.keep_slots[g]
      if slot and (taken[slot] or written[g][slot]) then return "a checkpoint over another state" end
      if slot then taken[slot] = true end
    end
    for _, row in ipairs(rows) do
      if not row.fresh and taken[row.read[g]] then return "a checkpoint over a state that is read" end
    end
  end
end

--- One record a real row and whether the step is speculative; or nil and a reason.
function M.rows(config, inputs)
  local refusal = parts.refuse_shapes(config, inputs)
  if refusal then return nil, refusal end
  local derived, loc = parts.derive(config), inputs.query_start_loc
  local S, threshold, q = derived.num_spec, derived.reorder_batch_threshold, parts.lengths(loc)
  local R = #q
  local drafts, accepted = inputs.num_decode_draft_tokens, inputs.num_accepted_tokens
  local done = inputs.prompt_done
  if inputs.num_reqs ~= R then return nil, "num_reqs is not the number of rows" end
  if inputs.num_actual_tokens < loc[R + 1] then return nil, "fewer tokens than rows have" end
  if drafts and #drafts ~= R or accepted and #accepted ~= R then return nil, "array of another length" end
  local used = config.mamba_cache_mode == "align" and 1 + (config.num_speculative_blocks or 0) or S + 1
  if used < S + 1 or inputs.block_table_cols < used then return nil, "table narrower than S + 1" end

  local real, named = M.real_rows(q), false
  refusal = refuse_padding(config, inputs, real + 1, R, used)
  if refusal then return nil, refusal end
  for i = 1, R do
    if drafts and (drafts[i] < -1 or drafts[i] > S) then return nil, "drafts outside of -1 .. S" end
    named = named or drafts and drafts[i] >= 0
  end
  local spec_step = S > 0 and named
  if spec_step and not accepted then return nil, "accepted counts are missing" end

  local rows, written, last = {}, {}, 0
  for g = 1, config.num_groups or 1 do written[g] = {} end
  for i = 1, real do
    local row = { q = q[i], seq_len = inputs.seq_lens[i], computed = inputs.seq_lens[i] - q[i],
      drafts = drafts and drafts[i] or -1, accepted = accepted and accepted[i] or 1, window = {}, read = {} }
    if row.q < 1 or row.computed < 0 then return nil, "row without tokens, or longer than its sequence" end
    if row.accepted < 1 or row.accepted > S + 1 then return nil, "accepted outside of 1 .. S + 1" end
    row.fresh = row.computed == 0
    if done then
      row.prompt_done = done[i] ~= false and done[i] ~= 0
    else
      row.prompt_done = not row.fresh and row.q <= threshold
    end
    if row.drafts >= 0 and (row.q ~= row.drafts + 1 or not row.prompt_done or row.fresh) then
      return nil, "speculative row of another length, or with an unfinished prompt"
    end
    if row_order(row, threshold) < last then return nil, "rows out of order" end
    last = row_order(row, threshold)
    row.shift = row.fresh and 0 or row.accepted - 1
    local given = inputs.read_column and inputs.read_column[i]
    row.read_column, refusal = read_column(config, S, row, given, inputs.block_table_cols)
    refusal = refusal or take_blocks(config, S, row, i, inputs, spec_step, written)
      or take_checkpoint(config, row, i, inputs, spec_step)
    if refusal then return nil, refusal end
    rows[i] = row
  end
  refusal = refuse_races(rows, written) or config.check_unique ~= false and refuse_shared(rows, written)
  if refusal then return nil, refusal end
  return rows, spec_step
end

--- The same for a capture: uniform rows, null slots, no state.
function M.capture_rows(config, inputs)
  local refusal = parts.refuse_shapes(config, inputs, true)
  if refusal then return nil, refusal end
  local derived, q = parts.derive(config), parts.lengths(inputs.query_start_loc)
  local S, cap = derived.num_spec, derived.decode_cudagraph_max_bs
  if inputs.num_reqs ~= #q then return nil, "num_reqs is not the number of rows" end
  local tokens = inputs.query_start_loc[#q + 1]
  if inputs.num_actual_tokens < tokens then return nil, "fewer tokens than rows have" end
  if inputs.num_reqs > cap or inputs.num_actual_tokens > cap then return nil, "capture past its limit" end

  local given, rows, null = inputs.num_decode_draft_tokens, {}, {}
  if given and q[1] == 1 and #given ~= #q then return nil, "drafts of another length" end
  for k = 1, S + 1 do null[k] = 0 end
  for i = 1, M.real_rows(q) do
    if q[i] ~= q[1] or (q[i] ~= 1 and q[i] ~= S + 1) then return nil, "capture of uneven lengths" end
    local drafts = q[i] > 1 and q[i] - 1 or given and given[i] or -1
    if drafts > S or drafts < -1 or q[i] == 1 and (drafts > 0 or given and drafts ~= given[1]) then
      return nil, "capture of uneven drafts"
    end
    rows[i] = { q = q[i], fresh = false, drafts = drafts, accepted = q[i], shift = q[i] - 1,
      window = {}, read = {}, keep = 0 }
    for g = 1, config.num_groups or 1 do rows[i].window[g], rows[i].read[g] = null, 0 end
  end
  return rows, S > 0 and #rows > 0 and rows[1].drafts >= 0
end

return M
