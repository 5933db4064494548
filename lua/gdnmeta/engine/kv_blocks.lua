-- Blocks of the attention cache that the engine owns (kv_blocks): a table of them by table row, and for each
-- step where its tokens lie. Nothing of it is made where kv_tokens only counts.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local status_message = require "gdnmeta.builder.status_message"
local array_of = require "gdnmeta.array_of"
local must = require "gdnmeta.engine.must" "blocks"

local config_t = ffi.typeof "gdn_kv_config"
local int32s = array_of "int32_t"
local out_t = ffi.typeof "gdn_kv *[1]"

-- Anchors `lib`: cdata finalizers may run after every other reference to the library is gone.
local function kv_free(kv) lib.gdn_kv_free(kv) end

local KvBlocks = {}
KvBlocks.__index = KvBlocks

---@return integer blocks that nothing holds
function KvBlocks:free() return lib.gdn_kv_available(self.kv) end

--- Blocks that come back when the row is cleared: shared ones do not.
---@return integer
function KvBlocks:held(table_row) return lib.gdn_kv_sole(self.kv, table_row) end

function KvBlocks:extend(table_row, columns) must(lib.gdn_kv_extend(self.kv, table_row, columns)) end

--- The first n blocks of a list, for an empty row.
function KvBlocks:share(table_row, list, n)
  local array = int32s(n)
  for k = 1, n do array[k - 1] = list[k] end
  must(lib.gdn_kv_share(self.kv, table_row, array, n))
end

---@return integer
function KvBlocks:block(table_row, column)
  return lib.gdn_kv_table(self.kv)[table_row * self.columns + column]
end

--- The first n blocks of a row as a list.
---@return integer[]
function KvBlocks:list(table_row, n)
  local list = {}
  for column = 0, n - 1 do list[column + 1] = self:block(table_row, column) end
  return list
end

function KvBlocks:clear(table_row) must(lib.gdn_kv_clear(self.kv, table_row)) end

--- The step's tokens, as its rows stand in its arrays.
---@param step gdnmeta.Step
function KvBlocks:map(step)
  must(lib.gdn_kv_map(self.kv, step.kv_place, step.num_rows, step.table_row, step.query_len, step.seq_len,
                      step.padded_tokens))
end

--- The same, for kernels on `stream`: the device's copies come up to date.
---@return boolean|nil ok, string? message, integer? code
function KvBlocks:place(step, stream)
  self:map(step)
  if not self.on_device then return true end
  local status = lib.gdn_kv_send(self.builder.handle, self.kv, step.kv_place, step.padded_tokens, stream)
  if status ~= 0 then return status_message(self.builder.handle, status) end
  return true
end

--- What a step shows of them.
---@param place integer which of the slot mappings is the step's
function KvBlocks:show(step, place)
  local device_table = lib.gdn_kv_device_table(self.kv)
  step.kv_place = place
  step.kv_table, step.kv_slot_mapping = lib.gdn_kv_table(self.kv), lib.gdn_kv_mapping(self.kv, place)
  if device_table ~= nil then
    step.kv_device_table = device_table
    step.kv_device_slot_mapping = lib.gdn_kv_device_mapping(self.kv, place)
  end
end

local M = {}

---@param o table options: builder, kv_blocks, kv_block_size, max_model_len, config
---@param steps integer that have a slot mapping each
---@return table|nil blocks, string? message, integer? code
function M.new(o, steps)
  local columns = math.ceil((o.max_model_len - 1) / o.kv_block_size)
  local out, handle = out_t(), o.builder.handle
  local status = lib.gdn_kv_new(handle, config_t(o.kv_blocks, o.kv_block_size, o.config.max_requests, columns,
                                                 steps), out)
  if status ~= 0 then return status_message(handle, status) end
  return setmetatable({ kv = ffi.gc(out[0], kv_free), builder = o.builder, columns = columns,
                        on_device = lib.gdn_kv_device_table(out[0]) ~= nil }, KvBlocks)
end

return M
