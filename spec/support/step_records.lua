-- Step records of an engine's steps, by the C functions themselves.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local array_of = require "gdnmeta.array_of"
local gdn = require "gdnmeta"
if not pcall(ffi.typeof, "gdn_hello") then require "gdnmeta.worker.cdef" end

local int32s, int64s = array_of "int32_t", array_of "int64_t"
local floats, uint64s = array_of "float", array_of "uint64_t"

local M = { why = ffi.new "char[512]" }

M.GRAPHS = { eager = 0, piecewise = 1, full = 2 }

function M.said() return ffi.string(M.why) end

--- The hello of an engine's builder. fields: what replaces the defaults.
function M.hello(builder, fields)
  local hello = ffi.new "gdn_hello"
  assert(lib.gdn_hello_init(builder.handle, hello) == 0)
  for name, value in pairs(fields or {}) do hello[name] = value end
  return hello
end

--- A builder of two groups for four requests. options: what replaces that.
function M.builder(options)
  local o = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64, num_groups = 2, num_slots = 40,
              num_speculative_tokens = 2 }
  for name, value in pairs(options or {}) do o[name] = value end
  return assert(gdn.builder(o))
end

--- The hello of its engine, with 32 blocks of attention cache and a vocabulary of 1,000.
function M.full_hello(builder, fields)
  local all = { kv_blocks = 32, kv_block_size = 4, kv_columns = 8, vocab_size = 1000, max_model_len = 256,
                asynchronous = 1 }
  for name, value in pairs(fields or {}) do all[name] = value end
  return M.hello(builder, all)
end

--- What becomes of a call that returned `status`, as a golden text may say it.
---@return string
function M.verdict(status)
  if tonumber(status) >= 0 then return "taken" end
  return (M.said():gsub("ABI 0, want %d+", "ABI 0, want ours"))
end

--- A record in memory of its own: the memory, its bytes.
function M.memory(bytes) return int64s(math.ceil(bytes / 8)) end

--- Everything of a step that its batch has not.
function M.rest(step, fields)
  local n, tokens = math.max(step.num_rows, 1), int32s(math.max(step.num_tokens, 1))
  local rest, held = ffi.new "gdn_step_record", {}
  for t = 0, step.num_tokens - 1 do tokens[t] = (t * 31 + step.number) % 251 end
  held.request, held.seed, held.tokens = int64s(n), uint64s(n), tokens
  held.temperature, held.top_p, held.samples = floats(n), floats(n), step.samples
  for row = 0, n - 1 do
    held.request[row], held.seed[row], held.top_p[row] = row + 7, row, 1
  end
  for name, array in pairs(held) do rest[name] = array end
  rest.number, rest.kind, rest.graph = step.number, lib.GDN_STEP_ROWS, M.GRAPHS[step.graph]
  rest.num_tokens = step.num_tokens
  for name, value in pairs(fields or {}) do rest[name] = value end
  return rest, held
end

--- A step packed: memory, bytes; or nil, message, code.
function M.pack(builder, step, limits, memory, size)
  local rest, held = M.rest(step)
  size = size or tonumber(lib.gdn_step_bytes(limits))
  memory = memory or M.memory(size)
  local bytes = tonumber(lib.gdn_step_pack_batch(builder.handle, step.batch.rows, rest, limits, memory, size,
                                                 M.why, 512))
  assert(held)
  if bytes < 0 then return nil, M.said(), bytes end
  return memory, bytes
end

--- Views of a record; or nil, message.
function M.unpack(memory, bytes, limits)
  local record = ffi.new "gdn_step_record"
  if lib.gdn_step_unpack(memory, bytes, limits, record, M.why, 512) ~= 0 then return nil, M.said() end
  return record
end

return M
