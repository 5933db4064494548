-- An engine's steps as records. Nothing here allocates once the worker is made.
local ffi = require "ffi"
local lib = require "gdnmeta.worker.native"
local array_of = require "gdnmeta.array_of"
local c_buffers = require "gdnmeta.native.c_buffers"

local int32s, int64s, uint64s = array_of "int32_t", array_of "int64_t", array_of "uint64_t"
local floats = array_of "float"
local record_t = ffi.typeof "gdn_step_record"
local sent_t = array_of "gdn_kv_sent"
local max = math.max

local GRAPHS = { eager = 0, piecewise = 1, full = 2 }
local ROWS, IDLE, STOP = tonumber(lib.GDN_STEP_ROWS), tonumber(lib.GDN_STEP_IDLE), tonumber(lib.GDN_STEP_STOP)
local why_t = ffi.typeof "char[512]"
local WHY = ffi.sizeof(why_t)

local Pack = {}
Pack.__index = Pack

--- A worker that knows nothing yet of the kv table.
function Pack:forget()
  ffi.fill(self.sent, ffi.sizeof "gdn_kv_sent" * self.hello.config.max_requests, 0xff)
end

-- Changes of the kv table that the step's rows need.
local function changes(self, step)
  local e, columns = self.engine, self.hello.kv_columns
  if columns == 0 then return 0 end
  local size, owner, used, epoch = self.hello.kv_block_size, self.owner, self.used, step.epoch
  for row = 0, step.num_rows - 1 do
    owner[row] = step.request[row] * 2147483648 + epoch[row]
    used[row] = math.ceil(step.seq_len[row] / size)
  end
  return lib.gdn_kv_changes(step.num_rows, step.table_row, owner, used, step.kv_table, e.config.max_requests,
                            columns, self.sent, self.changes, self.max_changes)
end

local function copies(self, step)
  local list, out = step.kv_copies, self.copies
  for k = 1, math.min(#list, self.hello.max_kv_copies) do
    out[2 * k - 2], out[2 * k - 1] = list[k].from, list[k].to
  end
  return #list
end

local function branches(metadata)
  return (metadata.num_spec_decodes > 0 and 1 or 0) + (metadata.num_decodes > 0 and 2 or 0)
    + (metadata.num_prefills > 0 and 4 or 0)
end

local function set_arrays(self, step, tokens, sampling)
  local record = self.record
  record.tokens = tokens
  record.temperature = sampling and sampling.temperature or self.temperature
  record.top_p = sampling and sampling.top_p or self.top_p
  record.seed = sampling and sampling.seed or self.seed
  record.samples = step.samples
  local tie, request = self.engine.requests.tie, self.request
  for row = 0, step.num_rows - 1 do request[row] = tie[step.request[row]] end
end

local function pack_bare(self, number, kind)
  local record = self.bare
  record.number, record.kind = max(number, 1), kind -- a rank may be idle before its first step
  return lib.gdn_step_pack(record, self.hello, self.memory, self.size, self.why, WHY)
end

-- An idle rank's: the batch still has the rows of the step before.
local function pack_idle(self, step)
  local record = self.bare
  record.graph, record.branches = GRAPHS[step.graph], branches(step.metadata)
  record.padded_rows, record.padded_tokens = step.padded_rows, step.padded_tokens
  return pack_bare(self, step.number, IDLE)
end

--- A step as a record.
---@param step gdnmeta.Step
---@param tokens ffi.cdata* int32 [num_tokens]
---@param sampling table|nil temperature, top_p, seed
---@return integer bytes in self.memory, or a negative status with self.why
function Pack:step(step, tokens, sampling)
  if step.num_rows == 0 then return pack_idle(self, step) end
  local record = self.record
  record.number, record.kind = step.number, ROWS
  record.graph, record.branches = GRAPHS[step.graph], branches(step.metadata)
  record.num_tokens = step.num_tokens
  set_arrays(self, step, tokens, sampling)
  local n = changes(self, step)
  if n < 0 then
    ffi.copy(self.why, "changes of the kv table do not fit")
    return n
  end
  record.num_table_changes, record.num_kv_copies = n, copies(self, step)
  return lib.gdn_step_pack_batch(step.builder.handle, step.batch.rows, record, self.hello, self.memory,
                                 self.size, self.why, WHY)
end

--- The last record.
---@return integer bytes
function Pack:stop(number)
  local record = self.bare
  record.graph, record.branches, record.padded_rows, record.padded_tokens = 0, 0, 0, 0
  return pack_bare(self, number, STOP)
end

--- The first one.
---@return integer bytes
function Pack:greeting()
  return lib.gdn_hello_pack(self.hello, self.memory, self.size, self.why, WHY)
end

---@return string
function Pack:problem() return ffi.string(self.why) end

local M = {}

---@param e table private of the engine
---@param hello ffi.cdata* gdn_hello
---@return table|nil pack, string? message
function M.new(e, hello)
  local why, config, buffers = why_t(), hello.config, c_buffers.new()
  local size = lib.gdn_step_bytes(hello)
  if size < 0 then
    lib.gdn_hello_pack(hello, nil, size, why, WHY) -- which says why
    return nil, ffi.string(why)
  end
  local rows = config.max_rows
  local align = config.mamba_cache_mode == lib.GDN_CACHE_ALIGN
  local self = setmetatable({
    engine = e, hello = hello, record = record_t(), bare = record_t(), why = why, size = size,
    buffers = buffers, memory = buffers:bytes("record", size), -- pages that no step needs cost no memory
    result_bytes = lib.gdn_result_bytes(hello),
    request = int64s(rows), owner = int64s(rows), used = int32s(rows),
    temperature = floats(rows), top_p = floats(rows), seed = uint64s(rows),
    tokens = int32s(config.max_num_batched_tokens),
    max_changes = rows * hello.kv_columns, changes = buffers:int32("changes", 3 * rows * hello.kv_columns),
    copies = int32s(max(2 * hello.max_kv_copies, 1)), sent = sent_t(config.max_requests),
  }, Pack)
  for row = 0, rows - 1 do self.top_p[row] = 1 end
  local bare, record = self.bare, self.record
  bare.num_groups = config.num_groups
  bare.columns = 1 + (align and config.num_speculative_blocks or config.num_speculative_tokens)
  record.request, record.table_changes, record.kv_copies = self.request, self.changes, self.copies
  self:forget()
  return self
end

return M
