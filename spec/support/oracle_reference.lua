-- The vLLM rules, sections 3 to 10, 13 and 15 of the semantics, quirks included.
local checkpoints = require "spec.support.oracle_checkpoints"
local parts = require "spec.support.oracle_parts"

local vector, matrix = parts.vector, parts.matrix

local M = {}

--- Section 5: prefills, prefill tokens, decodes, decode tokens; or nil and a reason.
local function split_non_spec(step)
  local loc, q, num_reqs, tokens = step.loc, step.q, step.num_reqs, step.tokens
  if step.max_query_len <= 1 then return 0, 0, num_reqs, tokens end
  if #q == 0 then return nil, "first row of an empty batch" end
  if q[1] > 1 then return num_reqs, tokens, 0, 0 end
  for i, length in ipairs(q) do
    if length > 1 then return num_reqs - (i - 1), tokens - loc[i], i - 1, loc[i] end
  end
  return 0, 0, num_reqs, tokens
end

--- Section 15.3: the same for vllm-2026-11, where a row that starts from nothing is a prefill.
local function split_by_progress(step)
  local loc, q, num_reqs, R = step.loc, step.q, step.num_reqs, #step.q
  if R == 0 then return nil end
  local first
  for i = R, 1, -1 do
    local done = step.prompt_done and step.prompt_done[i] -- 0 and 1 in the vectors
    local prefilling = done == false or done == 0
    if q[i] > 1 or prefilling and q[i] > 0 and step.seq_lens[i] <= q[i] then first = i end
  end
  local decodes = first and first - 1 or num_reqs
  local prefills, decode_tokens = num_reqs - decodes, first and loc[first] or step.tokens
  if prefills == 0 then return 0, step.tokens - decode_tokens, decodes, decode_tokens end
  for i = decodes + 1, R do
    if q[i] == 0 then prefills = prefills - 1 end
  end
  local boundary = decodes + prefills
  if boundary < 0 then boundary = boundary + R + 1 end -- a list's last entries, counted from its end
  if boundary < 0 or boundary > R then return nil end
  return prefills, loc[boundary + 1] - decode_tokens, decodes, decode_tokens
end

--- Section 8b over one group's state indices; or a reason.
local function stage_non_spec(out, groups, step)
  local d, R = out.num_decodes, #step.q
  if d > step.cap then return end
  if d ~= R then return "rows and num_reqs differ in a step for a graph" end
  local b = math.min(step.pad_size, step.cap)
  local loc = step.loc
  for _, group in ipairs(groups) do
    local indices = group.non_spec_state_indices_tensor
    group.non_spec_state_indices_tensor = vector("int32", parts.padded(indices.data, b, 0))
  end
  out.non_spec_query_start_loc = vector("int32", parts.padded(loc, b + 1, loc[#loc]))
end

local function add_checkpoints(out, groups, step, numbers, lengths)
  local rows = {}
  for k, i in ipairs(numbers) do
    rows[k] = { q = step.q[i], seq_len = step.seq_lens[i], cells = {} }
    for g, whole in ipairs(step.whole_tables) do rows[k].cells[g] = whole[i] end
  end
  if step.is_2026_11 then checkpoints.add(out, groups, step.config, rows, lengths) end
  if step.config.gdn_prefill_backend == "flashinfer" then out.chunk_indices, out.chunk_offsets = nil, nil end
end

local function non_spec(out, groups, step)
  local loc, q = step.loc, step.q
  out.num_prefills, out.num_prefill_tokens, out.num_decodes, out.num_decode_tokens =
    (step.is_2026_11 and split_by_progress or split_non_spec)(step)
  if not out.num_prefills then return "first row of an empty batch" end
  out.num_spec_decodes, out.num_spec_decode_tokens = 0, 0
  out.non_spec_query_start_loc = vector("int32", loc)
  local d = out.num_decodes
  for g, group in ipairs(groups) do
    local rows = step.tables[g].rows
    group.non_spec_state_indices_tensor = parts.first_column(rows)
    if out.num_prefills > 0 then group.prefill_state_indices = parts.first_column(rows, d + 1) end
  end
  if out.num_prefills > 0 then
    local initial = {}
    for i = 1, #q do initial[i] = step.seq_lens[i] - q[i] > 0 end
    parts.add_prefill_fields(out, q, initial, d, step.rules == "vllm-2026-04" and q or nil)
    local rows, tail = {}, {}
    for i = 1, math.min(step.num_reqs, #q) do rows[i] = i end
    for i = d + 1, #q do tail[#tail + 1] = q[i] end
    add_checkpoints(out, groups, step, rows, tail)
  end
  if step.full_cg and out.num_prefills == 0 then
    if d == 0 then return "an empty step cannot be for a graph" end
    return stage_non_spec(out, groups, step)
  end
end

--- Section 8a; or a reason.
local function stage_spec(out, groups, step, masks)
  local n, cap = out.num_spec_decodes, step.cap
  if n > cap or out.num_spec_decode_tokens > cap then return end
  local b, width = math.min(step.pad_size, cap), step.S + 1
  for g, group in ipairs(groups) do
    local have = step.tables[g].width
    if have < width and have ~= 1 then return "state table too narrow to stage" end
    local rows = group.spec_state_indices_tensor.data
    local for_graph = {}
    for i = 1, b do
      for_graph[i] = {}
      for k = 1, width do for_graph[i][k] = i <= n and rows[i][have == 1 and 1 or k] or 0 end
    end
    group.spec_state_indices_tensor = matrix("int32", for_graph, width)
  end
  local starts = out.spec_query_start_loc.data
  out.spec_query_start_loc = vector("int32", parts.padded(starts, b + 1, starts[n + 1]))
  out.spec_sequence_masks = vector("bool", parts.padded(parts.first(masks, n), b, false))
  out.num_accepted_tokens = vector("int32", parts.padded(out.num_accepted_tokens.data, b, 1))
end

local function spec(out, groups, step)
  local loc, q, S = step.loc, step.q, step.S
  if #step.drafts ~= #q then return "drafts have another length" end
  if not step.accepted then return "accepted counts are missing" end

  local masks, spec_rows, plain_rows, accepted = {}, {}, {}, {}
  local spec_q, plain_q, spec_at, plain_at, initial = {}, {}, {}, {}, {}
  for i = 1, #q do
    masks[i] = step.drafts[i] >= 0
    if masks[i] then
      spec_rows[#spec_rows + 1], spec_q[#spec_q + 1] = i, q[i]
      accepted[#accepted + 1] = step.accepted[i]
    else
      plain_rows[#plain_rows + 1], plain_q[#plain_q + 1] = i, q[i]
      initial[#initial + 1] = step.seq_lens[i] - q[i] > 0
    end
    local at = masks[i] and spec_at or plain_at
    for t = loc[i], loc[i + 1] - 1 do at[#at + 1] = t end
  end

  out.num_prefills, out.num_prefill_tokens = 0, #plain_at
  for _, length in ipairs(plain_q) do
    if length > 0 then out.num_prefills = out.num_prefills + 1 end
  end
  out.num_decodes, out.num_decode_tokens = 0, 0
  out.num_spec_decodes, out.num_spec_decode_tokens = #spec_rows, #spec_at
  out.uniform_spec_sequence_length = parts.common(spec_q)
  local is_exact = not step.is_2026_11 or out.num_prefills > 0
  if is_exact and #step.accepted ~= #q then return "accepted counts have another length" end
  if not is_exact then -- section 15.4: the first rows, whichever the mask names
    local n, cap = #spec_rows, step.cap
    local for_graph = step.full_cg and n <= cap and #spec_at <= cap
    if #step.accepted < n and not (for_graph and #step.accepted == 1) then
      return "too few accepted counts"
    end
    for k = 1, n do spec_rows[k], accepted[k] = k, step.accepted[k] or step.accepted[1] end
  end

  out.spec_sequence_masks = vector("bool", masks)
  out.num_accepted_tokens = vector("int32", accepted)
  for g, group in ipairs(groups) do
    local table_, rows = step.tables[g], {}
    for k, i in ipairs(spec_rows) do rows[k] = parts.first(table_.rows[i], S + 1) end
    group.spec_state_indices_tensor = matrix("int32", rows, math.min(S + 1, table_.width))
  end

  if out.num_prefills == 0 then
    local positions = {}
    for t = 0, math.min(#spec_rows * (S + 1), loc[#loc]) - 1 do positions[t + 1] = t end
    out.spec_token_indx, out.non_spec_token_indx = vector("int32", positions), vector("int32", {})
    out.spec_query_start_loc = vector("int32", parts.first(loc, #spec_rows + 1))
    if step.full_cg then return stage_spec(out, groups, step, masks) end
    return
  end
  out.spec_token_indx, out.non_spec_token_indx = vector("int64", spec_at), vector("int64", plain_at)
  out.spec_query_start_loc = vector("int32", parts.boundaries(spec_q))
  out.non_spec_query_start_loc = vector("int32", parts.boundaries(plain_q))
  for g, group in ipairs(groups) do
    local rows = {}
    for k, i in ipairs(plain_rows) do rows[k] = step.tables[g].rows[i] end
    group.non_spec_state_indices_tensor = parts.first_column(rows)
    group.prefill_state_indices = parts.first_column(rows)
  end
  parts.add_prefill_fields(out, plain_q, initial, 0)
  add_checkpoints(out, groups, step, plain_rows, plain_q)
end

--- The record of a build, and the state fields of each group; or nil and a reason.
function M.build(rules, config, inputs)
  local derived = parts.derive(config)
  local refusal = parts.refuse_shapes(config, inputs)
  if refusal then return nil, refusal end

  local q = parts.lengths(inputs.query_start_loc)
  local accepted, drafts = inputs.num_accepted_tokens, inputs.num_decode_draft_tokens
  if inputs.capture then
    local cap = derived.decode_cudagraph_max_bs
    if inputs.num_reqs > cap or inputs.num_actual_tokens > cap then return nil, "capture past its limit" end
    accepted, drafts = q, {}
    for i, length in ipairs(q) do drafts[i] = length - 1 end
  end

  local step = { rules = rules, loc = inputs.query_start_loc, q = q, seq_lens = inputs.seq_lens,
    num_reqs = inputs.num_reqs, tokens = inputs.num_actual_tokens, max_query_len = inputs.max_query_len,
    accepted = accepted, drafts = drafts, S = derived.num_spec, cap = derived.decode_cudagraph_max_bs,
    full_cg = config.full_cuda_graph, tables = {}, config = config, is_2026_11 = rules == "vllm-2026-11",
    prompt_done = not inputs.capture and inputs.prompt_done or nil }
  step.pad_size = rules == "vllm-2026-04" and step.tokens or step.num_reqs
  step.whole_tables = parts.tables(config, inputs)
  for g, rows in ipairs(step.whole_tables) do
    local windowed, width = parts.state_table(config, rows, inputs.block_table_cols, inputs.seq_lens, rules)
    if not windowed then return nil, width end
    step.tables[g] = { rows = windowed, width = width }
  end

  local speculative, least = false, step.is_2026_11 and 0 or 1
  if drafts and step.S > 0 then
    for _, d in ipairs(drafts) do speculative = speculative or d >= least end
  end
  local out, groups = { num_actual_tokens = step.tokens, num_rows = inputs.num_reqs,
    num_tiles = 0 }, {}
  for g = 1, #step.tables do groups[g] = {} end
  refusal = (speculative and spec or non_spec)(out, groups, step)
  if refusal then return nil, refusal end
  return out, groups
end

return M
