--- The builder: made once, owns the arena and the state tables, turns batches into metadata.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local batches = require "gdnmeta.batch"
local bring = require "gdnmeta.builder.bring"
local args = require "gdnmeta.native.args"
local bucket = require "gdnmeta.builder.bucket"
local verify = require "gdnmeta.builder.verify"
local device_inputs = require "gdnmeta.builder.device_inputs"
local status_message = require "gdnmeta.builder.status_message"
local metadata = require "gdnmeta.metadata"
local options = require "gdnmeta.builder.options"
local owned = require "gdnmeta.native.owned"
local vllm_arguments = require "gdnmeta.builder.vllm_arguments"
local methods = require "gdnmeta.native.methods"
local schema = require "gdnmeta.native.schema"
local state_tables = require "gdnmeta.builder.state_tables"

local config_t = ffi.typeof "gdn_config"
local info_t = ffi.typeof "gdn_builder_info"
local builder_out_t = ffi.typeof "gdn_builder *[1]"
local batch_out_t = ffi.typeof "gdn_batch *[1]"
local shapes_t = ffi.typeof "gdn_metadata[1]"
local bytes_t = ffi.typeof "int64_t[1]"
local why_t = ffi.typeof "char[512]"
local stamp_t = ffi.typeof "double[1]"

-- Anchors `lib`: cdata finalizers may run after every other reference to the library is gone.
local function builder_free(handle) lib.gdn_builder_free(handle) end

---@class gdnmeta.Builder
---@field metadata gdnmeta.Metadata of the last successful build
---@field device string "cpu" or "cuda:N"
---@field rules string "strict" or the release of vLLM whose values it builds
---@field num_groups integer cache groups
---@field num_slots integer[] slots of each group's pool, the null slot included
---@field num_spec integer S, drafts per row at most
---@field max_rows integer
---@field max_num_batched_tokens integer
---@field max_requests integer rows of a state table
---@field max_blocks_per_row integer columns of a state table
---@field decode_cudagraph_max_bs integer rows of the largest captured decode step; 0: none is captured
---@field full_cuda_graph boolean|string as it was given: true, false or "mixed"
---@field reorder_batch_threshold integer query_len up to which a row may be a decode
---@field bytes integer memory of its arena and tables
local Builder = methods.Builder
local opened = methods.builder
methods.strict("Builder", Builder, nil, {
  check_result = { "take_check_result", function() return verify.old.check_result end },
  device_error = { "take_device_error", function() return device_inputs.old.device_error end },
})
for name, method in pairs(state_tables) do Builder[name] = method end
for name, method in pairs(device_inputs.methods) do Builder[name] = method end
for name, method in pairs(verify.methods) do Builder[name] = method end
for name, method in pairs(bring.methods) do Builder[name] = method end

-- A build succeeded: views of the step before are stale from here on.
local function succeeded(self)
  local stamp = self.core.stamp
  stamp[0] = stamp[0] + 1
  return self.metadata
end

local function stream_error(method, stream)
  error(("gdnmeta.Builder:%s: %s"):format(method, args.wrong("stream", stream, "nil or a pointer")), 3)
end

-- Callbacks of an engine that works on the builder run in the middle of its step, whose metadata this is.
local function refuse_callback(self, method)
  local hook = self.cursor and self.cursor.hook
  if hook then error(("gdnmeta.Builder:%s: called by %s"):format(method, methods.caller(hook)), 3) end
end

--- An empty batch for this builder.
---@return gdnmeta.Batch|nil batch
---@return string? message
---@return integer? code
function Builder:batch()
  local handle = opened(self, "batch")
  local out = batch_out_t()
  local status = lib.gdn_batch_new(handle, out)
  if status ~= 0 then return nil, ffi.string(lib.gdn_strstatus(status)), tonumber(status) end
  return batches.new(out[0], self.token, self.table_rows, self.max_num_batched_tokens)
end

local function not_a_batch(self, batch)
  if not batches.is_batch(batch) then
    error("gdnmeta.Builder:build: " .. args.wrong("batch", batch, "a batch of this builder"), 3)
  elseif batch.owner ~= self.token then
    error("gdnmeta.Builder:build: the batch belongs to another builder", 3)
  end
  error("gdnmeta.Builder:build: the batch is closed", 3)
end

--- Build the metadata of a batch. The object is the same every time, and shows this step until the
--- next build that succeeds; one that fails leaves it as it was.
---@param batch table
---@param stream ffi.cdata*|lightuserdata|nil CUDA stream
---@return gdnmeta.Metadata|nil metadata
---@return string? message
---@return integer? code
function Builder:build(batch, stream)
  local handle = opened(self, "build")
  refuse_callback(self, "build")
  local rows = type(batch) == "table" and rawget(batch, "rows")
  if not rows or rawget(batch, "owner") ~= self.token then not_a_batch(self, batch) end
  if stream ~= nil and not args.pointer(stream) then stream_error("build", stream) end
  local status = lib.gdn_build(handle, rows, stream)
  if status ~= 0 then return status_message(handle, status) end
  return succeeded(self)
end

-- build_raw and capture, which differ in the C function alone.
local function from_arguments(method, build)
  return function(self, inputs, stream)
    opened(self, method)
    refuse_callback(self, method)
    if stream ~= nil and not args.pointer(stream) then stream_error(method, stream) end
    local arguments, message = self.raw:fill(inputs)
    if not arguments then error(("gdnmeta.Builder:%s: %s"):format(method, message), 2) end
    local handle = opened(self, method) -- `inputs` may have closed it
    local status = build(handle, arguments, stream)
    if status ~= 0 then return status_message(handle, status) end
    return succeeded(self)
  end
end

--- Build from the reference builder's own arguments: query_start_loc, seq_lens, block_table,
--- block_table_cols, num_reqs, num_actual_tokens, max_query_len, num_accepted_tokens,
--- num_decode_draft_tokens, and prompt_done and read_column. Arrays are lists, int32_t[n] or { pointer,
--- elements }; block_table is a list of rows, or flat memory of block_table_cols columns whose rows lie
--- block_table_stride elements apart (default: the columns), or one of these a group. Sizes have defaults.
---@param inputs table
---@param stream ffi.cdata*|lightuserdata|nil CUDA stream
---@return gdnmeta.Metadata|nil metadata
---@return string? message
---@return integer? code
---@function Builder:build_raw
Builder.build_raw = from_arguments("build_raw", lib.gdn_build_raw)

local capture = from_arguments("capture", lib.gdn_capture)

local function capture_bucket(self, rows, tokens, stream)
  local handle = opened(self, "capture")
  local status = lib.gdn_capture_bucket(handle, rows, tokens, stream)
  if status ~= 0 then return status_message(handle, status) end
  return succeeded(self)
end

--- Build the step that a CUDA graph is captured with; inputs as for build_raw. Where full_cuda_graph is
--- "mixed", { rows =, tokens = } of a bucket: its step without rows, which an idle rank runs as well.
---@param inputs table
---@param stream ffi.cdata*|lightuserdata|nil CUDA stream
---@return gdnmeta.Metadata|nil metadata
---@return string? message
---@return integer? code
function Builder:capture(inputs, stream)
  opened(self, "capture")
  refuse_callback(self, "capture")
  if self.full_cuda_graph ~= "mixed" then
    local message = bucket.refused(inputs)
    if message then error("gdnmeta.Builder:capture: " .. message, 2) end
    return capture(self, inputs, stream)
  end
  if stream ~= nil and not args.pointer(stream) then stream_error("capture", stream) end
  local rows, tokens = bucket.sizes(inputs)
  if not rows then error("gdnmeta.Builder:capture: " .. tokens, 2) end
  return capture_bucket(self, rows, tokens, stream) -- `inputs` may have closed it
end

--- Free everything now. The collector frees a builder that is unreachable.
function Builder:close()
  if getmetatable(self) ~= Builder then methods.colon("Builder", "close") end
  refuse_callback(self, "close")
  if self.handle then
    self.core.release(self.handle)
    self.raw:close()
  end
end

function Builder:__tostring()
  return ("gdnmeta.Builder(device=%s, rules=%s, max_rows=%d, max_num_batched_tokens=%d%s)"):format(
    self.device, self.rules, self.max_rows, self.max_num_batched_tokens, self.handle and "" or ", closed")
end

local FACTS = { "bytes", "decode_cudagraph_max_bs", "num_spec", "reorder_batch_threshold", "max_rows",
                "max_num_batched_tokens", "max_requests", "max_blocks_per_row", "num_groups" }

-- The handle is freed: views, too, must not lead to it. They outlive the builder by its core.
local function forget(core)
  core.handle, core.stamp[0] = nil, -math.huge
  if core.builder[1] then core.builder[1].handle = false end
end

local GRAPH
for _, option in ipairs(schema.options) do GRAPH = option.name == "full_cuda_graph" and option or GRAPH end

-- What a builder keeps of its configuration: slots of each group's pool, the null slot included.
local function keep_config(self, pointer)
  local config, list = config_t(), {}
  lib.gdn_builder_config(pointer, config)
  for group = 1, self.num_groups do list[group] = config.num_slots[group - 1] end
  self.num_slots, self.full_cuda_graph = list, options.given(config, GRAPH)
end

local function wrap(pointer)
  local info = info_t()
  lib.gdn_builder_describe(pointer, info)
  local core = { stamp = stamp_t(), on_device = info.device >= 0 }
  core.handle, core.release = owned.new(pointer, builder_free, core, forget)
  local self = { handle = core.handle, core = core, token = {}, borrowed = {}, cursor = false,
                 rules = options.NAMES.rules[info.rules + 1],
                 device = info.device < 0 and "cpu" or "cuda:" .. info.device }
  core.builder = setmetatable({ self }, { __mode = "v" })
  for _, name in ipairs(FACTS) do self[name] = tonumber(info[name]) end
  keep_config(self, pointer)
  self.table_rows, self.own_tables = { least = self.max_requests }, {}
  self.raw = vllm_arguments.new(self.num_groups)
  self.metadata = metadata.new(core, lib.gdn_builder_metadata(pointer), self.num_groups)
  return setmetatable(self, Builder)
end

-- Calls a function of the core with the options as a configuration; what it wrote into out.
local function ask(name, given, call, out)
  local wanted, message = options.parse(given)
  if not wanted then error(("gdnmeta.%s: %s"):format(name, message), 3) end
  local config, why = config_t(), why_t()
  config.size = ffi.sizeof(config_t)
  for field, value in pairs(wanted) do config[field] = value end
  local status = call(config, out, why, ffi.sizeof(why))
  wanted.num_slots = nil -- not before: the configuration points to it
  if status ~= 0 then return nil, ffi.string(why), tonumber(status) end
  return out[0]
end

local M = {}

--- Builder:capture of sizes that have been checked, for an engine: it takes no table, which would be garbage.
M.capture_bucket = capture_bucket

--- Make a builder. Options and their defaults stand in builder/options.lua.
---@param given table
---@return gdnmeta.Builder|nil builder
---@return string? message
---@return integer? code
function M.new(given)
  local pointer, message, code = ask("builder", given, lib.gdn_builder_new, builder_out_t())
  if not pointer then return nil, message, code end
  return wrap(pointer)
end

--- How many bytes a builder of these options will take, on the host and the device together, as builder.bytes
--- tells it afterwards. Device "auto" counts as "cuda", which takes more than the CPU.
---@param given table
---@return number|nil bytes
---@return string? message
---@return integer? code
function M.bytes(given)
  local bytes, message, code = ask("builder_bytes", given, lib.gdn_builder_bytes, bytes_t())
  if not bytes then return nil, message, code end
  return tonumber(bytes)
end

--- The shapes of a bucket, before there is a builder: num_rows, num_actual_tokens and num_tiles, and of each
--- tensor by its name { shape = { n } or { n, m }, dtype =, per_group = }.
---@param rows integer R, padding included
---@param tokens integer T, padding included
---@param given table|nil options of the builder; full_cuda_graph is "mixed" if it is not given
---@return table|nil bucket
---@return string? message
---@return integer? code
function M.bucket(rows, tokens, given)
  local message = bucket.wrong(rows, tokens)
  if message then error("gdnmeta.bucket: " .. message, 2) end
  local function call(config, to, why, size) return lib.gdn_bucket(config, rows, tokens, to, why, size) end
  local out = shapes_t() -- what out[0] refers to lives as long as this
  local asked, why, code = ask("bucket", bucket.options(given), call, out)
  if not asked then return nil, why, code end
  return bucket.shapes(out)
end

return M
