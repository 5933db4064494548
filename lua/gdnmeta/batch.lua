--- The rows of one step, written into C memory. `batch.rows` is the gdn_batch itself, for hosts that
-- fill its arrays on their own.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local draw = require "gdnmeta.metadata.draw"
local owned = require "gdnmeta.native.owned"
local methods = require "gdnmeta.native.methods"
local options_of = require "gdnmeta.native.options"
local old_names = require "gdnmeta.native.old_names"
local row_writer = require "gdnmeta.batch.write_row"

local opened = methods.batch
local integer, INT32_MAX = args.integer, args.INT32_MAX
local write, write_blocks, keep_arrays = row_writer.write, row_writer.write_blocks, row_writer.keep_arrays
local write_checkpoint = row_writer.write_checkpoint
local ECAP = tonumber(lib.GDN_ECAP)
local FIELDS = { query_len = true, seq_len = true, blocks = true, drafts = true, accepted = true,
                 prompt_done = true, read_column = true, checkpoint_len = true, checkpoint_slot = true }

-- Anchors `lib`: cdata finalizers may run after every other reference to the library is gone.
local function batch_free(rows) lib.gdn_batch_free(rows) end

---@class gdnmeta.Batch
---@field num_rows integer rows added so far
---@field max_rows integer rows that it holds at most
---@field max_tokens integer tokens of its rows at most
---@field rows ffi.cdata* gdn_batch *, for hosts that fill its arrays themselves
local Batch = {}
local metatable = methods.Batch

local function full(max_rows)
  return nil, ("%d rows, the batch holds %d"):format(max_rows + 1, max_rows), ECAP
end

--- Append a row whose blocks stand in the state tables. The hot path: no table, no garbage.
---@param table_row integer 0-based row of the state tables
---@param query_len integer tokens scheduled this step
---@param seq_len integer tokens computed before this step plus query_len
---@param prompt_done boolean the whole prompt was computed before this step
---@param drafts integer|nil drafts among query_len; nil or -1: not a speculative row
---@param accepted integer|nil tokens that the row's previous step emitted, default 1
---@param read_column integer|nil column that holds the current state, -1: fresh; default see gdnmeta.h
---@return integer|nil row its 0-based number; nil when the batch is full
---@return string? message
---@return integer? code
function Batch:push(table_row, query_len, seq_len, prompt_done, drafts, accepted, read_column)
  if type(drafts) == "boolean" and type(prompt_done) ~= "boolean" then -- the order of the release before
    old_names.once("batch:push(query_len, seq_len, drafts, accepted, prompt_done, table_row, read_column)",
                 "batch:push(table_row, query_len, seq_len, prompt_done, drafts, accepted, read_column)")
    query_len, seq_len, drafts, accepted, prompt_done, table_row =
      table_row, query_len, seq_len, prompt_done, drafts, accepted
  end
  local rows = opened(self, "push")
  if rows.num_rows >= rows.max_rows then return full(rows.max_rows) end
  if table_row == nil then
    local last = self.table_rows.least - 1
    error("gdnmeta.Batch:push: " .. args.wrong_integer("table_row", nil, 0, last), 2)
  end
  local row = write(self, "push", query_len, seq_len, drafts, accepted, prompt_done, table_row, read_column)
  return row
end

--- Append a row with its own blocks.
---@param row table query_len, seq_len, blocks (one list per group), prompt_done, drafts, read_column and
--- accepted, the tokens that the previous step emitted (1 or more). A prefill may have checkpoint_len, after
--- how many tokens of its sequence its state is kept as well (nil or 0: it is not), and checkpoint_slot,
--- where: an integer, or a list with one per group.
---@return integer|nil row its 0-based number; nil when the batch is full
---@return string? message
---@return integer? code
function Batch:add(row)
  opened(self, "add")
  if type(row) ~= "table" then error("gdnmeta.Batch:add: " .. args.wrong("row", row, "a table"), 2) end
  for name in next, row do
    if not FIELDS[name] then error("gdnmeta.Batch:add: " .. options_of.unknown("field", name, FIELDS), 2) end
  end
  -- Metamethods of `row` may close the batch or write into it; none runs from here on.
  local query_len, seq_len, blocks, drafts = row.query_len, row.seq_len, row.blocks, row.drafts
  local accepted, prompt_done, read_column = row.accepted, row.prompt_done, row.read_column
  local checkpoint_len, checkpoint_slot = row.checkpoint_len, row.checkpoint_slot
  local rows = opened(self, "add")
  if rows.num_rows >= rows.max_rows then return full(rows.max_rows) end
  local message = write_blocks(self, blocks)
  if message then error("gdnmeta.Batch:add: " .. message, 2) end
  if checkpoint_slot ~= nil or checkpoint_len ~= nil and checkpoint_len ~= 0 then
    message = write_checkpoint(self, checkpoint_slot)
    if message then error("gdnmeta.Batch:add: " .. message, 2) end
  end
  if prompt_done == nil then prompt_done = false end
  local number = write(self, "add", query_len, seq_len, drafts, accepted, prompt_done, nil, read_column,
                       checkpoint_len)
  return number
end

--- Say how many rows and tokens the step has with its padding, which comes after the real rows and
--- is made by the build. The batch takes no more rows until clear().
---@param rows integer
---@param tokens integer
---@return boolean|nil ok nil when the batch or the builder is too small
---@return string? message
---@return integer? code
function Batch:pad(rows, tokens)
  local batch = opened(self, "pad")
  local n, real = batch.num_rows, 0
  if n < 0 or n > batch.max_rows then
    error("gdnmeta.Batch:pad: " .. args.wrong_integer("num_rows", n, 0, batch.max_rows), 2)
  end
  local query_len = self.query_len
  for i = 0, n - 1 do real = real + query_len[i] end
  if not integer(rows, n, INT32_MAX) then
    local wanted = ("an integer >= %d, the rows it has"):format(n)
    error("gdnmeta.Batch:pad: " .. args.wrong("rows", rows, wanted), 2)
  end
  if not integer(tokens, real, INT32_MAX) then
    local wanted = ("an integer >= %d, the tokens of its rows"):format(real)
    error("gdnmeta.Batch:pad: " .. args.wrong("tokens", tokens, wanted), 2)
  end
  if rows > batch.max_rows then
    return nil, ("%d rows, the batch holds %d"):format(rows, batch.max_rows), ECAP
  end
  if tokens > self.max_tokens then
    return nil, ("%d tokens, the builder takes %d"):format(tokens, self.max_tokens), ECAP
  end
  batch.padded_rows, batch.padded_tokens = rows, tokens
  return true
end

--- Say which elements of the device's arrays belong to a row (see borrow_device_seq_lens). Rows
--- without an index take the elements of their own number.
---@param row integer 0-based, as push and add returned it
---@param seq_index integer 0-based; -1: the row's number
---@param accepted_index integer|nil likewise, default -1; -2: the row's own `accepted`
function Batch:index(row, seq_index, accepted_index)
  local rows = opened(self, "index")
  if rows.seq_index == nil then
    error("gdnmeta.Batch:index: the builder's device is the CPU, want a CUDA device", 2)
  end
  if not integer(row, 0, rows.num_rows - 1) then
    error("gdnmeta.Batch:index: " .. args.wrong_integer("row", row, 0, rows.num_rows - 1), 2)
  end
  if accepted_index == nil then accepted_index = -1 end
  if not integer(seq_index, -1, INT32_MAX) then
    error("gdnmeta.Batch:index: " .. args.wrong_integer("seq_index", seq_index, -1, INT32_MAX), 2)
  end
  if not integer(accepted_index, -2, INT32_MAX) then
    error("gdnmeta.Batch:index: " .. args.wrong_integer("accepted_index", accepted_index, -2, INT32_MAX), 2)
  end
  if rows.indexed == 0 then
    ffi.fill(rows.seq_index, rows.max_rows * 4, 0xff)
    ffi.fill(rows.accepted_index, rows.max_rows * 4, 0xff)
    rows.indexed = 1
  end
  rows.seq_index[row], rows.accepted_index[row] = seq_index, accepted_index
end

--- Empty the batch for the next step.
function Batch:clear()
  local rows = opened(self, "clear")
  rows.num_rows, rows.padded_rows, rows.padded_tokens, rows.indexed = 0, 0, 0, 0
end

--- Free its memory now; the collector frees that of a batch which nothing refers to any more.
function Batch:close()
  if getmetatable(self) ~= metatable then methods.colon("Batch", "close") end
  if self.held then error("gdnmeta.Batch:close: the batch belongs to an engine", 2) end
  local rows = rawget(self, "rows")
  if rows ~= nil then self.release(rows) end
end

--- An engine writes to its memory, so that nothing else may free it.
---@local
function Batch:hold(held) rawset(self, "held", held) end

function metatable.__index(self, name)
  local method = Batch[name]
  if method ~= nil then return method end
  local rows = rawget(self, "rows")
  if rows == nil then error("gdnmeta.Batch: closed", 2) end
  if name == "num_rows" then return rows.num_rows end
  error("gdnmeta.Batch: no field " .. args.show(name), 2)
end

function metatable.__newindex(_, name)
  local hint = name == "num_rows" and "; clear() empties the batch" or ""
  error("gdnmeta.Batch: read-only, cannot set " .. args.show(name) .. hint, 2)
end

function metatable.__tostring(self)
  local rows = rawget(self, "rows")
  return rows == nil and "gdnmeta.Batch(closed)" or draw.batch(rows)
end

local M = {}

local function forget(self)
  self.rows = nil
  keep_arrays(self, nil)
end

--- Wrap a gdn_batch. `owner` is the token of the builder that it was made for, `table_rows` the builder's.
---@local
function M.new(rows, owner, table_rows, max_tokens)
  local self = { owner = owner, table_rows = table_rows, max_rows = rows.max_rows, max_tokens = max_tokens,
                 held = false }
  self.rows, self.release = owned.new(rows, batch_free, self, forget)
  keep_arrays(self, rows)
  return setmetatable(self, metatable)
end

---@return boolean
---@local
function M.is_batch(value)
  return getmetatable(value) == metatable
end

return M
