-- A builder of a CPU and inputs of build_raw, for the specs about them.
local gdn = require "gdnmeta"

local M = {}

---@param options table of gdn.builder
---@return gdnmeta.Builder builder for 4 sequences under vllm-2026-08, where `options` don't say otherwise
function M.make(options)
  options.device, options.rules = "cpu", options.rules or "vllm-2026-08"
  options.max_num_seqs = options.max_num_seqs or 4
  return assert(gdn.builder(options))
end

--- Inputs of a decode and a prefill of 2 tokens, changed as a case says.
---@param changes table|nil by the input's name
---@return table
function M.inputs(changes)
  local out = { query_start_loc = { 0, 1, 3 }, seq_lens = { 9, 2 }, block_table = { { 5 }, { 6 } } }
  for name, value in pairs(changes or {}) do out[name] = value end
  return out
end

return M
