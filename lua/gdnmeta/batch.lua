-- The rows of one step, written into C memory. `batch.rows` is the gdn_batch itself, for hosts that
-- fill its arrays on their own.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local check = require "gdnmeta.check"
local drawing = require "gdnmeta.drawing"

local integer = check.integer
local INT32_MIN, INT32_MAX = check.INT32_MIN, check.INT32_MAX
local ECAP = tonumber(lib.GDN_ECAP)
local READ_DEFAULT = tonumber(lib.GDN_READ_DEFAULT)

-- Anchors `lib`: cdata finalizers may run after every other reference to the library is gone.
local function batch_free(rows) lib.gdn_batch_free(rows) end

local Batch, metatable = {}, {}

-- Raises where push and add were called.
local function refuse(method, message)
  error(("gdnmeta.Batch:%s: %s"):format(method, message), 4)
end

local function refuse_integer(method, name, value, low, high)
  error(("gdnmeta.Batch:%s: %s"):format(method, check.wrong_integer(name, value, low, high)), 4)
end

-- Both push and add come here, so that what they take cannot differ. table_row nil: the batch's own.
local function write(self, method, query_len, seq_len, drafts, accepted, prompt_done, table_row, read_column)
  local rows = self.rows
  if rows.padded_rows ~= 0 or rows.padded_tokens ~= 0 then
    refuse(method, "the batch is padded, rows come before pad()")
  end
  if drafts == nil then drafts = -1 end
  if accepted == nil then accepted = 1 end
  if not integer(query_len, 0, INT32_MAX) then refuse_integer(method, "query_len", query_len, 0, INT32_MAX) end
  if not integer(seq_len, INT32_MIN, INT32_MAX) then
    refuse_integer(method, "seq_len", seq_len, INT32_MIN, INT32_MAX)
  end
  if not integer(drafts, -1, INT32_MAX) then refuse_integer(method, "drafts", drafts, -1, INT32_MAX) end
  if not integer(accepted, INT32_MIN, INT32_MAX) then
    refuse_integer(method, "accepted", accepted, INT32_MIN, INT32_MAX)
  end
  if type(prompt_done) ~= "boolean" then
    refuse(method, check.wrong("prompt_done", prompt_done, "true or false"))
  end
  if read_column == nil then
    read_column = READ_DEFAULT
  elseif not integer(read_column, -1, INT32_MAX) then
    refuse_integer(method, "read_column", read_column, -1, INT32_MAX)
  end
  local i = rows.num_rows
  if table_row == nil then
    table_row = -1 - i
  elseif not integer(table_row, 0, self.max_requests - 1) then
    refuse_integer(method, "table_row", table_row, 0, self.max_requests - 1)
  end
  rows.query_len[i], rows.seq_len[i] = query_len, seq_len
  rows.num_draft_tokens[i], rows.num_accepted_tokens[i] = drafts, accepted
  rows.prompt_done[i] = prompt_done and 1 or 0
  rows.table_row[i], rows.read_column[i] = table_row, read_column
  rows.num_rows = i + 1
  return i
end

local function full(max_rows)
  return nil, ("%d rows, the batch holds %d"):format(max_rows + 1, max_rows), ECAP
end

--- Append a row whose blocks stand in the state tables. The hot path: no table, no garbage.
---@param query_len integer tokens scheduled this step
---@param seq_len integer tokens computed before this step plus query_len
---@param drafts integer|nil drafts among query_len; nil or -1: not a speculative row
---@param accepted integer|nil tokens that the row's previous step emitted, default 1
---@param prompt_done boolean the whole prompt was computed before this step
---@param table_row integer 0-based row of the state tables
---@param read_column integer|nil column that holds the current state, -1: fresh; default see gdnmeta.h
---@return integer|nil row its 0-based number; nil when the batch is full
---@return string? message
---@return integer? code
function Batch:push(query_len, seq_len, drafts, accepted, prompt_done, table_row, read_column)
  local rows = self.rows
  if rows == nil then error("gdnmeta.Batch: closed", 2) end
  if rows.num_rows >= rows.max_rows then return full(rows.max_rows) end
  if table_row == nil then
    error("gdnmeta.Batch:push: " .. check.wrong_integer("table_row", nil, 0, self.max_requests - 1), 2)
  end
  local row = write(self, "push", query_len, seq_len, drafts, accepted, prompt_done, table_row, read_column)
  return row
end

local FIELDS = { query_len = true, seq_len = true, blocks = true, drafts = true, accepted = true,
                 prompt_done = true, read_column = true }

-- One list a group; a flat list will do where there is one group.
local function write_blocks(rows, blocks)
  if type(blocks) ~= "table" then return check.wrong("blocks", blocks, "a list") end
  local groups, width = rows.num_groups, rows.max_blocks_per_row
  local nested = groups > 1 or type(blocks[1]) == "table"
  if nested and #blocks ~= groups then
    return ("blocks has %d elements, want %d, one list a group"):format(#blocks, groups)
  end
  for group = 0, groups - 1 do
    local target = rows.blocks + (group * rows.max_rows + rows.num_rows) * width
    local name = nested and ("blocks[%d]"):format(group + 1) or "blocks"
    local message = check.copy(name, nested and blocks[group + 1] or blocks, target, width)
    if message then return message end
  end
end

--- Append a row with its own blocks.
---@param row { query_len: integer, seq_len: integer, blocks: table, drafts?: integer, accepted?: integer, prompt_done?: boolean, read_column?: integer }
---@return integer|nil row its 0-based number; nil when the batch is full
---@return string? message
---@return integer? code
function Batch:add(row)
  local rows = self.rows
  if rows == nil then error("gdnmeta.Batch: closed", 2) end
  if type(row) ~= "table" then error("gdnmeta.Batch:add: " .. check.wrong("row", row, "a table"), 2) end
  for name in pairs(row) do
    if not FIELDS[name] then error("gdnmeta.Batch:add: unknown field " .. tostring(name), 2) end
  end
  if rows.num_rows >= rows.max_rows then return full(rows.max_rows) end
  local message = write_blocks(rows, row.blocks)
  if message then error("gdnmeta.Batch:add: " .. message, 2) end
  local prompt_done = row.prompt_done
  if prompt_done == nil then prompt_done = false end
  local number = write(self, "add", row.query_len, row.seq_len, row.drafts, row.accepted, prompt_done, nil,
                       row.read_column)
  return number
end

--- Say how many rows and tokens the step has with its padding, which stands behind the real rows and
--- is made by the build. The batch takes no more rows until clear().
---@param rows integer
---@param tokens integer
---@return boolean|nil ok nil when the batch or the builder is too small
---@return string? message
---@return integer? code
function Batch:pad(rows, tokens)
  local batch = self.rows
  if batch == nil then error("gdnmeta.Batch: closed", 2) end
  local real = 0
  for i = 0, batch.num_rows - 1 do real = real + batch.query_len[i] end
  if not integer(rows, batch.num_rows, INT32_MAX) then
    local wanted = ("an integer >= %d, the rows it has"):format(batch.num_rows)
    error("gdnmeta.Batch:pad: " .. check.wrong("rows", rows, wanted), 2)
  end
  if not integer(tokens, real, INT32_MAX) then
    local wanted = ("an integer >= %d, the tokens of its rows"):format(real)
    error("gdnmeta.Batch:pad: " .. check.wrong("tokens", tokens, wanted), 2)
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

--- Empty the batch for the next step.
function Batch:clear()
  local rows = self.rows
  if rows == nil then error("gdnmeta.Batch: closed", 2) end
  rows.num_rows, rows.padded_rows, rows.padded_tokens = 0, 0, 0
end

function Batch:close()
  local rows = self.rows
  if rows ~= nil then
    self.rows = nil
    batch_free(ffi.gc(rows, nil))
  end
end

function metatable.__index(self, name)
  local method = Batch[name]
  if method ~= nil then return method end
  if name == "num_rows" then
    local rows = rawget(self, "rows")
    if rows == nil then error("gdnmeta.Batch: closed", 2) end
    return rows.num_rows
  end
end

function metatable.__tostring(self)
  local rows = rawget(self, "rows")
  return rows == nil and "gdnmeta.Batch(closed)" or drawing.batch(rows)
end

local M = {}

--- Wrap a gdn_batch. `owner` is the token of the builder that it was made for.
function M.new(rows, owner, max_requests, max_tokens)
  return setmetatable({ rows = ffi.gc(rows, batch_free), owner = owner, max_requests = max_requests,
                        max_rows = rows.max_rows, max_tokens = max_tokens }, metatable)
end

---@return boolean
function M.is_batch(value)
  return getmetatable(value) == metatable
end

return M
