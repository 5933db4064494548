-- What an engine is made of. Checks that span the options and the builder stand here.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local check = require "gdnmeta.check"
local by_key = require "gdnmeta.engine.by_key"
local fifo = require "gdnmeta.engine.fifo"
local lanes = require "gdnmeta.engine.lanes"
local names = require "gdnmeta.engine.names"
local option = require "gdnmeta.engine.options"
local plans = require "gdnmeta.plan"
local policy = require "gdnmeta.policy"
local proposal = require "gdnmeta.engine.proposal"
local requests = require "gdnmeta.requests"
local sizes = require "gdnmeta.engine.sizes"
local sizings = require "gdnmeta.engine.sizing"
local states = require "gdnmeta.engine.states"
local steps = require "gdnmeta.engine.step"
local views = require "gdnmeta.engine.view"

local config_t = ffi.typeof "gdn_config"
local int32s = ffi.typeof "int32_t[?]"

local M = {}

-- Builders whose tables an engine writes.
local engines = setmetatable({}, { __mode = "kv" })

local function config_of(builder)
  local config = config_t()
  lib.gdn_builder_config(builder.handle, config)
  return config
end

local function builder_problem(name, builder)
  if type(builder) ~= "table" or type(builder.build) ~= "function" or not builder.rules then
    return name .. ": want a gdnmeta builder"
  end
  if not builder.handle then return name .. " is closed" end
  if builder.rules ~= "strict" then return ("%s rules = %s, want strict"):format(name, builder.rules) end
  for group = 0, builder.num_groups - 1 do
    if name == "builder" and lib.gdn_builder_table(builder.handle, group) == nil then
      return ("builder: group %d borrows its table, want its own"):format(group)
    end
  end
end

local SHARED = { "device", "max_num_batched_tokens", "max_rows", "num_speculative_tokens", "full_cuda_graph",
                 "max_cudagraph_capture_size", "max_num_seqs", "mamba_cache_mode", "mamba_block_size",
                 "num_speculative_blocks", "num_groups", "max_requests", "max_blocks_per_row",
                   "parallel_drafting",
                 "decode_context_parallel_size" }

local function second_problem(o)
  local on_cpu = o.builder.device == "cpu"
  if o.accepted ~= nil and (on_cpu or not o.async) then
    return "accepted is for async = true on a CUDA builder"
  end
  if not o.second_builder then
    return o.async and on_cpu and "async on the CPU wants second_builder" or nil
  end
  if not o.async or not on_cpu then return "second_builder is for async = true on the CPU" end
  if o.second_builder == o.builder then return "second_builder is builder itself, want another" end
  local problem = builder_problem("second_builder", o.second_builder)
  if problem then return problem end
  local a, b = o.config, config_of(o.second_builder)
  for _, name in ipairs(SHARED) do
    if a[name] ~= b[name] then
      return ("second_builder has %s = %d, want %d as in builder"):format(name, b[name], a[name])
    end
  end
end

local function at_most(o, name, most, whose)
  if o[name] > most then return check.wrong(name, o[name], ("at most %d (%s)"):format(most, whose)) end
end

local function at_least(o, name, least, what)
  if o[name] < least then return check.wrong(name, o[name], ("at least %d (%s)"):format(least, what)) end
end

-- Limits of the engine within those of the builder.
local function limits_problem(o)
  local c = o.config
  local seats, spec = math.min(c.max_rows, c.max_requests), c.num_speculative_tokens
  o.max_num_seqs = o.max_num_seqs or math.min(c.max_num_seqs, seats)
  o.max_num_batched_tokens = o.max_num_batched_tokens or c.max_num_batched_tokens
  o.drafts = o.drafts or spec
  if spec > 0 and o.builder.reorder_batch_threshold <= spec then
    return "decode_context_parallel_size > 1 with speculation: drafts would not stand among the decodes"
  end
  return at_most(o, "max_num_seqs", seats, "the builder's rows and requests")
    or at_most(o, "max_num_batched_tokens", c.max_num_batched_tokens, "the builder's")
    or at_least(o, "max_num_batched_tokens", o.max_num_seqs, "max_num_seqs")
    or at_most(o, "drafts", spec, "num_speculative_tokens")
end

local function pools_problem(o, need)
  for group = 0, o.config.num_groups - 1 do
    local slots = o.config.num_slots[group]
    if slots <= need then
      return ("num_slots of group %d = %d, want at least %d"):format(group, slots, need + 1)
    end
  end
end

-- Blocks, tables and pools must let a single request go on, whatever it does.
local function mode_problem(o)
  local c = o.config
  local spec, block = c.num_speculative_tokens, c.mamba_block_size
  if c.mamba_cache_mode == lib.GDN_CACHE_ALL then
    return 'mamba_cache_mode = "all", want "none" or "align"'
  elseif c.mamba_cache_mode == lib.GDN_CACHE_NONE then
    o.max_model_len, o.kv_block_size = o.max_model_len or 32768, o.kv_block_size or 16
    return pools_problem(o, spec + 1)
  end
  local holds = (c.max_blocks_per_row - c.num_speculative_blocks) * block
  o.max_model_len, o.kv_block_size = o.max_model_len or math.min(holds, 2 ^ 30), o.kv_block_size or block
  if spec >= block then return check.wrong("num_speculative_tokens", spec, "less than mamba_block_size") end
  return pools_problem(o, spec + 2 + (o.async and 2 or 0))
    or at_most(o, "max_model_len", holds + 1, "max_blocks_per_row")
    or at_least(o, "max_num_batched_tokens", block, "mamba_block_size")
    or o.long_prefill_token_threshold > 0 and at_least(o, "long_prefill_token_threshold", block,
                                                       "mamba_block_size")
    or nil
end

local function sizes_problem(o)
  local c, list = o.config, o.capture_sizes
  if not list then
    local largest = c.max_cudagraph_capture_size > 0 and c.max_cudagraph_capture_size or nil
    list = c.full_cuda_graph == 1
      and sizes.usual(o.max_num_seqs, c.num_speculative_tokens, o.max_num_batched_tokens, largest) or {}
    o.capture_sizes = list
  end
  local largest = list[#list] or 0
  if largest > c.max_num_batched_tokens then
    return ("capture_sizes go up to %d, want at most %d, the builder's max_num_batched_tokens"):format(
      largest, c.max_num_batched_tokens)
  end
end

--- Options checked against each other and the builder, every default filled in.
---@return table|nil options, string? problem
function M.options(given)
  local o, problem = option.parse(given)
  if not o then return nil, problem end
  problem = builder_problem("builder", o.builder)
  if problem then return nil, problem end
  if engines[o.builder] then return nil, "builder belongs to another engine, close that first" end
  o.config = config_of(o.builder)
  problem = second_problem(o) or limits_problem(o) or mode_problem(o) or sizes_problem(o)
  if problem then return nil, problem end
  return o
end

-- The host's array of accepted counts on the device, by table row. Mode none finds the state from them;
-- a row of a moved `align` window cannot.
local function borrow_accepted(o)
  if o.accepted == nil then return true end
  return o.builder:borrow_device_accepted(o.accepted, o.config.max_requests)
end

local STATS = { "arrived", "waiting", "running", "finished", "cancelled", "rejected", "steps", "empty_steps",
                "scheduled", "emitted", "rejected_drafts", "discarded", "abandoned", "wasted_rows",
                  "wasted_tokens",
                "preemptions", "padding", "failures", "fallbacks", "peak_running" }

-- One step at a time; in asynchronous mode two, each with a batch and, on the CPU, a builder of its own.
local function make_steps(o)
  local list = {}
  for n = 1, o.async and 2 or 1 do
    local builder = n == 2 and o.second_builder or o.builder
    local batch, message, code = builder:batch()
    if not batch then return nil, message, code end
    list[n] = steps.new(builder, batch)
  end
  return list
end

local function state_tables(o)
  local tables = {}
  for group = 0, o.config.num_groups - 1 do
    local cells = lib.gdn_builder_table(o.builder.handle, group)
    ffi.fill(cells, 4 * o.config.max_requests * o.config.max_blocks_per_row)
    tables[group] = cells
    if o.second_builder then
      local ok, message, code = o.second_builder:borrow_table(group, cells, o.config.max_blocks_per_row,
                                                              o.config.max_requests)
      if not ok then return nil, message, code end
    end
  end
  return tables
end

local function scratch(self, n)
  self.items, self.work, self.places, self.order = int32s(n), int32s(n), int32s(n), int32s(n)
  self.counts, self.running = int32s(8), int32s(n)
end

local function padding(self, o)
  local padded, largest = sizes.table(o.capture_sizes)
  self.padded_size, self.largest_size = padded, largest
  self.full_graphs = o.config.full_cuda_graph == 1
  self.max_rows, self.max_graph_tokens = o.config.max_rows, o.builder.decode_cudagraph_max_bs
  function self.pad(tokens)
    if not (type(tokens) == "number" and tokens >= 0) then error("ctx.pad: want a number of tokens", 2) end
    tokens = math.ceil(tokens)
    return tokens <= largest and padded[tokens] or tokens
  end
end

--- Everything but the policy.
---@return table|nil self, string? message, integer? code
function M.state(o)
  local c = o.config
  local r = requests.new(math.max(64, 2 * o.max_num_seqs))
  local tables, message, code = state_tables(o)
  if not tables then return nil, message, code end
  local ok
  ok, message, code = borrow_accepted(o)
  if not ok then return nil, message, code end
  local align = c.mamba_cache_mode == lib.GDN_CACHE_ALIGN
  local reads_accepted = o.accepted ~= nil and not align
  local self = {
    builder = o.builder, second_builder = o.second_builder, options = o, config = c, requests = r,
    max_num_seqs = o.max_num_seqs, max_num_batched_tokens = o.max_num_batched_tokens,
    admit_after_preemption = o.admit_after_preemption, stopwatch = o.stopwatch, default_drafts = o.drafts,
    ttft = o.ttft, tpot = o.tpot, num_spec = c.num_speculative_tokens, block = c.mamba_block_size,
    align = align, device_accepted = o.accepted ~= nil, reads_accepted = reads_accepted,
      reorder_threshold = o.builder.reorder_batch_threshold,
    now = 0, step_number = 0, num_running = 0, in_flight = 0, turn = 1, proof = 0, arrivals = 0,
      num_fixes = 0,
    slots_coming = 0, kv_coming = 0, any_left = false, policy_disabled = false,
    gone = {}, pinned = {}, announced = {}, stats = {}, users = names.new(), classes = names.new(),
      fifo = fifo.new(r),
  }
  for _, name in ipairs(STATS) do self.stats[name] = 0 end
  self.states, message, code = states.new(r, c, tables, o.kv_tokens, o.kv_block_size)
  if not self.states then return nil, message, code end
  self.steps, message, code = make_steps(o)
  if not self.steps then return nil, message, code end
  scratch(self, o.max_num_seqs)
  padding(self, o)
  self.sizing = sizings.new(r, {
    max_model_len = o.max_model_len, chunked = o.chunked_prefill, threshold = o.long_prefill_token_threshold,
    align = self.align, block = self.block, num_spec = self.num_spec, optimistic = o.builder.device == "cpu"
      or reads_accepted,
  })
  self.plan = plans.new(r, self.states, o.max_num_seqs, math.floor(o.kv_watermark * self.states.total_kv))
  self.view = views.new(self, o)
  self.see, self.propose = proposal.new(self, self.view)
  engines[o.builder] = self
  return self
end

---@return table|nil policy, string? message
function M.policy(what)
  local ok, made, message = pcall(policy, what)
  if not ok then return nil, made end
  return made, message
end

--- The order of the waiting requests that the policy asks for; nil: by arrival.
function M.queue(self)
  local p, limit = self.policy, self.options.rekey_limit
  if not p.key then return nil end
  local kind = p.group and lanes or by_key
  return kind.new(self.requests, self.fifo, p, self.hooks, limit)
end

function M.release(self)
  engines[self.builder] = nil
  for _, step in ipairs(self.steps) do step.batch:close() end
  if self.device_accepted and self.builder.handle then self.builder:borrow_device_accepted(nil) end
  if self.second_builder and self.second_builder.handle then
    for group = 0, self.config.num_groups - 1 do self.second_builder:borrow_table(group, nil) end
  end
end

return M
