-- The options of gdnmeta.builder: names, domains, defaults, and what each becomes in a gdn_config.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local domains = require "gdnmeta.native.domains"
local int32_memory = require "gdnmeta.native.int32_memory"
local ranges = require "gdnmeta.native.ranges"
local schema = require "gdnmeta.native.schema"
local array_of = require "gdnmeta.array_of"

local slots_t = array_of "int32_t"
local INT32_MAX = args.INT32_MAX
local integer, code_of = domains.integer, domains.code_of

-- true and false as C has them.
local function flag(value)
  local is, wanted = domains.flag(value)
  return is and 1 or is == false and 0 or nil, wanted
end

-- GDN_GRAPH_*
local function graph(value)
  if value == "mixed" then return lib.GDN_GRAPH_MIXED end
  return flag(value), [[true, false or "mixed"]]
end

local function device(value)
  if value == "cpu" then return lib.GDN_DEVICE_CPU end
  if value == "auto" then return lib.GDN_DEVICE_AUTO end
  if value == "cuda" then return 0 end
  local ordinal = type(value) == "string" and value:match "^cuda:(%d%d?%d?)$"
  return tonumber(ordinal or nil), [["auto", "cpu", "cuda" or "cuda:N"]]
end

-- The names of enums, by code from 0: GDN_RULES_*, GDN_CACHE_*, GDN_INT32 and GDN_INT64, GDN_PREFILL_*.
local NAMES = {
  rules = { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" },
  mamba_cache_mode = { "none", "align", "all" },
  query_start_loc_dtype = { "int32", "int64" },
  gdn_prefill_backend = { "triton", "flashinfer" },
}

-- By kind of option (config_fields.h): the domain, which gives what C sees, and the default in Lua.
local KINDS = {
  NUMBER = function(o) return integer(ranges.of(o.name)), o.default end,
  OR_NONE = function(o) return integer(ranges.of(o.name)), o.default > 0 and o.default or nil end,
  FLAG = function(o) return flag, o.default == 1 end,
  GRAPH = function() return graph, false end,
  CODE = function(o)
    local names = NAMES[o.name]
    assert(o.low == 0 and #names == o.high + 1, "config_fields.h has other codes than NAMES: " .. o.name)
    return code_of(names), names[o.default + 1]
  end,
  DEVICE = function() return device, "auto" end, -- a host in C says which; a script takes what there is
}

-- { name, domain, default }; a default of nil is "not given".
local OPTIONS, KNOWN = {}, { num_slots = true }
for i, option in ipairs(schema.options) do
  local domain, default = KINDS[option.kind](option)
  if option.name == "num_speculative_blocks" then default = nil end -- see M.parse
  OPTIONS[i] = { option.name, domain, default }
  KNOWN[option.name] = true
end

-- Pool sizes, one per group, from one number for all or a list.
local function pools(value, num_groups)
  local slots = slots_t(num_groups)
  if type(value) == "table" or args.int32_array(value) or args.int32_pointer(value) then
    local list, message = int32_memory.list("num_slots", value, 1, INT32_MAX)
    if not list then return nil, message end
    local n = args.length(list)
    if n ~= num_groups then return nil, ("num_slots has %d elements, want %d"):format(n, num_groups) end
    for group = 1, n do slots[group - 1] = rawget(list, group) end
  elseif type(value) ~= "number" then
    return nil, args.wrong("num_slots", value, "an integer or a list with one per group")
  elseif not args.integer(value, 1, INT32_MAX) then
    return nil, args.wrong_integer("num_slots", value, 1, INT32_MAX)
  else
    for group = 0, num_groups - 1 do slots[group] = value end
  end
  return slots
end

local M = { NAMES = NAMES }

--- What an option of a configuration was given as: the inverse of its domain.
---@param config any a gdn_config, or its fields
---@param option table of schema.options
---@return any
function M.given(config, option)
  local code = config[option.name]
  if option.kind == "GRAPH" and code == lib.GDN_GRAPH_MIXED then return "mixed" end
  if option.kind == "FLAG" or option.kind == "GRAPH" then return code ~= 0 end
  if option.kind == "CODE" then return NAMES[option.name][code + 1] end
  return code
end

--- Options as the fields of a gdn_config.
---@param given table
---@return table|nil config, string? message
function M.parse(given)
  if type(given) ~= "table" then return nil, "want a table of options, got " .. args.show(given) end
  local unknown
  given, unknown = args.take(given, KNOWN)
  if not given then return nil, "unknown option " .. args.word(unknown) end
  local config = {}
  for _, option in ipairs(OPTIONS) do
    local name, domain, default = option[1], option[2], option[3]
    local value = given[name]
    if args.absent(value) then value = default end
    if value ~= nil then
      local code, wanted = domain(value)
      if code == nil then return nil, args.wrong(name, value, wanted) end
      config[name] = code
    end
  end
  config.num_speculative_blocks = config.num_speculative_blocks or config.num_speculative_tokens
  if not args.absent(given.num_slots) then
    local slots, message = pools(given.num_slots, config.num_groups)
    if not slots then return nil, message end
    config.num_slots = slots
  end
  return config
end

return M
