-- A line of a recording that holds a step: made from a batch, and checked when it is read back from a file.
local fields = require("gdnmeta.native.schema").fields
local args = require "gdnmeta.native.args"
local format = require "gdnmeta.record.format"
local validate = require "gdnmeta.record.validate"
local validate_requests = require "gdnmeta.record.validate_requests"

local INT32_MIN, INT32_MAX = args.INT32_MIN, args.INT32_MAX
local LARGEST = 2 ^ 53 -- whole numbers up to here are exact
local LATEST = 9e15 -- seconds that are written: of 2^53 a line's 14 digits say more than may be read
local GRAPHS = { eager = true, piecewise = true, full = true }

local M = {}

local function column(array, n)
  local list = {}
  for i = 1, n do list[i] = array[i - 1] end
  return list
end

-- nil for a column that has the value everywhere.
local function unless_all(value, list)
  for i = 1, #list do
    if list[i] ~= value then return list end
  end
end

-- Cells that the build of these rows reads: a group's windows in sequence, and, if some state is read outside
-- them, the cell that each row reads (0 where it reads none).
local function cells_of(tables, facts, rows)
  local stride, blocks, reads, outside = facts.max_blocks_per_row, {}, {}, false
  for group = 1, facts.num_groups do
    local cells, list, read_list = tables[group - 1], {}, {}
    for i = 1, #rows.seq_len do
      local base, read = rows.table_row[i] * stride, rows.read_column[i]
      local first, width = format.window(facts, rows.seq_len[i])
      for k = first, first + width - 1 do list[#list + 1] = cells[base + k] end
      read_list[i] = read >= 0 and cells[base + read] or 0
      outside = outside or read >= 0 and (read < first or read >= first + width)
    end
    blocks[group], reads[group] = list, read_list
  end
  return blocks, outside and reads or nil
end

-- Slots of states that prefills keep before their end, a list per group: 0 in rows that keep none.
local function kept_slots(rows, lens)
  local lists = {}
  for group = 1, rows.num_groups do
    local slots, list = rows.checkpoint_slot + (group - 1) * rows.max_rows, {}
    for i = 1, #lens do list[i] = lens[i] > 0 and slots[i - 1] or 0 end
    lists[group] = list
  end
  return lists
end

--- A time as a file has it.
---@param now number
---@return number
function M.seconds(now) return math.max(-LATEST, math.min(now, LATEST)) end

local function now_problem(now)
  local seconds = type(now) == "number" and math.abs(now) <= LARGEST
  return not seconds and validate.wrong("now", now, "seconds in -2^53 .. 2^53") or nil
end

--- Check the line of a step in which nothing ran.
---@param d table document
---@return string|nil problem
function M.empty_problem(d)
  return validate.unknown(d, format.EMPTY) or validate.count("empty", d.empty, 1, LARGEST)
    or now_problem(d.now) or validate_requests(d)
end

--- The document of a step that was just built.
---@param step table of the engine
---@param tables table group -> int32_t *, the state tables
---@param facts table options of the builder
---@param meta table what came of it
---@param sums table of its tensors
---@return table document
function M.of(step, tables, facts, meta, sums)
  local n = step.num_rows
  local document = {
    step = step.number, now = M.seconds(step.now), graph = step.graph,
    padded_rows = step.padded_rows, padded_tokens = step.padded_tokens,
    query_len = column(step.query_len, n), seq_len = column(step.seq_len, n),
    drafts = column(step.drafts, n), accepted = column(step.last_accepted, n),
    prompt_done = column(step.prompt_done, n), table_row = column(step.table_row, n),
    read_column = column(step.read_column, n), counts = {}, sums = sums,
  }
  document.blocks, document.read_blocks = cells_of(tables, facts, document)
  document.drafts, document.accepted = unless_all(-1, document.drafts), unless_all(1, document.accepted)
  document.checkpoint_len = unless_all(0, column(step.rows.checkpoint_len, n))
  if document.checkpoint_len then
    document.checkpoint_slot = kept_slots(step.rows, document.checkpoint_len)
  end
  for i, name in ipairs(fields.counts) do document.counts[i] = meta[name] or 0 end
  return document
end

-- Recordings of the first edition have the counts up to num_rows.
local FIRST_COUNTS = 8

local function has_first_counts(d) return type(d.counts) == "table" and #d.counts == FIRST_COUNTS end

local function filled(value, n)
  local list = {}
  for i = 1, n do list[i] = value end
  return list
end

local function columns_problem(d, n, facts)
  if d.drafts == nil then d.drafts = filled(-1, n) end
  if d.accepted == nil then d.accepted = filled(1, n) end
  return validate.integers("query_len", d.query_len, n, 0, INT32_MAX)
    or validate.integers("seq_len", d.seq_len, n, INT32_MIN, INT32_MAX)
    or validate.integers("drafts", d.drafts, n, -1, INT32_MAX)
    or validate.integers("accepted", d.accepted, n, INT32_MIN, INT32_MAX)
    or validate.integers("prompt_done", d.prompt_done, n, 0, 1)
    or validate.integers("table_row", d.table_row, n, 0, facts.max_requests - 1)
    or validate.integers("read_column", d.read_column, n, -1, facts.max_blocks_per_row - 1)
end

-- Rows of their own, and windows within the tables: a rebuild writes there.
local function places_problem(d, n, facts)
  local taken = {}
  for i = 1, n do
    local row = d.table_row[i]
    if taken[row] then
      return ("table_row[%d] = %d, want another than row %d has"):format(i - 1, row, taken[row])
    end
    taken[row] = i - 1
    local first, width = format.window(facts, d.seq_len[i])
    if first + width > facts.max_blocks_per_row then
      return ("seq_len[%d] = %d, want blocks within the %d columns of the state tables"):format(i - 1,
        d.seq_len[i], facts.max_blocks_per_row)
    end
  end
end

local function sizes_problem(d, n, facts)
  local tokens = 0
  for i = 1, n do tokens = tokens + d.query_len[i] end
  local most = facts.max_num_batched_tokens
  if tokens > most then return ("query_len adds up to %.0f, want at most %d"):format(tokens, most) end
  return validate.count("padded_rows", d.padded_rows, n, facts.max_rows)
    or validate.count("padded_tokens", d.padded_tokens, tokens, most)
end

local function blocks_problem(name, lists, n, facts)
  if type(lists) ~= "table" or args.length(lists) ~= facts.num_groups then
    return validate.wrong(name, lists, ("a list of %d lists, one per group"):format(facts.num_groups))
  end
  for group = 1, facts.num_groups do
    local problem = validate.integers(("%s[%d]"):format(name, group - 1), lists[group], n, 0, INT32_MAX)
    if problem then return problem end
  end
end

-- A request that begins with cached tokens has them before its row.
local function cached_problem(d, n)
  if d.cached == nil then return nil end
  local problem = validate.integers("cached", d.cached, n, 0, INT32_MAX)
  for i = 1, problem and 0 or n do
    local before = d.seq_len[i] - d.query_len[i]
    if d.cached[i] ~= 0 and d.cached[i] ~= before then
      return ("cached[%d] = %d, want 0 or %d, the tokens before its row"):format(i - 1, d.cached[i], before)
    end
  end
  return problem
end

-- What is restored has been cached before, if not always in this step: its build may have been refused.
local function restored_problem(d, n)
  if d.restored == nil then return nil end
  local problem = validate.integers("restored", d.restored, n, 0, 1)
  for i, is in ipairs(problem and {} or d.restored) do
    if is == 1 and d.seq_len[i] == d.query_len[i] then
      return ("restored[%d] = 1, want 0 for a row that begins with no tokens"):format(i - 1)
    end
  end
  return problem
end

local function checkpoints_problem(d, n, facts)
  if d.checkpoint_len == nil then
    return d.checkpoint_slot ~= nil and "checkpoint_slot without checkpoint_len, want both or neither" or nil
  end
  return validate.integers("checkpoint_len", d.checkpoint_len, n, 0, INT32_MAX)
    or blocks_problem("checkpoint_slot", d.checkpoint_slot, n, facts)
end

local function sum_problem(name, list, n)
  if type(list) ~= "table" or args.length(list) ~= n then
    return validate.wrong("sums." .. name, list, ("a list of %d"):format(n))
  end
  for i = 1, n do
    if type(list[i]) ~= "string" or #list[i] ~= 16 or list[i]:find "%X" then
      return validate.wrong(("sums.%s[%d]"):format(name, i - 1), list[i], "16 hexadecimal digits")
    end
  end
end

local function sums_problem(sums, facts)
  if type(sums) ~= "table" then return validate.wrong("sums", sums, "an object") end
  local problem = validate.unknown(sums, fields.tensors)
  if problem then return "sums: " .. problem end
  for _, name in ipairs(fields.tensors) do
    local n = fields.per_group[name] and facts.num_groups or 1
    problem = sums[name] ~= nil and sum_problem(name, sums[name], n)
    if problem then return problem end
  end
end

--- Check a step's line; columns that were left out are there afterwards.
---@param d table document
---@param facts table the header's builder
---@return table|nil step
---@return string? message
function M.parse(d, facts)
  local n = type(d.query_len) == "table" and args.length(d.query_len) or 0
  local _, width = format.window(facts, 0)
  local problem = validate.unknown(d, format.STEP) or validate.count("step", d.step, 1, LARGEST)
    or now_problem(d.now)
    or not GRAPHS[d.graph] and validate.wrong("graph", d.graph, '"eager", "piecewise" or "full"')
    or (n < 1 or n > facts.max_rows) and ("query_len has %d elements, want 1 .. %d"):format(n, facts.max_rows)
    or columns_problem(d, n, facts) or places_problem(d, n, facts) or sizes_problem(d, n, facts)
    or blocks_problem("blocks", d.blocks, n * width, facts)
    or d.read_blocks ~= nil and blocks_problem("read_blocks", d.read_blocks, n, facts)
    or checkpoints_problem(d, n, facts) or cached_problem(d, n)
    or restored_problem(d, n)
    or validate.integers("counts", d.counts, has_first_counts(d) and FIRST_COUNTS or #fields.counts,
                         INT32_MIN, INT32_MAX)
    or sums_problem(d.sums, facts) or validate_requests(d, n)
  if problem then return nil, problem end
  return d
end

return M
