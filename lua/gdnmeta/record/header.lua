-- The header of a recording: which builder and which engine it is of. What is read from a file is checked
-- here before anything is made from it.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local builder_options = require "gdnmeta.builder.options"
local args = require "gdnmeta.native.args"
local schema = require "gdnmeta.native.schema"
local format = require "gdnmeta.record.format"
local validate = require "gdnmeta.record.validate"

local config_t = ffi.typeof "gdn_config"

-- Of a recorded builder. What only vllm-2026-11 takes is left out: an engine is strict. So are `check` and
-- `poison`, which would take memory that M.memory does not count; the device is the builder's name of it.
-- OPTIONAL: recorded unless they are the default, which older recordings have.
local OPTIONAL, IS_OPTIONAL = { "max_cudagraph_capture_size", "gdn_prefill_backend", "checkpoint_any" }, {}
local LEFT_OUT = { device = true, check = true, poison = true }
for _, name in ipairs(OPTIONAL) do IS_OPTIONAL[name] = true end
local RECORDED, MAYBE, GIVEN = {}, {}, { "device", "num_slots" }
for _, option in ipairs(schema.options) do
  if IS_OPTIONAL[option.name] then
    MAYBE[#MAYBE + 1] = option
  elseif option.rules == "EVERY" and not LEFT_OUT[option.name] then
    RECORDED[#RECORDED + 1], GIVEN[#GIVEN + 1] = option, option.name
  end
end
local TEXT = 200 -- bytes

local M = {}

--- A builder's configuration as options of gdn.builder.
---@param builder table
---@return table
function M.builder(builder)
  local config, options = config_t(), { device = builder.device, num_slots = {} }
  lib.gdn_builder_config(builder.handle, config)
  for _, option in ipairs(RECORDED) do options[option.name] = builder_options.given(config, option) end
  for _, option in ipairs(MAYBE) do
    if config[option.name] ~= option.default then
      options[option.name] = builder_options.given(config, option)
    end
  end
  for group = 1, config.num_groups do options.num_slots[group] = config.num_slots[group - 1] end
  return options
end

local LIMITS = { "max_model_len", "max_num_seqs", "max_num_batched_tokens", "long_prefill_token_threshold",
                 "chunked_prefill", "kv_tokens", "kv_block_size", "async" }

---@param engine table
---@return table document
function M.of(engine)
  local limits = { policy = tostring(engine.policy.name or "policy"):gsub("%c", " "):sub(1, TEXT) }
  for _, name in ipairs(LIMITS) do limits[name] = engine.options[name] end
  local blocks = engine.options.kv_blocks
  limits.kv_tokens = blocks and math.min(blocks * limits.kv_block_size, 2 ^ 31 - 1) or limits.kv_tokens
  return { gdnmeta = "record", version = format.VERSION, library = require "gdnmeta.native.version",
           builder = M.builder(engine.builder), engine = limits }
end

--- At least as many bytes as a builder of these options and one batch of it allocate.
---@param o table options of gdn.builder, all given
---@return number
function M.memory(o)
  local states = o.num_speculative_tokens + 1
  local cap = math.min(o.max_num_seqs * states, o.max_cudagraph_capture_size or math.huge)
  local rows = o.max_rows + math.max(o.max_rows, math.min(cap, o.max_num_batched_tokens))
  local tables = o.num_groups * o.max_blocks_per_row * (o.max_requests + o.max_rows)
  local slots = 0 -- a replay may be strict where the recording is not
  for _, n in ipairs(o.num_slots) do slots = math.max(slots, o.check_unique and n or 0) end
  return 2 ^ 15 + 4 * (tables + o.num_groups * rows * (states + 4) + slots) + 160 * rows
    + 20 * o.max_num_batched_tokens
end

local function text(value) return type(value) == "string" and #value <= TEXT and not value:find "%c" end

-- A builder has each option of GIVEN, may have those of OPTIONAL, and no others.
local function builder_problem(given, max_memory)
  if type(given) ~= "table" then return validate.wrong("builder", given, "an object") end
  for _, name in ipairs(GIVEN) do
    if args.absent(given[name]) then return ("builder.%s is missing"):format(name) end
  end
  local problem = validate.unknown(given, { OPTIONAL[1], OPTIONAL[2], OPTIONAL[3], unpack(GIVEN) })
  if problem then return "builder: " .. problem end
  for _, name in ipairs(OPTIONAL) do
    if args.absent(given[name]) then given[name] = nil end -- JSON's null, which no sum takes
  end
  if not text(given.device) then return validate.wrong("builder.device", given.device, "a name") end
  local device = given.device
  given.device = "cpu"
  if type(given.num_slots) ~= "table" then
    return validate.wrong("builder.num_slots", given.num_slots, "a list with one per group")
  end
  local parsed, message = builder_options.parse(given)
  if not parsed then return "builder: " .. validate.short(message) end
  given.device = device
  local bytes = M.memory(given)
  if bytes > max_memory then
    return ("builder: needs up to %.0f MiB of memory, want at most %.0f"):format(bytes / 2 ^ 20,
      max_memory / 2 ^ 20)
  end
end

local function engine_problem(given)
  if type(given) ~= "table" then return validate.wrong("engine", given, "an object") end
  local problem = validate.unknown(given, { "policy", unpack(LIMITS) })
  if problem then return "engine: " .. problem end
  if not text(given.policy) then return validate.wrong("engine.policy", given.policy, "a name") end
  for _, name in ipairs(LIMITS) do
    local value = given[name]
    if name == "chunked_prefill" or name == "async" then
      problem = type(value) ~= "boolean" and validate.wrong("engine." .. name, value, "true or false")
    elseif name ~= "kv_tokens" or value ~= nil then -- that one is optional
      problem = validate.count("engine." .. name, value, 0, 2 ^ 31 - 1)
    end
    if problem then return problem end
  end
end

--- Judge a header.
---@param document any what the first line holds
---@param max_memory number bytes that a builder of it may take
---@return table|nil header
---@return string? message
function M.parse(document, max_memory)
  if type(document) ~= "table" or document.gdnmeta ~= "record" then return nil, "no recording of gdnmeta" end
  local wrong = validate.count("version", document.version, format.OLDEST, format.VERSION)
  if wrong then return nil, wrong .. ", the ones this program reads" end
  local problem = validate.unknown(document, format.HEADER)
    or not text(document.library) and validate.wrong("library", document.library, "a version")
    or builder_problem(document.builder, max_memory) or engine_problem(document.engine)
  if problem then return nil, problem end
  return document
end

return M
