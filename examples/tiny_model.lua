-- A language model of toy size with layers as Qwen3-Next has them, less its attention layers: bytes in, the
-- most likely printable byte out, weights drawn from a seed. Its GDN layers read only a step's metadata, so
-- that its output in a batch equals its output alone:
--   luajit examples/tiny_model.lua
local reference = require "gdnmeta.reference"
local sampling = require "examples.sampling"
local array_of = require "gdnmeta.array_of"

local LAYERS, HIDDEN, INNER = 4, 16, 32
local FIRST, LAST = 32, 126 -- bytes that it emits
local exp, sqrt = math.exp, math.sqrt
local doubles, int32s = array_of "double", array_of "int32_t"

-- Numbers in -1 .. 1, the same everywhere: a multiplicative generator whose products are exact.
local function drawer(seed)
  local state = seed % 2147483646 + 1
  return function()
    state = state * 48271 % 2147483647
    return state / 1073741824 - 1
  end
end

local function matrix(rows, columns, draw)
  local m = { rows = rows, columns = columns, cells = doubles(rows * columns) }
  for i = 0, rows * columns - 1 do m.cells[i] = draw() * sqrt(3 / columns) end
  return m
end

-- out[t, :] = m in[t, :]
local function multiply(m, from, to, t)
  local cells, rows, columns = m.cells, m.rows, m.columns
  for r = 0, rows - 1 do
    local sum = 0
    for c = 0, columns - 1 do sum = sum + cells[r * columns + c] * from[t * columns + c] end
    to[t * rows + r] = sum
  end
end

-- To a mean square of 1.
local function normalise(from, to, t, n)
  local sum = 0
  for c = t * n, t * n + n - 1 do sum = sum + from[c] * from[c] end
  local scale = 1 / sqrt(sum / n + 1e-6)
  for c = t * n, t * n + n - 1 do to[c] = from[c] * scale end
end

local function sigmoid(x) return 1 / (1 + exp(-x)) end

local Model = {}
Model.__index = Model

local function reserve(self, n)
  if n <= self.max_tokens then return end
  local gdn = self.layers[1].gdn
  n = math.max(n, 2 * self.max_tokens)
  self.max_tokens, self.next = n, int32s(n)
  self.h, self.normed, self.inner = doubles(n * HIDDEN), doubles(n * HIDDEN), doubles(n * INNER)
  self.x, self.o = doubles(n * gdn.channels), doubles(n * gdn.heads * gdn.value_dim)
  self.a, self.b = doubles(n * gdn.heads), doubles(n * gdn.heads)
  self.z, self.added = doubles(n * gdn.heads * gdn.value_dim), doubles(n * HIDDEN)
  self.logits = doubles(n * (LAST - FIRST + 1))
end

local function add(self, t)
  for c = t * HIDDEN, t * HIDDEN + HIDDEN - 1 do self.h[c] = self.h[c] + self.added[c] end
end

-- What a layer's GDN part takes from each token, and what it adds to it.
local function before_gdn(self, layer, t)
  normalise(self.h, self.normed, t, HIDDEN)
  multiply(layer.qkv, self.normed, self.x, t)
  multiply(layer.to_a, self.normed, self.a, t)
  multiply(layer.to_b, self.normed, self.b, t)
  multiply(layer.to_z, self.normed, self.z, t)
end

local function after_gdn(self, layer, t)
  local o, z, n = self.o, self.z, layer.to_z.rows
  normalise(o, o, t, n)
  for c = t * n, t * n + n - 1 do o[c] = o[c] * z[c] * sigmoid(z[c]) end
  multiply(layer.out, o, self.added, t)
  add(self, t)
  normalise(self.h, self.normed, t, HIDDEN)
  multiply(layer.up, self.normed, self.inner, t)
  for c = t * INNER, t * INNER + INNER - 1 do self.inner[c] = self.inner[c] * sigmoid(self.inner[c]) end
  multiply(layer.down, self.inner, self.added, t)
  add(self, t)
end

-- The greedy choice after a token.
local function choose(self, t)
  local n, best = self.head.rows, 0
  normalise(self.h, self.normed, t, HIDDEN)
  multiply(self.head, self.normed, self.logits, t)
  for c = 1, n - 1 do
    if self.logits[t * n + c] > self.logits[t * n + best] then best = c end
  end
  self.next[t] = FIRST + best
end

-- The model over n tokens; run(layer) is how a layer's GDN part sees them.
local function pass(self, tokens, n, run)
  reserve(self, n)
  for t = 0, n - 1 do
    local byte = tokens[t] % 256 -- no other number leads out of the table
    for c = 0, HIDDEN - 1 do self.h[t * HIDDEN + c] = self.embedding.cells[byte * HIDDEN + c] end
  end
  for number, layer in ipairs(self.layers) do
    for t = 0, n - 1 do before_gdn(self, layer, t) end
    run(self, layer, number, n)
    for t = 0, n - 1 do after_gdn(self, layer, t) end
  end
  for t = 0, n - 1 do choose(self, t) end
  return self.next
end

-- Layers take turns in the cache groups, so that the number of groups does not change the output.
local function run_step(self, layer, number)
  local group = (number - 1) % self.num_groups
  layer.gdn:forward(self.metadata:group(group), self.x, self.a, self.b, self.o)
end

--- Run a step.
---@param metadata table of the builder that the model was made for
---@param tokens ffi.cdata* int32_t[num_actual_tokens], bytes in the order of the batch
---@return ffi.cdata* next int32_t[num_actual_tokens], the greedy next byte after each token. Reused
function Model:forward(metadata, tokens)
  self.metadata = metadata
  return pass(self, tokens, metadata.num_actual_tokens, run_step)
end

--- Another choice after a token of the latest step than the most likely.
---@param t integer the token's place in the batch
---@param sampler table of examples/sampling.lua
---@param k integer which token of the answer it becomes, from 1
---@return integer byte
function Model:sample(t, sampler, k)
  local n = self.head.rows
  return FIRST + sampler:draw(self.logits, t * n, n, k)
end

local function run_alone(self, layer, number, n)
  layer.gdn:extend(self.sequences[number], self.x, self.a, self.b, n, self.o)
end

local M = {}

local function model(seed, num_groups, num_slots, num_spec)
  local draw = drawer(seed)
  local self = { max_tokens = 0, num_groups = num_groups, layers = {}, embedding = matrix(256, HIDDEN, draw) }
  for number = 1, LAYERS do
    local gdn = reference.layer { draw = draw, num_spec = num_spec,
                                  num_slots = num_slots[(number - 1) % num_groups + 1] }
    local values = gdn.heads * gdn.value_dim
    self.layers[number] = {
      gdn = gdn, qkv = matrix(gdn.channels, HIDDEN, draw), to_a = matrix(gdn.heads, HIDDEN, draw),
      to_b = matrix(gdn.heads, HIDDEN, draw), to_z = matrix(values, HIDDEN, draw),
      out = matrix(HIDDEN, values, draw),
      up = matrix(INNER, HIDDEN, draw), down = matrix(HIDDEN, INNER, draw),
    }
  end
  self.head = matrix(LAST - FIRST + 1, HIDDEN, draw)
  return setmetatable(self, Model)
end

--- A model with a state pool for every slot of the builder. Options: seed, builder.
---@param options table
---@return table model
function M.new(options)
  local builder = options.builder
  return model(options.seed, builder.num_groups, builder.num_slots, builder.num_spec)
end

--- The model's answer to a prompt, without batches or scheduling.
---@param seed integer
---@param prompt string not empty
---@param max_tokens integer
---@param sampled table|nil { temperature, top_p, seed }; greedy without
---@return string
function M.alone(seed, prompt, max_tokens, sampled)
  local self, said = model(seed, 1, { 2 }, 0), {}
  local sampler = sampled and sampling.new(sampled.temperature, sampled.top_p, sampled.seed)
  self.sequences = {}
  for number, layer in ipairs(self.layers) do self.sequences[number] = layer.gdn:sequence() end
  local tokens, n = int32s(math.max(#prompt, 1)), #prompt
  for i = 1, n do tokens[i - 1] = prompt:byte(i) end
  for i = 1, max_tokens do
    local next = pass(self, tokens, n, run_alone)[n - 1]
    tokens[0] = sampler and self:sample(n - 1, sampler, i) or next
    said[i], n = string.char(tokens[0]), 1
  end
  return table.concat(said)
end

local PROMPTS = { "Once upon a time", "a", "a prompt that is cut, being longer than a step", "x = y" }

local function main()
  local gdn, serving = require "gdnmeta", require "examples.serving"
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 3, max_num_batched_tokens = 24,
                                       num_groups = 3, num_speculative_tokens = 2 })
  local engine = assert(gdn.engine { builder = builder, policy = "decode_first" })
  local host, records, now = serving.new(engine, M.new { seed = 7, builder = builder }), {}, 0
  for id, prompt in ipairs(PROMPTS) do
    records[id] = assert(host:submit { id = id, prompt = prompt, max_tokens = 40 })
  end
  while host:step(now) do now = now + 1 end
  for id, prompt in ipairs(PROMPTS) do
    print(records[id].output, records[id].output == M.alone(7, prompt, 40) and "as alone" or "NOT AS ALONE")
  end
  print(("%d tokens in %d steps"):format(engine.stats.emitted, engine.stats.steps))
end

if arg and arg[0] and arg[0]:find "tiny_model%.lua$" then main() end
return M
