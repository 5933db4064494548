-- The reference rules, sections 3 to 10 and 13 of the semantics, quirks included.
local parts = require "spec.support.oracle_parts"

local vector, matrix = parts.vector, parts.matrix

local M = {}

--- Section 5: prefills, prefill tokens, decodes, decode tokens; or nil and a reason.
local function split_non_spec(loc, q, num_reqs, tokens, max_query_len)
  if max_query_len <= 1 then return 0, 0, num_reqs, tokens end
  if #q == 0 then return nil, "first row of an empty batch" end
  if q[1] > 1 then return num_reqs, tokens, 0, 0 end
  for i, length in ipairs(q) do
    if length > 1 then return num_reqs - (i - 1), tokens - loc[i], i - 1, loc[i] end
  end
  return 0, 0, num_reqs, tokens
end

--- Section 8b over one group's state indices; or a reason.
local function stage_non_spec(out, groups, step)
  local d, R = out.num_decodes, #step.q
  if d > step.cap then return end
  if d ~= R then return "rows and num_reqs differ in a staged step" end
  local b = math.min(step.pad_size, step.cap)
  local loc = step.loc
  for _, group in ipairs(groups) do
    local indices = group.non_spec_state_indices_tensor
    group.non_spec_state_indices_tensor = vector("int32", parts.padded(indices.data, b, 0))
  end
  out.non_spec_query_start_loc = vector("int32", parts.padded(loc, b + 1, loc[#loc]))
end

local function non_spec(out, groups, step)
  local loc, q = step.loc, step.q
  out.num_prefills, out.num_prefill_tokens, out.num_decodes, out.num_decode_tokens =
    split_non_spec(loc, q, step.num_reqs, step.tokens, step.max_query_len)
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
  end
  if step.full_cg and out.num_prefills == 0 then
    if d == 0 then return "an empty step cannot be staged" end
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
    local staged = {}
    for i = 1, b do
      staged[i] = {}
      for k = 1, width do staged[i][k] = i <= n and rows[i][have == 1 and 1 or k] or 0 end
    end
    group.spec_state_indices_tensor = matrix("int32", staged, width)
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
  if #step.accepted ~= #q then return "accepted counts have another length" end

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
    full_cg = config.full_cuda_graph, tables = {} }
  step.pad_size = rules == "vllm-2026-04" and step.tokens or step.num_reqs
  for g, rows in ipairs(parts.tables(config, inputs)) do
    local windowed, width = parts.state_table(config, rows, inputs.block_table_cols, inputs.seq_lens)
    if not windowed then return nil, width end
    step.tables[g] = { rows = windowed, width = width }
  end

  local sum = 0
  if drafts and step.S > 0 then
    for _, d in ipairs(drafts) do sum = sum + math.max(d, 0) end
  end
  local out, groups = { num_actual_tokens = step.tokens, num_rows = inputs.num_reqs }, {}
  for g = 1, #step.tables do groups[g] = {} end
  refusal = (sum > 0 and spec or non_spec)(out, groups, step)
  if refusal then return nil, refusal end
  return out, groups
end

return M
