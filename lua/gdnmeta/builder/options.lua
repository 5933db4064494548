-- The options of gdnmeta.builder: names, domains, defaults, and what each becomes in a gdn_config.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local check = require "gdnmeta.native.args"
local domains = require "gdnmeta.native.domains"
local foreign = require "gdnmeta.native.int32_memory"

local slots_t = ffi.typeof "int32_t[?]"
local INT32_MAX = check.INT32_MAX
local integer, code_of = domains.integer, domains.code_of

-- true and false as C has them.
local function flag(value)
  local is, wanted = domains.flag(value)
  return is and 1 or is == false and 0 or nil, wanted
end

local function device(value)
  if value == "cpu" then return lib.GDN_DEVICE_CPU end
  if value == "auto" then return lib.GDN_DEVICE_AUTO end
  if value == "cuda" then return 0 end
  local ordinal = type(value) == "string" and value:match "^cuda:(%d%d?%d?)$"
  return tonumber(ordinal or nil), [["auto", "cpu", "cuda" or "cuda:N"]]
end

local RULES = { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } -- GDN_RULES_*, from 0
local DTYPES = { "int32", "int64" } -- GDN_INT32, GDN_INT64
local MODES = { "none", "align", "all" } -- GDN_CACHE_*, from 0
local BACKENDS = { "triton", "flashinfer" } -- GDN_PREFILL_*, from 0

-- { name, domain of what C sees, default }; a default of 0 leaves the choice to the core, nil is "not given".
local OPTIONS = {
  { "device", device, "auto" },
  { "rules", code_of(RULES), "strict" },
  { "max_num_seqs", integer(1, 65536), 256 },
  { "max_num_batched_tokens", integer(1, INT32_MAX), 8192 },
  { "max_rows", integer(1, 65536) },
  { "num_speculative_tokens", integer(0, 64), 0 },
  { "full_cuda_graph", flag, false },
  { "max_cudagraph_capture_size", integer(1, INT32_MAX) },
  { "mamba_cache_mode", code_of(MODES), "none" },
  { "mamba_block_size", integer(1, INT32_MAX), 544 },
  { "num_speculative_blocks", integer(0, INT32_MAX - 1) },
  { "num_groups", integer(1, 64), 1 },
  { "max_requests", integer(1, INT32_MAX) },
  { "max_blocks_per_row", integer(1, INT32_MAX) },
  { "parallel_drafting", flag, false },
  { "decode_context_parallel_size", integer(1, INT32_MAX), 1 },
  { "check_unique", flag, true },
  { "pad_slot_id", integer(-1, 0), 0 },
  { "query_start_loc_dtype", code_of(DTYPES), "int32" },
  { "check", flag, false },
  { "poison", flag, false },
  { "gdn_prefill_backend", code_of(BACKENDS), "triton" },
  { "num_prefill_checkpoint_blocks", integer(0, INT32_MAX), 0 },
  { "prefill_checkpoint_alignment", integer(1, INT32_MAX) },
  { "hash_block_size", integer(1, INT32_MAX) },
  { "cache_hit_alignment_tokens", integer(1, INT32_MAX) },
  { "num_hash_lookahead_tokens", integer(0, INT32_MAX), 0 },
  { "drop_eagle_block", flag, false },
}

local KNOWN = { num_slots = true }
for _, option in ipairs(OPTIONS) do KNOWN[option[1]] = true end

-- Pool sizes, one per group, from one number for all or a list.
local function pools(value, num_groups)
  local slots = slots_t(num_groups)
  if type(value) == "table" or check.int32_array(value) or check.int32_pointer(value) then
    local list, message = foreign.list("num_slots", value, 1, INT32_MAX)
    if not list then return nil, message end
    local n = check.length(list)
    if n ~= num_groups then return nil, ("num_slots has %d elements, want %d"):format(n, num_groups) end
    for group = 1, n do slots[group - 1] = rawget(list, group) end
  elseif type(value) ~= "number" then
    return nil, check.wrong("num_slots", value, "an integer or a list with one per group")
  elseif not check.integer(value, 1, INT32_MAX) then
    return nil, check.wrong_integer("num_slots", value, 1, INT32_MAX)
  else
    for group = 0, num_groups - 1 do slots[group] = value end
  end
  return slots
end

local M = { RULES = {}, MODES = {}, DTYPES = {} } -- names by code
for i, name in ipairs(RULES) do M.RULES[i - 1] = name end
for i, name in ipairs(MODES) do M.MODES[i - 1] = name end
for i, name in ipairs(DTYPES) do M.DTYPES[i - 1] = name end

--- Options as the fields of a gdn_config.
---@param given table
---@return table|nil config, string? message
function M.parse(given)
  if type(given) ~= "table" then return nil, "want a table of options, got " .. check.show(given) end
  local unknown
  given, unknown = check.take(given, KNOWN)
  if not given then return nil, "unknown option " .. check.word(unknown) end
  local config = {}
  for _, option in ipairs(OPTIONS) do
    local name, domain, default = option[1], option[2], option[3]
    local value = given[name]
    if check.absent(value) then value = default end
    if value ~= nil then
      local code, wanted = domain(value)
      if code == nil then return nil, check.wrong(name, value, wanted) end
      config[name] = code
    end
  end
  config.num_speculative_blocks = config.num_speculative_blocks or config.num_speculative_tokens
  if not check.absent(given.num_slots) then
    local slots, message = pools(given.num_slots, config.num_groups)
    if not slots then return nil, message end
    config.num_slots = slots
  end
  return config
end

return M
