-- What a build must produce, written the slow and obvious way from the semantics alone: plain tables,
-- no ffi, nothing shared with the library.
--   oracle.build(rules, config, inputs) -> record, groups   or   nil, reason
-- config and inputs are those of the vectors without nulls; inputs may also have prompt_done and
-- read_column, and block_table is a list of tables where there are several groups. The record has the
-- form of `expect` in the vectors (a tensor is {dtype, shape, data[, fill]}, an absent one nil) with
-- group 0's state fields; groups[g + 1] has group g's.
local parts = require "spec.support.oracle_parts"
local reference = require "spec.support.oracle_reference"
local buckets = require "spec.support.oracle_buckets"
local strict = require "spec.support.oracle_strict"

local M = {}

--- The fields of a builder that follow from its configuration: CAP, S, reorder threshold.
M.builder = parts.derive

function M.build(rules, config, inputs)
  local record, groups
  if rules == "strict" and config.full_cuda_graph == "mixed" then
    record, groups = buckets.build(config, inputs)
  elseif rules == "strict" then
    record, groups = strict.build(config, inputs)
  else
    record, groups = reference.build(rules, config, inputs)
  end
  if not record then return nil, groups end
  for name, tensor in pairs(groups[1]) do record[name] = tensor end
  return record, groups
end

local function row_order(threshold, scheduled, computed, prompt)
  if computed == 0 then return 3 end
  if scheduled > threshold then return 2 end
  return computed >= prompt and 0 or 1
end

--- Section 11: { modified, order, swaps }.
function M.reorder(case)
  local n, orders, sorted = #case.num_scheduled, {}, {}
  for i = 1, n do
    orders[i] = row_order(case.decode_threshold, case.num_scheduled[i], case.num_computed[i],
      case.num_prompt[i])
    sorted[i] = orders[i]
  end
  table.sort(sorted)

  -- Position i belongs to the span of order sorted[i]; P are misplaced, Q the same by order.
  local P, Q = {}, {}
  for i = 1, n do
    if orders[i] ~= sorted[i] then P[#P + 1] = i end
  end
  for wanted = 0, 3 do
    for _, i in ipairs(P) do
      if orders[i] == wanted then Q[#Q + 1] = i end
    end
  end
  local order, to, swaps = {}, {}, {}
  for i = 1, n do order[i] = i - 1 end
  for k, from in ipairs(Q) do to[from] = P[k] end
  for _, src in ipairs(Q) do
    local dst = to[src]
    while dst ~= src do
      order[src], order[dst] = order[dst], order[src]
      swaps[#swaps + 1] = { src - 1, dst - 1 }
      dst, to[dst] = to[dst], dst
    end
    to[src] = src
  end
  return { modified = #P > 0, order = order, swaps = swaps }
end

return M
