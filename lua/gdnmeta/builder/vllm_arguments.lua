-- The reference builder's own arguments, as Lua lists or int32 memory, into a gdn_raw.
local ffi = require "ffi"
local args = require "gdnmeta.native.args"
local int32_memory = require "gdnmeta.native.int32_memory"
local c_buffers = require "gdnmeta.native.c_buffers"

local raw_t = ffi.typeof "gdn_raw"
local tables_t = ffi.typeof "const int32_t **"
local INT32_MIN, INT32_MAX = args.INT32_MIN, args.INT32_MAX

local ARRAYS = { "query_start_loc", "seq_lens", "num_accepted_tokens", "num_decode_draft_tokens" }
local ROW_ARRAYS = { "prompt_done", "read_column" } -- the core takes their length from the rows
local SCALARS = { "num_reqs", "num_actual_tokens", "max_query_len" }
local TABLE_SCALARS = { "block_table_cols", "block_table_stride" }
local KNOWN = { block_table = true }
for _, names in ipairs { ARRAYS, ROW_ARRAYS, SCALARS, TABLE_SCALARS } do
  for _, name in ipairs(names) do KNOWN[name] = true end
end

local NUMBERS = {}
for _, names in ipairs { SCALARS, TABLE_SCALARS } do
  for _, name in ipairs(names) do NUMBERS[#NUMBERS + 1] = name end
end

local Raw = {}
Raw.__index = Raw

local function flags(list)
  local out = {}
  for i, value in next, list do
    if type(value) == "boolean" then value = value and 1 or 0 end
    out[i] = value
  end
  return out
end

-- Pointer and length of an array; nil, nil when it is absent; nil, message when it is none.
local function array(self, name, value)
  if args.absent(value) then return nil, nil end
  local given, n = int32_memory.int32(name, value)
  if given or n then return given, n end
  if type(value) ~= "table" then return nil, args.wrong(name, value, "a list or an int32_t array") end
  if name == "prompt_done" then value = flags(value) end
  local message
  n, message = args.list(name, value, INT32_MIN, INT32_MAX) -- before any allocation
  if not n then return nil, message end
  local memory = self.buffers:int32(name, n)
  args.copy(name, value, memory, 0, n)
  return memory, n
end

-- Columns of a row in a list of rows.
local function width_of(name, row)
  local given, n = int32_memory.int32(name, row)
  if given or n then return given and n, n end
  return args.list(name, row, INT32_MIN, INT32_MAX)
end

-- Rows of flat memory: `stride` elements from one to the next, of which the first `cols` count. The last row
-- may end with them. Nil, message where they do not come out even.
local function flat_rows(name, n, cols, stride)
  if not cols then return nil, "block_table_cols is not given, want it for the flat " .. name end
  if stride and stride < cols then
    return nil, args.wrong_integer("block_table_stride", stride, cols, INT32_MAX)
  end
  if cols < 1 or n % (stride or cols) ~= 0 and n % (stride or cols) ~= cols then
    local apart = "rows of block_table_cols = %d, block_table_stride = %d apart"
    local wanted = stride and apart:format(cols, stride)
      or ("a multiple of block_table_cols = %d"):format(cols)
    return nil, ("%s has %d elements, want %s"):format(name, n, wanted)
  end
  return math.ceil(n / (stride or cols))
end

-- A group's table: a list of rows, or flat memory. Returns memory, rows, columns, stride.
local function table_of(self, name, value, cols, stride)
  local given, n = int32_memory.int32(name, value)
  if given then
    local rows, message = flat_rows(name, n, cols, stride)
    if not rows then return nil, message end
    return given, rows, cols, stride or cols
  elseif n then
    return nil, n
  end
  if type(value) ~= "table" then
    return nil, args.wrong(name, value, "a list of rows or an int32_t array")
  end
  local rows = args.length(value)
  for i = 1, rows do -- before any allocation
    local row = ("%s[%d]"):format(name, i)
    local columns, message = width_of(row, rawget(value, i))
    if not columns then return nil, message end
    cols = cols or columns
    if columns ~= cols then return nil, ("%s has %d columns, want %d"):format(row, columns, cols) end
  end
  cols = cols or 0
  local memory = self.buffers:int32(name, rows * cols)
  for i = 1, rows do int32_memory.copy(name, rawget(value, i), memory, (i - 1) * cols, cols) end
  return memory, rows, cols, cols
end

-- Is the first of a list a group's table, and not the first row of the only group's?
local function is_table(first, is_memory, n)
  if is_memory then return n == 1 end
  if type(first) ~= "table" then return false end
  local kind = type(rawget(first, 1))
  return kind == "table" or kind == "cdata"
end

local function block_tables(self, value, cols, stride)
  local raw, groups = self.raw, self.groups
  local nested = int32_memory.one_a_group(value, groups > 1 and function() return true end or is_table)
  if groups > 1 and not nested then
    return args.wrong("block_table", value, "a list with one table per group")
  end
  if nested and args.length(value) ~= groups then
    return ("block_table has %d elements, want %d, one table per group"):format(args.length(value), groups)
  end
  local pointers = ffi.cast(tables_t, self.buffers:bytes("block_tables", groups * ffi.sizeof "void *"))
  for group = 1, groups do
    local name = nested and ("block_table[%d]"):format(group) or "block_table"
    local given = value
    if nested then given = rawget(value, group) end
    local memory, rows, columns, step = table_of(self, name, given, cols, stride)
    if not memory then return rows end
    if group > 1 and (rows ~= raw.block_table_rows or columns ~= raw.block_table_cols) then
      return ("%s is %d x %d, want %d x %d like the first"):format(name, rows, columns, raw.block_table_rows,
                                                                   raw.block_table_cols)
    elseif group > 1 and step ~= raw.block_table_stride then
      local first = tonumber(raw.block_table_stride)
      return ("%s has rows %d elements apart, want %d like the first"):format(name, step, first)
    end
    pointers[group - 1] = memory
    raw.block_table_rows, raw.block_table_cols, raw.block_table_stride = rows, columns, step
  end
  raw.block_tables = pointers
end

-- What the runner would pass for a step without padding.
local function defaults(raw)
  local rows, longest = raw.num_query_start_loc - 1, 0
  for i = 0, rows - 1 do
    longest = math.max(longest, raw.query_start_loc[i + 1] - raw.query_start_loc[i])
  end
  raw.num_reqs = math.max(rows, 0)
  raw.num_actual_tokens = rows > 0 and raw.query_start_loc[rows] or 0
  raw.max_query_len = math.min(longest, INT32_MAX)
end

-- The inputs by name. Each is read once: an __index may give something else the next time.
local function read(inputs)
  if type(inputs) ~= "table" then return nil, args.wrong("inputs", inputs, "a table") end
  local given, unknown = args.take(inputs, KNOWN)
  if not given then return nil, "unknown input " .. args.word(unknown) end
  return given
end

local function fill(self, inputs)
  local raw = self.raw
  for _, name in ipairs(NUMBERS) do
    local value = inputs[name]
    if not args.absent(value) and not args.integer(value, INT32_MIN, INT32_MAX) then
      return args.wrong_integer(name, value, INT32_MIN, INT32_MAX)
    end
  end
  if args.absent(inputs.query_start_loc) then
    return args.wrong("query_start_loc", nil, "a list or an int32_t array")
  end
  for _, name in ipairs(ARRAYS) do
    local memory, n = array(self, name, inputs[name])
    if not memory and n then return n end
    raw[name], raw["num_" .. name] = memory, n or 0
  end
  local rows = raw.num_query_start_loc - 1
  for _, name in ipairs(ROW_ARRAYS) do
    local memory, n = array(self, name, inputs[name])
    if not memory and n then return n end
    if memory and n ~= rows then return ("%s has %d elements, want %d, one per row"):format(name, n, rows) end
    raw[name] = memory
  end
  local cols = not args.absent(inputs.block_table_cols) and inputs.block_table_cols or nil
  local stride = not args.absent(inputs.block_table_stride) and inputs.block_table_stride or nil
  if not args.absent(inputs.block_table) then
    local message = block_tables(self, inputs.block_table, cols, stride)
    if message then return message end
  end
  defaults(raw)
  for _, name in ipairs(SCALARS) do
    if not args.absent(inputs[name]) then raw[name] = inputs[name] end
  end
end

--- The gdn_raw of `inputs`; it borrows their int32_t arrays.
---@param inputs table
---@return ffi.cdata*|nil raw, string? message
function Raw:fill(inputs)
  local given, message = read(inputs)
  if not given then return nil, message end
  ffi.fill(self.raw, ffi.sizeof(raw_t))
  self.raw.size = ffi.sizeof(raw_t)
  self.inputs = given -- keeps alive the arrays that the core reads
  message = fill(self, given)
  if message then return nil, message end
  return self.raw
end

function Raw:close()
  self.inputs = nil
  self.buffers:close()
end

local M = {}

---@param num_groups integer
function M.new(num_groups)
  return setmetatable({ raw = raw_t(), groups = num_groups, buffers = c_buffers.new() }, Raw)
end

return M
