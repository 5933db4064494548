--- A Gated DeltaNet layer that reads the metadata of a step, in plain double precision: what every tensor
-- means, as a program. It is made to be read and compared with, not to be fast.
--
-- A token's inputs are a row of x [tokens, channels] = q, k of heads * key_dim each and v of
-- heads * value_dim, and its gates a, b [tokens, heads]. Outputs are out [tokens, heads, value_dim]. All
-- are double arrays in the order of the batch; state is in a pool with a slot for every slot of the group.
local args = require "gdnmeta.native.args"
local bucket = require "gdnmeta.reference.bucket"
local conv1d = require "gdnmeta.reference.conv1d"
local delta_rule = require "gdnmeta.reference.delta_rule"
local domains = require "gdnmeta.native.domains"
local kernels = require "gdnmeta.reference.kernels"
local options = require "gdnmeta.native.options"
local state_pool = require "gdnmeta.reference.state_pool"
local methods = require "gdnmeta.native.methods"
local row_map = require "gdnmeta.reference.row_map"
local array_of = require "gdnmeta.array_of"

local doubles, int32s = array_of "double", array_of "int32_t"
local NAN = 0 / 0

---@class gdnmeta.Layer
---@field channels integer q, k and v of all heads
---@field heads integer
---@field key_dim integer
---@field value_dim integer
---@field width integer taps of conv1d
---@field num_spec integer drafts per row at most
---@field conv_weight ffi.cdata* double [channels, width]
---@field a_log ffi.cdata* double [heads]
---@field dt_bias ffi.cdata* double [heads]
local Layer = {}
methods.strict("Layer", Layer, { between = true, y = true, g = true, beta = true, spec_at = true,
                                 non_spec_at = true, scratch = true })

-- Scratch for a step of n tokens. What no kernel writes stays NaN.
local function reserve(self, n, out)
  if n > self.max_tokens then
    self.max_tokens = math.max(n, 2 * self.max_tokens)
    self.y = doubles(self.max_tokens * self.channels)
    self.g, self.beta = doubles(self.max_tokens * self.heads), doubles(self.max_tokens * self.heads)
    self.spec_at, self.non_spec_at = int32s(self.max_tokens), int32s(self.max_tokens)
  end
  for i = 0, n * self.channels - 1 do self.y[i] = NAN end
  for i = 0, n * self.heads * self.value_dim - 1 do out[i] = NAN end
end

--- Memory for the states between the chunks of a step; kernels ask for it.
---@param chunks integer
---@local
function Layer:reserve_between(chunks)
  local size = chunks * self.state_size
  if chunks > self.max_chunks then
    self.max_chunks, self.between = 2 * chunks, doubles(2 * size)
  end
  for i = 0, size - 1 do self.between[i] = NAN end
end

--- Run a step. Tokens of padding have no outputs: NaN. A step of a bucket (full_cuda_graph = "mixed") runs as
-- a captured graph would.
---@param meta table a builder's metadata, or its group() whose pool this is
---@param x ffi.cdata* double[num_actual_tokens * channels]
---@param a ffi.cdata* double[num_actual_tokens * heads]
---@param b ffi.cdata* double[num_actual_tokens * heads]
---@param out ffi.cdata* double[num_actual_tokens * heads * value_dim]
function Layer:forward(meta, x, a, b, out)
  if getmetatable(self) ~= Layer then methods.colon("Layer", "forward") end
  local n = meta.num_actual_tokens
  reserve(self, n, out)
  if meta.token_class then return bucket.forward(self, meta, x, a, b, out) end
  local spec = meta.num_spec_decodes > 0 and row_map.spec(meta, self.spec_at)
  local half = row_map.non_spec(meta, self.non_spec_at)
  local has_prefills = meta.num_prefills > 0
  if spec then kernels.conv_spec(self, meta, spec, x) end
  if has_prefills then
    kernels.conv_tiles(self, meta, half, x)
  elseif half then
    kernels.conv_decodes(self, meta, half, x)
  end
  delta_rule.gates(self, a, b, n)
  if spec then kernels.delta_spec(self, meta, spec, out) end
  if has_prefills then
    local decodes, prefills = row_map.chunked(meta, half)
    kernels.delta_decodes(self, meta, half, decodes, out)
    kernels.delta_chunks(self, meta, prefills, out)
  elseif half then
    kernels.delta_decodes(self, meta, half, half.rows, out)
  end
end

--- A request by itself: no slots, no metadata. What forward() gives must equal what this gives.
---@return table sequence
function Layer:sequence()
  if getmetatable(self) ~= Layer then methods.colon("Layer", "sequence") end
  local pool = state_pool.new(self, 2)
  pool.tokens = 0
  return pool
end

--- The sequence's next n tokens, one after the other.
---@param sequence table from sequence()
---@param x ffi.cdata* double [n, channels]: q, k and v of each token
---@param a ffi.cdata* double [n, heads]
---@param b ffi.cdata* double [n, heads]
---@param n integer
---@param out ffi.cdata* double [n, heads, value_dim]
function Layer:extend(sequence, x, a, b, n, out)
  if getmetatable(self) ~= Layer then methods.colon("Layer", "extend") end
  reserve(self, n, out)
  local at, slot = self.non_spec_at, 1
  for i = 0, n - 1 do at[i] = i end
  self.pool.fresh(self)
  if sequence.tokens > 0 then
    sequence:read_window(self, slot, 0)
    sequence:read_state(self, slot)
  end
  for k = 0, n - 1 do conv1d.token(self, x, at, 0, k) end
  sequence:write_window(self, slot, x, at, 0, n, self.width - 1)
  delta_rule.gates(self, a, b, n)
  delta_rule.recurrent(self, at, 0, n, out)
  sequence:write_state(self, slot)
  sequence.tokens = sequence.tokens + n
end

function Layer:__tostring()
  return ("gdnmeta.Layer(heads=%d, key_dim=%d, value_dim=%d, width=%d, num_spec=%d)"):format(self.heads,
    self.key_dim, self.value_dim, self.width, self.num_spec)
end

local function size(default, least) return { default, domains.integer(least, 1024) } end

-- name -> default, domain, must it be given
local SPEC = {
  heads = size(2, 1), key_dim = size(4, 1), value_dim = size(4, 1), width = size(4, 2), num_spec = size(0, 0),
  num_slots = { nil, domains.integer(1, args.INT32_MAX), true },
  form = { delta_rule.recurrent, domains.one_of({ "recurrent", "chunked" }, {
    recurrent = delta_rule.recurrent, chunked = delta_rule.chunked,
  }) },
  draw = { nil, domains.of_type("function", "a function that returns numbers"), true },
}

local function drawn(n, draw, middle)
  local list = doubles(n)
  for i = 0, n - 1 do list[i] = middle + draw() end
  return list
end

local M = {}

--- A layer with weights drawn from `draw`, a function that returns numbers in -1 .. 1.
--- Options: num_slots of its group; heads = 2, key_dim = 4, value_dim = 4, width = 4 (conv taps),
--- num_spec = 0 (drafts of a row at most); form = "recurrent" (prefills token by token, the same bits
--- however a prompt is cut) or "chunked" (as prefill kernels compute, the same bits for the same cuts).
---@param given table
---@return table layer its weights are conv_weight [channels, width], a_log [heads], dt_bias [heads]
function M.layer(given)
  if type(given) ~= "table" then
    error("gdnmeta.reference.layer: want a table of options, got " .. args.show(given), 2)
  end
  given = options.parse("gdnmeta.reference.layer", given, SPEC)
  local self = { max_tokens = 0, max_chunks = 0 }
  for name in pairs(SPEC) do
    if name ~= "num_slots" and name ~= "draw" then self[name] = given[name] end
  end
  self.channels = self.heads * (2 * self.key_dim + self.value_dim)
  self.state_size = self.heads * self.key_dim * self.value_dim
  local problem = state_pool.problem(self, given.num_slots)
  if problem then error("gdnmeta.reference.layer: " .. problem, 2) end
  self.conv_weight = drawn(self.channels * self.width, given.draw, 0)
  self.a_log, self.dt_bias = drawn(self.heads, given.draw, -2), drawn(self.heads, given.draw, 0)
  self.history, self.state = doubles((self.width - 1) * self.channels), doubles(self.state_size)
  self.u, self.G = doubles(delta_rule.CHUNK * self.value_dim), doubles(delta_rule.CHUNK)
  self.pool = state_pool.new(self, given.num_slots)
  return setmetatable(self, Layer)
end

return M
