--- CUDA builders: inputs that an asynchronous engine keeps on the device, and what the device has to say.
-- These are methods of the builder; gdnmeta.h says who may write such memory when.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local status_message = require "gdnmeta.builder.status_message"
local opened = require("gdnmeta.native.methods").builder
local printed = require "gdnmeta.native.printed"
local tables_in_use = require "gdnmeta.builder.tables_in_use"

local int32_p = ffi.typeof "const int32_t *"
local counters_t = ffi.typeof "gdn_counters"
local INT32_MAX = args.INT32_MAX
local COUNTED = { "launches", "ring_launches", "ring_waits", "reads", "skipped" }
local COUNTERS = printed.figures("Counters", COUNTED)

local M, old = {}, {} -- old: methods of the release before

-- Whether it is memory of the device, the driver says; a pointer it must be.
local function problem_of(name, memory, length_name, n)
  if memory == nil then return nil end
  if not args.pointer(memory) then return args.wrong(name, memory, "a device pointer or nil") end
  if not args.integer(n, 1, INT32_MAX) then return args.wrong_integer(length_name, n, 1, INT32_MAX) end
end

local function pointer(memory)
  return memory ~= nil and ffi.cast(int32_p, memory) or nil
end

--- Read a group's state table where it is, on the device. Its cells may change between builds.
---@param group integer 0-based
---@param cells ffi.cdata*|lightuserdata|nil device pointer; nil: back to the builder's own table
---@param row_stride integer elements from row to row, at least max_blocks_per_row
---@param rows integer
---@return boolean|nil ok
---@return string? message
---@return integer? code
function M:borrow_device_table(group, cells, row_stride, rows)
  local handle = opened(self, "borrow_device_table")
  local problem = problem_of("cells", cells, "rows", rows)
  if not args.integer(group, 0, self.num_groups - 1) then
    problem = args.wrong_integer("group", group, 0, self.num_groups - 1)
  elseif cells ~= nil and not args.integer(row_stride, self.max_blocks_per_row, INT32_MAX) then
    problem = args.wrong_integer("row_stride", row_stride, self.max_blocks_per_row, INT32_MAX)
  end
  if problem then error("gdnmeta.Builder:borrow_device_table: " .. problem, 2) end
  if cells == nil then row_stride, rows = self.max_blocks_per_row, self.max_requests end
  local status = lib.gdn_builder_borrow_device_table(handle, group, pointer(cells), row_stride, rows)
  if status ~= 0 then return status_message(handle, status) end
  tables_in_use(self, group, nil, cells ~= nil and rows or nil)
  return true
end

-- An array of the device in place of a host's: the methods differ in the C function alone.
local function borrower(method, borrow)
  return function(self, memory, n)
    local handle = opened(self, method)
    local problem = problem_of("memory", memory, "n", n)
    if problem then error(("gdnmeta.Builder:%s: %s"):format(method, problem), 2) end
    local status = borrow(handle, pointer(memory), n or 0)
    if status ~= 0 then return status_message(handle, status) end
    return true
  end
end

--- Read seq_len on the device: of each row the element that batch:index names. The host then tells rows
--- with nothing computed by read_column = -1.
---@param memory ffi.cdata*|lightuserdata|nil device pointer to int32 [n]; nil: back to the host's
---@param n integer
---@return boolean|nil ok
---@return string? message
---@return integer? code
---@function M:borrow_device_seq_lens
M.borrow_device_seq_lens = borrower("borrow_device_seq_lens", lib.gdn_builder_borrow_device_seq_lens)

--- Read num_accepted_tokens on the device, likewise.
---@param memory ffi.cdata*|lightuserdata|nil device pointer to int32 [n]; nil: back to the host's
---@param n integer
---@return boolean|nil ok
---@return string? message
---@return integer? code
---@function M:borrow_device_accepted
M.borrow_device_accepted = borrower("borrow_device_accepted", lib.gdn_builder_borrow_device_accepted)

--- Did a build that the device has finished find a bad value among its device inputs? It took the null
--- slot instead. The answer stays.
---@return boolean|nil ok nil: it did
---@return string? problem
---@return integer? code
function M:peek_device_error()
  local handle = opened(self, "peek_device_error")
  local status = lib.gdn_device_error(handle, 0)
  if status ~= 0 then return status_message(handle, status) end
  return true
end

--- The same, and the next call tells of what comes after this one.
---@return boolean|nil ok nil: it did
---@return string? problem
---@return integer? code
function M:take_device_error()
  local handle = opened(self, "take_device_error")
  local status = lib.gdn_device_error(handle, 1)
  if status ~= 0 then return status_message(handle, status) end
  return true
end

-- Message and code, or nil.
function old:device_error(forget)
  local handle = opened(self, "device_error")
  local status = lib.gdn_device_error(handle, forget and 1 or 0)
  if status ~= 0 then return select(2, status_message(handle, status)) end
end

--- Counters of the builder's device calls: launches, ring_launches, ring_waits, reads, skipped.
---@return table
function M:counters()
  local handle = opened(self, "counters")
  local c = counters_t()
  lib.gdn_builder_counters(handle, c)
  local counters = {}
  for _, name in ipairs(COUNTED) do counters[name] = tonumber(c[name]) end
  return setmetatable(counters, COUNTERS)
end

return { methods = M, old = old }
