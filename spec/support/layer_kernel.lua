-- Stands in for the model of support/random_traffic.lua: a reference layer per cache group runs each step and
-- raises where a request's output, or the state that it ends with, is not what the request gets alone.
local alone = require "spec.support.unbatched"
local host_copies = require "spec.support.host_copies"
local reference = require "gdnmeta.reference"
local array_of = require "gdnmeta.array_of"

local doubles = array_of "double"
local GARBAGE = 1000 -- added to a family: the inputs of drafts that turn out wrong, and of padding

local Kernel = {}
Kernel.__index = Kernel

local function truth_of(self, g, family)
  local truths = self.truths[g]
  truths[family] = truths[family] or alone.run(self.layers[g], family, self.tokens)
  return truths[family]
end

-- Are they the same number, to within the tolerance? NaN never is.
local function same(self, got, want)
  return got == want or math.abs(got - want) <= self.tolerance * (1 + math.abs(want))
end

local function compare(self, got, from, want, at, n, ...)
  for i = 0, n - 1 do
    if not same(self, got[from + i], want[at + i]) then
      local where, format = ...
      error(("%s: %s: %.17g, alone %.17g"):format(where, format:format(select(3, ...)), got[from + i],
                                                  want[at + i]), 0)
    end
  end
end

-- A token counts unless it is a draft that turned out wrong.
local function counts(row, k) return row.drafts < 0 or k <= row.accepted end

-- A captured graph runs over whatever its buffers hold behind the step's tokens.
local function poison(self, layer, t)
  for c = t * layer.channels, (t + 1) * layer.channels - 1 do self.x[c] = 0 / 0 end
  for h = t * layer.heads, (t + 1) * layer.heads - 1 do self.a[h], self.b[h] = 0 / 0, 0 / 0 end
end

local function gather(self, rows, num_tokens, is_bucket)
  if num_tokens > self.capacity then
    local layer = self.layers[0]
    self.capacity = 2 * num_tokens
    self.x = doubles(self.capacity * layer.channels)
    self.out = doubles(self.capacity * layer.heads * layer.value_dim)
    self.a, self.b = doubles(self.capacity * layer.heads), doubles(self.capacity * layer.heads)
  end
  local t, layer = 0, self.layers[0]
  for _, row in ipairs(rows) do
    for k = 0, row.n - 1 do
      local family = counts(row, k) and row.family or row.family + GARBAGE
      alone.inputs(layer, family, row.computed + k, self.x, self.a, self.b, t)
      t = t + 1
    end
  end
  for padding = t, num_tokens - 1 do
    if is_bucket then
      poison(self, layer, padding)
    else
      alone.inputs(layer, GARBAGE, padding, self.x, self.a, self.b, padding)
    end
  end
end

local function check_outputs(self, g, rows, where)
  local t, values = 0, self.layers[g].heads * self.layers[g].value_dim
  for _, row in ipairs(rows) do
    for k = 0, row.n - 1 do
      if counts(row, k) and not row.is_dead then
        compare(self, self.out, t * values, truth_of(self, g, row.family).out, (row.computed + k) * values,
                values, where, "group %d request %s token %d", g, tostring(row.id), row.computed + k)
      end
      t = t + 1
    end
  end
end

-- Has the engine planned another step since, and moved the state that this row leaves aside?
local function is_aside(self, step, n, row)
  local r, i = self.engine.private.requests, step.request[n - 1]
  return r.sourced[i] == 1 and r.kept[i] == row.computed + row.n
end

-- The slots that each row leaves its states in, before the engine lets go of them.
local function note_slots(self, step, rows)
  self.noted = {}
  for n, row in ipairs(rows) do
    local noted = { row = row }
    for g = 0, self.groups - 1 do
      local column = is_aside(self, step, n, row) and self.width - 1 or step.column[n - 1]
      local slots, base = {}, step.table_row[n - 1] * self.width + column
      for k = 0, math.max(row.drafts, 0) do slots[k] = self.tables[g][base + k] end
      noted[g] = slots
    end
    self.noted[n] = noted
  end
end

--- Run a step, rows as state_kernel.lua has them.
function Kernel:run(step, rows, where)
  note_slots(self, step, rows)
  host_copies.of_layers(step, self.layers, self.groups, self.host)
  local meta = self.metadata(step, rows, self)
  gather(self, rows, meta.num_actual_tokens, meta.token_class ~= nil)
  for g = 0, self.groups - 1 do
    local group = meta:group(g)
    local undo = self.corrupt and self.corrupt(group, step, rows, g)
    local ok, message = pcall(self.layers[g].forward, self.layers[g], group, self.x, self.a, self.b, self.out)
    if undo then undo() end
    if not ok then error(where .. ": " .. tostring(message), 0) end
    check_outputs(self, g, rows, where)
    self.steps = self.steps + 1
  end
end

--- After the engine has completed the step: the states that finished requests leave.
function Kernel:check_states(step, where)
  for n, noted in ipairs(self.noted) do
    local row, emitted = noted.row, step.emitted[n - 1]
    if step.finish[n - 1] > 0 and not row.is_dead then
      local shift = row.drafts >= 0 and emitted - 1 or 0
      local tokens = row.drafts >= 0 and row.computed + emitted or row.computed + row.n
      for g = 0, self.groups - 1 do
        local layer, truth, slot = self.layers[g], truth_of(self, g, row.family), noted[g][shift]
        local before = (layer.width - 1) * layer.channels
        layer.pool:read_window(layer, self.windows_in_first and noted[g][0] or slot, shift)
        layer.pool:read_state(layer, slot)
        local what = ("group %d request %s"):format(g, tostring(row.id))
        compare(self, layer.history, 0, truth.history, tokens * before, before, where, "%s: window", what)
        compare(self, layer.state, 0, truth.state, tokens * layer.state_size, layer.state_size, where,
                "%s: state", what)
      end
      self.finished = self.finished + 1
    end
  end
end

--- The device and the host's copies are gone.
function Kernel:forget()
  self.host = {}
  for g = 0, self.groups - 1 do
    local pool = self.layers[g].pool
    for i = 0, pool.num_slots * pool.window_size - 1 do pool.windows[i] = 0 / 0 end
    for i = 0, pool.num_slots * self.layers[g].state_size - 1 do pool.states[i] = 0 / 0 end
  end
end

local M = {}

local function drawer(seed)
  local state = seed
  return function()
    state = state * 48271 % 2147483647
    return state / 1073741824 - 1
  end
end

--- For an engine whose texts have `tokens` at most. opts: form; tolerance, 0 by default: the same bits;
--- corrupt(meta, step, rows, group), returns a function that undoes what it did; metadata(step, rows, kernel)
--- in place of the step's own; windows_in_first: rows leave their windows in the first slot that they write.
function M.new(engine, tokens, opts)
  local builder = engine.builder
  local self = setmetatable({ engine = engine, groups = builder.num_groups,
                              width = builder.max_blocks_per_row, capacity = 0,
                              tokens = tokens, layers = {}, host = {}, truths = {}, tables = {},
                              steps = 0, finished = 0,
                              tolerance = opts.tolerance or 0, corrupt = opts.corrupt,
                              windows_in_first = opts.windows_in_first,
                              metadata = opts.metadata or function(step) return step.metadata end }, Kernel)
  for g = 0, self.groups - 1 do
    self.layers[g] = reference.layer { num_spec = builder.num_spec, num_slots = builder.num_slots[g + 1],
                                       form = opts.form, draw = drawer(g + 1) }
    self.truths[g], self.tables[g] = {}, builder:table(g)
  end
  return self
end

return M
