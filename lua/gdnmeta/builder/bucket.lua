-- Buckets of full_cuda_graph = "mixed": (rows, tokens), from which all shapes follow.
local args = require "gdnmeta.native.args"
local printed = require "gdnmeta.native.printed"
local schema = require "gdnmeta.native.schema"
local tensor = require "gdnmeta.tensor"

local INT32_MAX = args.INT32_MAX
local NUMBERS = { "num_rows", "num_actual_tokens", "num_tiles" }
local BUCKET = printed.figures("Bucket", NUMBERS)
local SIZES = { rows = true, tokens = true }

local M = {}

--- What is wrong with the sizes of a bucket, before the core is called.
---@param rows any
---@param tokens any
---@return string|nil message
function M.wrong(rows, tokens)
  if not args.integer(rows, 0, INT32_MAX) then
    return args.wrong_integer("rows", rows, 0, INT32_MAX)
  elseif not args.integer(tokens, 0, INT32_MAX) then
    return args.wrong_integer("tokens", tokens, 0, INT32_MAX)
  end
end

--- The sizes in { rows =, tokens = }.
---@param inputs any
---@return integer|nil rows, integer|string tokens or what is wrong
function M.sizes(inputs)
  if type(inputs) ~= "table" then return nil, args.wrong("inputs", inputs, "a table") end
  for name in next, inputs do
    if not SIZES[name] then
      return nil, ("unknown input %s, want rows and tokens of a bucket"):format(args.word(name))
    end
  end
  local rows, tokens = inputs.rows, inputs.tokens -- each read once
  local message = M.wrong(rows, tokens)
  if message then return nil, message end
  return rows, tokens
end

--- Why a builder without buckets cannot capture one, where the inputs are a bucket's sizes.
---@param inputs any
---@return string|nil message
function M.refused(inputs)
  if type(inputs) ~= "table" then return end
  for _, name in ipairs { "rows", "tokens" } do
    if rawget(inputs, name) ~= nil then
      return ('inputs have %s, want full_cuda_graph = "mixed" for a bucket'):format(name)
    end
  end
end

--- The options, with full_cuda_graph as buckets want it. Others are for the parser to judge, which also
--- reads those that a metatable has.
---@param given any
---@return any
function M.options(given)
  if given == nil then return { full_cuda_graph = "mixed" } end
  if type(given) ~= "table" or not args.absent(given.full_cuda_graph) then return given end
  local options = setmetatable({}, { __index = given })
  for name, value in next, given do options[name] = value end
  options.full_cuda_graph = "mixed"
  return options
end

--- A gdn_metadata without data as a table: numbers by name, { shape, dtype, per_group } for each tensor.
---@param out ffi.cdata* gdn_metadata[1]; a reference to its element would not keep it alive
---@return table
function M.shapes(out)
  local bucket = setmetatable({}, BUCKET)
  for _, name in ipairs(NUMBERS) do bucket[name] = out[0][name] end
  for _, name in ipairs(schema.fields.tensors) do
    local t = out[0][name]
    if t.ndim > 0 then
      bucket[name] = { shape = t.ndim == 1 and { t.shape[0] } or { t.shape[0], t.shape[1] },
                       dtype = tensor.DTYPES[t.dtype], per_group = schema.fields.per_group[name] }
    end
  end
  return bucket
end

return M
