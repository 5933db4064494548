-- What an engine is made of.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local cache_option = require "gdnmeta.engine.cache_option"
local by_key = require "gdnmeta.engine.queue.by_key"
local option_rules = require "gdnmeta.engine.option_rules"
local fifo = require "gdnmeta.engine.queue.fifo"
local by_group = require "gdnmeta.engine.queue.by_group"
local name_numbers = require "gdnmeta.engine.name_numbers"
local option = require "gdnmeta.engine.options"
local outlooks = require "gdnmeta.engine.decide.outlook"
local plans = require "gdnmeta.engine.plan"
local printed = require "gdnmeta.native.printed"
local policy = require "gdnmeta.policy"
local step_hook = require "gdnmeta.engine.hooks.step_hook"
local requests = require "gdnmeta.engine.requests"
local buckets = require "gdnmeta.engine.decide.buckets"
local capture_sizes = require "gdnmeta.engine.decide.capture_sizes"
local token_limits = require "gdnmeta.engine.decide.token_limits"
local text_in = require "gdnmeta.engine.text_in"
local request_memory = require "gdnmeta.engine.request_memory"
local cache_hooks = require "gdnmeta.engine.hooks.cache_hooks"
local host_tier = require "gdnmeta.engine.prefix.host_tier"
local prefix_cache = require "gdnmeta.engine.prefix.prefix_cache"
local kv_blocks = require "gdnmeta.engine.kv_blocks"
local steps = require "gdnmeta.engine.step"
local unmade = require "gdnmeta.engine.unmade"
local upkeeps = require "gdnmeta.engine.decide.upkeep"
local views = require "gdnmeta.engine.hooks.view"
local array_of = require "gdnmeta.array_of"

local int32s, doubles = array_of "int32_t", array_of "double"
local SHOWN_STATS = printed.figures "Stats"

local M = {}

-- Builders whose tables an engine writes, or that read its tables.
local engines = setmetatable({}, { __mode = "kv" })

local function taken_problem(o)
  for _, name in ipairs { "builder", "second_builder" } do
    local builder = o[name]
    if builder ~= nil and engines[builder] then
      return name .. " belongs to another engine, close that first"
    end
  end
end

--- Options checked, every default filled in.
---@return table|nil options, string? problem
function M.options(given)
  local o, problem = option.parse(given)
  problem = problem or taken_problem(o) or option_rules.problem(o) or cache_option.problem(o)
  if problem then return nil, problem end
  return o
end

-- The host's array of accepted counts on the device, by table row. Mode none finds the state from them;
-- a row of a moved `align` window cannot.
local function borrow_accepted(o)
  if o.accepted == nil then return true end
  return o.builder:borrow_device_accepted(o.accepted, o.config.max_requests)
end

local STATS = {
  "arrived", "waiting", "running", "peak_running", "finished", "cancelled", "rejected", "preemptions",
  "steps", "empty_steps", "held", "fallbacks", "failures", "wasted_rows",
  "scheduled", "emitted", "rejected_drafts", "discarded", "abandoned", "wasted_tokens", "padding",
  "hits", "cached_tokens",
}

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

local function work_arrays(self, n)
  self.running, self.items, self.work, self.places = int32s(n), int32s(n), int32s(n), int32s(n)
  self.leaving, self.orders = int32s(n), doubles(n)
end

local function padding(self, o)
  local padded, largest = capture_sizes.table(o.capture_sizes)
  self.padded_size, self.largest_size = padded, largest
  self.full_graphs = o.config.full_cuda_graph == lib.GDN_GRAPH_DECODE
  self.buckets, self.mixed_capture_sizes = buckets.new(o.mixed_capture_sizes), o.mixed_capture_sizes
  self.in_buckets = o.config.full_cuda_graph == lib.GDN_GRAPH_MIXED
  self.rowless = self.in_buckets and steps.new(o.builder, self.steps[1].batch) -- of idle_step
  self.max_rows, self.max_graph_tokens = o.config.max_rows, o.builder.decode_cudagraph_max_bs
  function self.pad(tokens)
    if not (type(tokens) == "number" and tokens >= 0) then error("ctx.pad: want a number of tokens", 2) end
    tokens = math.ceil(tokens)
    local bucket = buckets.pad(self.buckets, tokens)
    if bucket then return bucket end
    return tokens <= largest and padded[tokens] or tokens
  end
end

-- What stays as it is, for the loops that would look it up elsewhere.
local function facts(o)
  local c, on_cpu = o.config, o.builder.device == "cpu"
  local align = c.mamba_cache_mode == lib.GDN_CACHE_ALIGN
  local reads_accepted = o.accepted ~= nil and not align
  return {
    builder = o.builder, second_builder = o.second_builder or false, options = o, config = c,
    stopwatch = o.stopwatch or false, async = o.async, policy_name = "",
    max_num_seqs = o.max_num_seqs, max_num_batched_tokens = o.max_num_batched_tokens,
    admit_after_preemption = o.admit_after_preemption, default_drafts = o.default_drafts,
    preempt_limit = o.preempt_limit,
    ttft = o.ttft, tpot = o.tpot,
    num_spec = c.num_speculative_tokens, align = align, block = c.mamba_block_size,
    reorder_threshold = o.builder.reorder_batch_threshold,
    device_accepted = o.accepted ~= nil, reads_accepted = reads_accepted,
    -- A step may count on drafts in flight if their outcome is known before it runs.
    optimistic = on_cpu or reads_accepted,
  }
end

-- Fields that begin as false, for nil would be an unknown field of an engine, a mistake of the caller.
local UNSET = {
  "oldest", "newest", "queue", "closed", "recording", "policy", "policy_source", "hooks", "observer",
  "any_left", "prefix", "cache", "has_paused", "moves_aside",
  "has_fixes", -- a step in flight counts on drafts that were rejected
  "is_hungry", -- a running request found no memory after the admissions
  "is_tight", -- a request was preempted for memory, and no token was emitted since
  "is_bare", "is_bare_known", -- nothing that it calls can yield, see main_thread.lua
  "is_open", "is_opened", "obeys_holds", -- of one packing
}
-- Fields that begin as 0.
local COUNTS = {
  "now", "step_number", "verify_round", "arrivals", "num_running", "in_flight", "num_keeps",
  "of_use", -- tokens computed for requests that finished, without those that are counted apart
  "slots_coming", "kv_coming", "pause_turn", "looks",
  "roster", "held_steps", -- changes of the running list; steps with held requests only
  "heard", -- the last step that a policy of whole steps planned
  "claimant", "claim_roster", -- which arrival no request may be evicted for, while those run
}

-- What changes from step to step.
local function begin(self, r)
  self.requests, self.fifo, self.users, self.classes = r, fifo.new(r), name_numbers.new(), name_numbers.new()
  for _, name in ipairs(UNSET) do self[name] = false end
  for _, name in ipairs(COUNTS) do self[name] = 0 end
  self.turn, self.policy_enabled = 1, true
  self.starved_before = requests.NONE -- a prompt that the decodes of the last step left too little for
  self.gone, self.announced, self.stats = {}, {}, setmetatable({}, SHOWN_STATS)
  self.observers = {}
  -- What checkpoint() gave -> what it stands for: the host's own table proves nothing. Pinned: not released.
  self.checkpoints, self.pinned = setmetatable({}, { __mode = "k" }), {}
  for _, name in ipairs(STATS) do self.stats[name] = 0 end
end

local function limits_of(self, o)
  return token_limits.new(self.requests, {
    max_model_len = o.max_model_len, chunked = o.chunked_prefill, threshold = o.long_prefill_token_threshold,
    align = self.align, block = self.block, num_spec = self.num_spec, optimistic = self.optimistic,
    sync = not o.async,
  })
end

-- Callbacks of the engine run in the middle of a change, and must not free what is being changed.
local function hold(self, cursor)
  self.builder.cursor = cursor
  if self.second_builder then self.second_builder.cursor = cursor end
  for _, step in ipairs(self.steps) do step.batch:hold(cursor ~= false) end
end

-- The second builder reads its own tables again.
local function return_tables(second, num_groups)
  if not second or not second.handle then return end
  for group = 0, num_groups - 1 do second:borrow_table(group, nil) end
end

-- Those that the engine owns; false: none, blocks are only counted. A mapping for each step, and idle_step's.
local function make_blocks(o)
  if not o.kv_blocks then return false end
  return kv_blocks.new(o, (o.async and 2 or 1) + 1)
end

local function total_blocks(o)
  return o.kv_blocks or o.kv_tokens and math.floor(o.kv_tokens / o.kv_block_size)
end

local function show_blocks(self)
  self.max_kv_blocks = self.kv_blocks and self.kv_blocks.columns or 0
  if not self.kv_blocks then return end
  for n, step in ipairs(self.steps) do self.kv_blocks:show(step, n - 1) end
  if self.rowless then self.kv_blocks:show(self.rowless, #self.steps) end
end

-- Everything but the policy.
local function state(o)
  local r, self = requests.new(o.max_num_seqs), facts(o)
  begin(self, r)
  local tables, ok, message, code
  tables, message, code = state_tables(o)
  if not tables then return nil, message, code end
  ok, message, code = borrow_accepted(o)
  if not ok then return nil, message, code end
  self.kv_blocks, message, code = make_blocks(o)
  if self.kv_blocks == nil then return nil, message, code end
  self.states, message, code = request_memory.new(r, o.config, tables, total_blocks(o), o.kv_block_size,
                                                  self.kv_blocks)
  if not self.states then return nil, message, code end
  self.states:fit(o)
  if o.hash_block_size then
    self.prefix, message, code = prefix_cache.new(self, o)
    if not self.prefix then return nil, message, code end
    self.states.prefix, self.moves_aside = self.prefix, self.async and not self.align
  end
  self.steps, message, code = make_steps(o)
  if not self.steps then return nil, message, code end
  if self.prefix then self.prefix.host = host_tier.new(self.prefix, o) end
  work_arrays(self, o.max_num_seqs)
  self.text = text_in.new(o.config.max_rows, 1 + self.num_spec)
  padding(self, o)
  show_blocks(self)
  self.token_limits = limits_of(self, o)
  self.token_limits.prefix = self.prefix
  self.plan = plans.new(r, self.states, o.max_num_seqs, math.floor(o.kv_watermark * self.states.total_kv),
                        outlooks.new(self, o.kv_headroom), upkeeps.new(self))
  self.view = views.new(self, o)
  if self.prefix and o.cache then
    self.prefix.hooks = cache_hooks.new(self, o.cache, o, o.hash_block_size)
  end
  self.policy_view, self.policy_plan = step_hook.new(self, self.view)
  engines[o.builder] = self
  hold(self, self.view.cursor)
  if o.second_builder then engines[o.second_builder] = self end
  return self
end

-- The builders are the host's again.
local function give_back(o) return_tables(o.second_builder, o.config.num_groups) end

--- Everything but the policy.
---@return table|nil self, string? message, integer? code
function M.state(o) return unmade.call(state, give_back, o) end

---@return table|nil policy, string? message
function M.policy(what)
  local ok, made, message = pcall(policy, what)
  if not ok then return nil, made end
  return made and made:fresh(), message
end

--- The order of the waiting requests that a policy asks for, still empty; false: by arrival.
---@return table|boolean|nil queue nil: no memory
function M.queue(self, p)
  if not p.key then return false end
  local kind = p.group and by_group or by_key
  return kind.new(self.requests, self.fifo, p, self.options.rekey_limit)
end

function M.release(self)
  engines[self.builder] = nil
  hold(self, false)
  if self.second_builder then engines[self.second_builder] = nil end
  for _, step in ipairs(self.steps) do step.batch:close() end
  if self.device_accepted and self.builder.handle then self.builder:borrow_device_accepted(nil) end
  return_tables(self.second_builder, self.config.num_groups)
end

return M
