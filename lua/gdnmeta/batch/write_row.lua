-- What a row may hold, and how it comes into a gdn_batch. The numbers are checked here because storing
-- 2^31, 2.5 or NaN into an int32 stores something else without a word.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local int32_memory = require "gdnmeta.native.int32_memory"

local integer = args.integer
local INT32_MIN, INT32_MAX = args.INT32_MIN, args.INT32_MAX
local READ_DEFAULT = tonumber(lib.GDN_READ_DEFAULT)

local M = {}

-- A pointer read out of a struct is a new object wherever the loop is not compiled, so a batch keeps the
-- pointers to its arrays.
local ARRAYS = { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens", "prompt_done",
                 "table_row", "read_column", "checkpoint_len", "blocks", "checkpoint_slot" }

--- Keep, or drop, the pointers to the row arrays in `batch`.
---@param batch table
---@param rows ffi.cdata*|nil gdn_batch; nil: it is closed
function M.keep_arrays(batch, rows)
  for _, name in ipairs(ARRAYS) do batch[name] = rows and rows[name] or nil end
end

-- Raises where push and add were called.
local function refuse(method, message)
  error(("gdnmeta.Batch:%s: %s"):format(method, message), 4)
end

local function refuse_integer(method, name, value, low, high)
  error(("gdnmeta.Batch:%s: %s"):format(method, args.wrong_integer(name, value, low, high)), 4)
end

--- Append a row. push and add both come here, so that what they take cannot differ.
---@param batch table open, with room for a row
---@param method string the one called, for messages
---@param table_row integer|nil nil: the batch's own
---@param checkpoint_len integer|nil position of a state to keep, nil: none; its slots are written already
---@return integer row
function M.write(batch, method, query_len, seq_len, drafts, accepted, prompt_done, table_row, read_column,
                 checkpoint_len)
  local rows = batch.rows
  if rows.padded_rows ~= 0 or rows.padded_tokens ~= 0 then
    refuse(method, "the batch is padded; clear() it first, or add rows before pad()")
  end
  if drafts == nil then drafts = -1 end
  if accepted == nil then accepted = 1 end
  if not integer(query_len, 0, INT32_MAX) then
    refuse_integer(method, "query_len", query_len, 0, INT32_MAX)
  end
  if not integer(seq_len, INT32_MIN, INT32_MAX) then
    refuse_integer(method, "seq_len", seq_len, INT32_MIN, INT32_MAX)
  end
  if not integer(drafts, -1, INT32_MAX) then refuse_integer(method, "drafts", drafts, -1, INT32_MAX) end
  if not integer(accepted, INT32_MIN, INT32_MAX) then
    refuse_integer(method, "accepted", accepted, INT32_MIN, INT32_MAX)
  end
  if type(prompt_done) ~= "boolean" then
    refuse(method, args.wrong("prompt_done", prompt_done, "true or false"))
  end
  if read_column == nil then
    read_column = READ_DEFAULT
  elseif not integer(read_column, -1, INT32_MAX) then
    refuse_integer(method, "read_column", read_column, -1, INT32_MAX)
  end
  if checkpoint_len == nil then
    checkpoint_len = 0
  elseif not integer(checkpoint_len, 0, INT32_MAX) then
    refuse_integer(method, "checkpoint_len", checkpoint_len, 0, INT32_MAX)
  end
  local i = rows.num_rows
  if i < 0 then refuse(method, args.wrong_integer("num_rows", i, 0, rows.max_rows)) end
  if table_row == nil then
    table_row = -1 - i
  elseif not integer(table_row, 0, batch.table_rows.least - 1) then
    refuse_integer(method, "table_row", table_row, 0, batch.table_rows.least - 1)
  end
  batch.query_len[i], batch.seq_len[i] = query_len, seq_len
  batch.num_draft_tokens[i], batch.num_accepted_tokens[i] = drafts, accepted
  batch.prompt_done[i] = prompt_done and 1 or 0
  batch.table_row[i], batch.read_column[i] = table_row, read_column
  batch.checkpoint_len[i] = checkpoint_len
  rows.num_rows = i + 1
  return i
end

--- The slots that a checkpoint of the row that comes next goes to: an integer where there is one group, else
--- a list with one per group.
---@param batch table open, with room for a row
---@param slots integer|table
---@return string|nil message
function M.write_checkpoint(batch, slots)
  local rows, target = batch.rows, batch.checkpoint_slot
  local i, groups = rows.num_rows, rows.num_groups
  if i < 0 then return args.wrong_integer("num_rows", i, 0, rows.max_rows) end
  if type(slots) == "number" and groups == 1 then
    if not integer(slots, INT32_MIN, INT32_MAX) then
      return args.wrong_integer("checkpoint_slot", slots, INT32_MIN, INT32_MAX)
    end
    target[i] = slots
    return
  elseif type(slots) ~= "table" and not (args.int32_array(slots) or args.int32_pointer(slots)) then
    return args.wrong("checkpoint_slot", slots, groups == 1 and "an integer" or "a list with one per group")
  end
  local list, message = int32_memory.list("checkpoint_slot", slots, INT32_MIN, INT32_MAX)
  if not list then return message end
  if args.length(list) ~= groups then
    return ("checkpoint_slot has %d elements, want %d, one per group"):format(args.length(list), groups)
  end
  for group = 0, groups - 1 do target[group * rows.max_rows + i] = rawget(list, group + 1) end
end

local function is_list(first, is_memory) return is_memory or type(first) == "table" end

--- The batch's own blocks of the row that comes next: one list per group; a flat list does where there
--- is one group. Each list may be int32 memory instead: an array, or { pointer, elements }.
---@param batch table open, with room for a row
---@param blocks table
---@return string|nil message
function M.write_blocks(batch, blocks)
  local rows = batch.rows
  local is_memory = args.int32_array(blocks) or args.int32_pointer(blocks)
  if type(blocks) ~= "table" and not is_memory then return args.wrong("blocks", blocks, "a list") end
  local i, groups, width = rows.num_rows, rows.num_groups, rows.max_blocks_per_row
  if i < 0 then return args.wrong_integer("num_rows", i, 0, rows.max_rows) end
  if groups > 1 and is_memory then return args.wrong("blocks", blocks, "a list with one per group") end
  local nested = groups > 1 or int32_memory.one_a_group(blocks, is_list)
  if nested and args.length(blocks) ~= groups then
    return ("blocks has %d elements, want %d, one list per group"):format(args.length(blocks), groups)
  end
  for group = 0, groups - 1 do
    local at = (group * rows.max_rows + i) * width
    local name = nested and ("blocks[%d]"):format(group + 1) or "blocks"
    local message = int32_memory.copy(name, nested and rawget(blocks, group + 1) or blocks,
                                      batch.blocks, at, width)
    if message then return message end
  end
end

return M
