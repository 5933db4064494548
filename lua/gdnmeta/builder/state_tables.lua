--- A builder's state tables, one per cache group: where each request's state blocks are written down,
-- int32 [max_requests, max_blocks_per_row], kept between steps. These are methods of the builder.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local status_message = require "gdnmeta.builder.status_message"
local int32_memory = require "gdnmeta.native.int32_memory"
local opened = require("gdnmeta.native.methods").builder
local tables_in_use = require "gdnmeta.builder.tables_in_use"

local M = {}

local function group_problem(self, group)
  if not args.integer(group, 0, self.num_groups - 1) then
    return args.wrong_integer("group", group, 0, self.num_groups - 1)
  end
end

-- A group's own table, or nil, message. It never moves, so that one object of its pointer is enough.
local function own_table(self, handle, group)
  local problem = group_problem(self, group)
  if problem then return nil, problem end
  if self.table_rows[group] then return nil, ("group %d borrows its table"):format(group) end
  local cells = self.own_tables[group]
  if not cells then
    cells = lib.gdn_builder_table(handle, group)
    self.own_tables[group] = cells
  end
  return cells
end

--- The state table of a group, for hosts that write it themselves.
---@param group integer 0-based
---@return ffi.cdata* cells int32_t[max_requests * max_blocks_per_row], unchecked, gone with the builder
function M:table(group)
  local cells, message = own_table(self, opened(self, "table"), group)
  if not cells then error("gdnmeta.Builder:table: " .. message, 2) end
  return cells
end

--- Write a row of a group's state table, zeros after the list.
---@param group integer 0-based
---@param table_row integer 0-based
---@param blocks integer[]|ffi.cdata*|table a list, an int32_t array or { pointer, elements }
function M:set_blocks(group, table_row, blocks)
  local cells, message = own_table(self, opened(self, "set_blocks"), group)
  if cells and not args.integer(table_row, 0, self.max_requests - 1) then
    message = args.wrong_integer("table_row", table_row, 0, self.max_requests - 1)
  elseif cells then
    local width = self.max_blocks_per_row
    message = int32_memory.copy("blocks", blocks, cells, table_row * width, width)
  end
  if message then error("gdnmeta.Builder:set_blocks: " .. message, 2) end
end

local function borrow_problem(self, group, cells, row_stride, rows)
  local problem = group_problem(self, group)
  if problem or cells == nil then return problem end
  local pointer, n = cells, nil
  if not args.int32_pointer(cells) then pointer, n = int32_memory.int32("cells", cells) end
  if not pointer then return n or args.wrong("cells", cells, "an int32_t array or pointer") end
  local width = self.max_blocks_per_row
  if not args.integer(row_stride, width, args.INT32_MAX) then
    return args.wrong_integer("row_stride", row_stride, width, args.INT32_MAX)
  end
  if not args.integer(rows, 1, args.INT32_MAX) then
    return args.wrong_integer("rows", rows, 1, args.INT32_MAX)
  end
  local need = (rows - 1) * row_stride + width
  if n and need > n then return ("cells has %d elements, want %d for %d rows"):format(n, need, rows) end
  return nil, pointer
end

--- Read the host's own table instead of the builder's. It must stay valid; an array is kept alive.
---@param group integer 0-based
---@param cells ffi.cdata*|table|nil int32_t array, pointer or { pointer, elements }; nil: the builder's
---@param row_stride integer elements from row to row, at least max_blocks_per_row
---@param rows integer
---@return boolean|nil ok
---@return string? message
---@return integer? code
function M:borrow_table(group, cells, row_stride, rows)
  local handle = opened(self, "borrow_table")
  local problem, pointer = borrow_problem(self, group, cells, row_stride, rows)
  if problem then error("gdnmeta.Builder:borrow_table: " .. problem, 2) end
  if cells == nil then row_stride, rows = self.max_blocks_per_row, self.max_requests end
  local status = lib.gdn_builder_borrow_table(handle, group, pointer, row_stride, rows)
  if status ~= 0 then return status_message(handle, status) end
  tables_in_use(self, group, cells, cells ~= nil and rows or nil)
  return true
end

return M
