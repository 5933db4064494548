-- What a worker builds of a record alone is what the engine has built, in every element: over random runs of
-- engines, with and without drafts, windows, groups, buckets, forks and a state cache, one step at a time or
-- two.
local gdn = require "gdnmeta"
local fields = require("gdnmeta.native.schema").fields
local lib = require "gdnmeta.native"
local libc = require "gdnmeta.native.libc"
local play = require "spec.support.random_traffic"
local records = require "spec.support.step_records"
local compared = require "spec.support.compare"
local until_met = require "spec.support.until_met"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 200)
local POLICIES = { "fcfs", "decode_first", "shortest_prefill", "fair" }

local function first_seed() return tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24 end

-- A builder of what a hello says, as a worker makes it.
local function builder_of(hello)
  local c = hello.config
  local function named(of, value)
    for word, number in pairs(of) do
      if number == value then return word end
    end
  end
  local slots = {}
  for g = 0, c.num_groups - 1 do slots[g + 1] = c.num_slots[g] end
  return assert(gdn.builder {
    device = "cpu", num_slots = slots, num_groups = c.num_groups, max_num_seqs = c.max_num_seqs,
    max_num_batched_tokens = c.max_num_batched_tokens, max_rows = c.max_rows, max_requests = c.max_requests,
    num_speculative_tokens = c.num_speculative_tokens, num_speculative_blocks = c.num_speculative_blocks,
    max_blocks_per_row = c.max_blocks_per_row, mamba_block_size = c.mamba_block_size,
    mamba_cache_mode = named({ none = 0, align = 1, all = 2 }, c.mamba_cache_mode),
    full_cuda_graph = ({ [0] = false, true, "mixed" })[c.full_cuda_graph], pad_slot_id = c.pad_slot_id,
    query_start_loc_dtype = c.query_start_loc_dtype == 1 and "int64" or "int32",
  })
end

local BYTES = { int32 = 4, int64 = 8, bool = 1, uint8 = 1 }

-- The first tensor that differs in dtype, shape or a byte; nil: none.
local function difference(want, got, num_groups)
  for _, name in ipairs(fields.tensors) do
    for group = 0, want[name] and fields.per_group[name] and num_groups - 1 or 0 do
      local a, b = want:group(group)[name], got:group(group)[name]
      if (a == nil) ~= (b == nil) then return name end
      if a and (a.dtype ~= b.dtype or #a ~= #b or a.rows ~= b.rows
                or libc.libc_memcmp(a.data, b.data, #a * BYTES[a.dtype]) ~= 0) then
        return ("%s of group %d"):format(name, group)
      end
    end
  end
end

local Worker = {}
Worker.__index = Worker

-- Pack the step, take it apart, build, and compare.
function Worker:follow(step, where)
  local builder = step.builder
  local memory, bytes, code = records.pack(builder, step, self.hello)
  assert(memory, where .. ": " .. tostring(bytes) .. tostring(code))
  local record, why = records.unpack(memory, bytes, self.hello)
  assert(record, where .. ": " .. tostring(why))
  local status = lib.gdn_step_batch(record, self.builder.handle, self.batch.rows, records.why, 512)
  assert(status == 0, records.said())
  local built = assert(self.builder:build(self.batch))
  for _, name in ipairs(compared.SCALARS) do
    assert.are.equal(step.metadata[name], built[name], where .. " " .. name)
  end
  assert.is_nil(difference(step.metadata, built, builder.num_groups), where)
  self.steps, self.bring = self.steps + 1, self.bring + record.num_bring
end

local function run(c, where, policy, opts)
  local engine = play.engine(c, policy)
  local hello = records.hello(engine.builder)
  local worker = setmetatable({ hello = hello, builder = builder_of(hello), steps = 0, bring = 0 }, Worker)
  worker.batch = assert(worker.builder:batch())
  opts.engine, opts.where, opts.requests = engine, where, play.requests(c, math.random(1, 30))
  local function look(step)
    if step.num_rows == 0 then return end
    worker:follow(step, ("%s step %d"):format(where, step.number))
  end
  opts.on_step = look
  -- A step that was planned on drafts which were then rejected was built again.
  opts.on_complete = function()
    local private = engine.private
    if private.in_flight == 1 then look(private.oldest) end
  end
  play.run(c, opts)
  engine:close()
  return worker
end

describe("A worker builds of records alone what the engine builds", function()
  local function compare(name, change, opts)
    it(name, function()
      until_met(first_seed(), CASES, { steps = CASES * 5, bring = 1 }, function(case, met)
        math.randomseed(case)
        local c, where = play.configuration(), ("GDN_SEED=%d"):format(case)
        change(c)
        local o = {}
        for key, value in pairs(opts or {}) do o[key] = value end
        local worker = run(c, where, POLICIES[math.random(#POLICIES)], o)
        met.steps, met.bring = met.steps + worker.steps, met.bring + worker.bring
      end)
    end)
  end
  compare("in modes none and align, with drafts and checkpoints", function() end, { cancel = 0.05 })
  compare("with two steps in flight", function(c) c.async = true end, { cancel = 0.05 })
  compare("in buckets", play.in_buckets)
  compare("with forks and states that move", function(c) c.forks = true end, { forks = 0.3 })
  compare("with a state cache", function(c)
    c.hash_block, c.kv_tokens, c.owns_blocks = c.block, nil, false
  end, { checkpoints = false })
end)
