-- The buckets that graphs of mixed steps are captured for: R rows and T tokens each. A step takes the
-- smallest one by its counts, whatever its rows are.
local args = require "gdnmeta.native.args"
local options_of = require "gdnmeta.native.options"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local M = {}

local MOST = 1024 -- buckets
local MOST_TOKENS = 65536 -- of a size to pad to where no bucket holds a step, as capture_sizes
local FIELDS = { rows = true, tokens = true }

-- Powers of two below `most`, then `most`.
local function doubling(from, most)
  local list = {}
  while from < most do
    list[#list + 1] = from
    from = 2 * from
  end
  list[#list + 1] = most
  return list
end

local function ascending(a, b) return a.tokens < b.tokens or a.tokens == b.tokens and a.rows < b.rows end

--- The usual buckets: 1, 2, 4 .. max_num_seqs rows that decode, with all their drafts; then every row, and
--- tokens that double up to max_tokens.
---@param max_num_seqs integer
---@param num_spec integer
---@param max_tokens integer
---@return table[] buckets { rows, tokens } each, ascending
function M.usual(max_num_seqs, num_spec, max_tokens)
  local list, last = {}, 0
  for _, rows in ipairs(doubling(1, max_num_seqs)) do
    if rows * (1 + num_spec) > max_tokens then break end
    last = rows * (1 + num_spec)
    list[#list + 1] = { rows = rows, tokens = last }
  end
  for _, tokens in ipairs(doubling(math.max(1, last), max_tokens)) do
    if tokens > last then list[#list + 1] = { rows = max_num_seqs, tokens = tokens } end
  end
  return list
end

local function bucket_problem(place, entry)
  local name = ("mixed_capture_sizes[%d]"):format(place)
  if type(entry) ~= "table" then return args.wrong(name, entry, "{ rows =, tokens = }") end
  local copy, unknown = args.take(entry, FIELDS)
  if not copy then return ("%s: %s"):format(name, options_of.unknown("field", unknown, FIELDS)) end
  for _, field in ipairs { "rows", "tokens" } do
    if not args.integer(copy[field], 1, args.INT32_MAX) then
      return args.wrong_integer(name .. "." .. field, copy[field], 1, args.INT32_MAX)
    end
  end
  return nil, copy
end

--- A host's list, in any order, as a sorted copy without doubles.
---@param value any the option
---@return table[]|nil buckets
---@return string? problem
function M.parse(value)
  if value == false then return {} end
  if type(value) ~= "table" then
    return nil, args.wrong("mixed_capture_sizes", value, "a list of buckets, or false")
  end
  local list, length = {}, #value
  for n in next, value do
    if not args.integer(n, 1, length) then
      return nil, ("mixed_capture_sizes[%s]: want a list without gaps"):format(args.show(n))
    end
  end
  if length > MOST then
    return nil, ("mixed_capture_sizes: %d buckets, want at most %d"):format(length, MOST)
  end
  for n = 1, length do
    local problem, copy = bucket_problem(n, rawget(value, n))
    if problem then return nil, problem end
    list[n] = copy
  end
  table.sort(list, ascending)
  local kept = {}
  for _, bucket in ipairs(list) do
    local last = kept[#kept]
    if not last or last.rows ~= bucket.rows or last.tokens ~= bucket.tokens then kept[#kept + 1] = bucket end
  end
  return kept
end

--- What the list says of tokens alone: each T once, ascending, without very large ones.
---@param list table[] ascending
---@return integer[]
function M.token_sizes(list)
  local sizes = {}
  for _, bucket in ipairs(list) do
    local tokens = bucket.tokens
    if tokens ~= sizes[#sizes] and tokens <= MOST_TOKENS then sizes[#sizes + 1] = tokens end
  end
  return sizes
end

--- The list as arrays, for `find`.
---@param list table[] ascending
---@return table buckets { n, rows = int32_t[n], tokens = int32_t[n] }
function M.new(list)
  local n = #list
  local self = { n = n, rows = int32s(n), tokens = int32s(n) }
  for k, bucket in ipairs(list) do self.rows[k - 1], self.tokens[k - 1] = bucket.rows, bucket.tokens end
  return self
end

--- The smallest bucket that holds a step: by its tokens, then by its rows.
---@param self table
---@param rows integer
---@param tokens integer
---@return integer place 0-based; -1: no bucket holds it
function M.find(self, rows, tokens)
  for k = 0, self.n - 1 do
    if self.tokens[k] >= tokens and self.rows[k] >= rows then return k end
  end
  return -1
end

--- The fewest tokens of a bucket that holds so many; nil: none does.
---@param self table
---@param tokens number
---@return integer|nil
function M.pad(self, tokens)
  for k = 0, self.n - 1 do
    if self.tokens[k] >= tokens then return self.tokens[k] end
  end
end

--- Whether a bucket is in the list, as it is.
---@param self table
---@param rows integer
---@param tokens integer
---@return boolean
function M.has(self, rows, tokens)
  local k = M.find(self, rows, tokens) -- of those that hold so much it is the first
  return k >= 0 and self.tokens[k] == tokens and self.rows[k] == rows
end

return M
