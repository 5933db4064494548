-- What the reference layer computes: the equations written out a second time, and what is equal to the bit.
local alone = require "spec.support.unbatched"
local gdn = require "gdnmeta"
local reference = require "gdnmeta.reference"
local array_of = require "gdnmeta.array_of"

local doubles = array_of "double"

local function weights(seed)
  local state = seed
  return function()
    state = state * 48271 % 2147483647
    return state / 1073741824 - 1
  end
end

local function layer(options)
  local o = { num_slots = 9, draw = weights(5) }
  for name, value in pairs(options or {}) do o[name] = value end
  return reference.layer(o)
end

-- A layer and a builder to feed it: step { { family, first token, tokens, slot }, ... } gives the outputs of
-- each row.
local function feeder(options)
  local l = layer(options)
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 8, max_num_batched_tokens = 1024 })
  local batch = assert(builder:batch())
  local values = l.heads * l.value_dim
  return function(rows)
    local n = 0
    for _, row in ipairs(rows) do n = n + row[3] end
    local x, a, b = doubles(n * l.channels), doubles(n * l.heads), doubles(n * l.heads)
    local out, t = doubles(n * values), 0
    batch:clear()
    for _, row in ipairs(rows) do
      assert(batch:add { query_len = row[3], seq_len = row[2] + row[3], blocks = { row[4] } })
      for p = row[2], row[2] + row[3] - 1 do
        alone.inputs(l, row[1], p, x, a, b, t)
        t = t + 1
      end
    end
    l:forward(assert(builder:build(batch)), x, a, b, out)
    local outputs, at = {}, 0
    for n_row, row in ipairs(rows) do
      local list = {}
      for i = 1, row[3] * values do list[i] = out[at + i - 1] end
      outputs[n_row], at = list, at + row[3] * values
    end
    return outputs
  end, l
end

local function joined(...)
  local whole = {}
  for _, part in ipairs { ... } do
    for _, value in ipairs(part) do whole[#whole + 1] = value end
  end
  return whole
end

local function far_apart(one, other)
  local worst = 0
  for i = 1, #one do worst = math.max(worst, math.abs(one[i] - other[i])) end
  return worst
end

-- S <- exp(g) S (I - beta k k^T) + beta v k^T, o = S q, with matrices as lists of rows and S [value, key]:
-- the transpose of the layer's, one head after the other, from the convolution on.
local function equations(l, family, tokens)
  local outputs, dk, dv = {}, l.key_dim, l.value_dim
  local x, a, b, y = {}, doubles(l.heads), doubles(l.heads), {}
  local S = {}
  for h = 1, l.heads do
    S[h] = {}
    for j = 1, dv do
      S[h][j] = {}
      for i = 1, dk do S[h][j][i] = 0 end
    end
  end
  local function unit(from)
    local list, sum = {}, 0
    for i = 1, dk do
      list[i] = y[from + i]
      sum = sum + list[i] ^ 2
    end
    for i = 1, dk do list[i] = list[i] / math.sqrt(sum + 1e-6) end
    return list
  end
  for p = 0, tokens - 1 do
    x[p] = doubles(l.channels)
    alone.inputs(l, family, p, x[p], a, b, 0)
    for c = 0, l.channels - 1 do
      local sum = 0
      for lag = 0, math.min(p, l.width - 1) do
        sum = sum + l.conv_weight[c * l.width + l.width - 1 - lag] * x[p - lag][c]
      end
      y[c + 1] = sum / (1 + math.exp(-sum))
    end
    for h = 1, l.heads do
      local q, k = unit((h - 1) * dk), unit((l.heads + h - 1) * dk)
      local v = 2 * l.heads * dk + (h - 1) * dv
      local g = -math.exp(l.a_log[h - 1]) * math.log(1 + math.exp(a[h - 1] + l.dt_bias[h - 1]))
      local beta = 1 / (1 + math.exp(-b[h - 1]))
      for j = 1, dv do
        local row, seen, o = S[h][j], 0, 0
        for i = 1, dk do seen = seen + row[i] * k[i] end
        for i = 1, dk do
          row[i] = math.exp(g) * (row[i] - beta * seen * k[i]) + beta * y[v + j] * k[i]
          o = o + row[i] * q[i] / math.sqrt(dk)
        end
        outputs[#outputs + 1] = o
      end
    end
  end
  return outputs
end

describe("A reference layer #lua", function()
  it("computes the gated delta rule, in both forms, for any sizes", function()
    for _, form in ipairs { "recurrent", "chunked" } do
      for _, sizes in ipairs { {}, { heads = 3, key_dim = 2, value_dim = 5, width = 2 } } do
        sizes.form = form
        local step, l = feeder(sizes)
        local got, want = step { { 1, 0, 150, 3 } }[1], equations(l, 1, 150)
        assert.are.equal(#want, #got)
        assert.is_true(far_apart(got, want) < 1e-13, form)
      end
    end
  end)

  it("gives the same bits however a prompt is cut, token by token", function()
    local whole = feeder() { { 1, 0, 150, 3 } }[1]
    local step = feeder()
    local first, second = step { { 1, 0, 1, 3 } }[1], step { { 1, 1, 90, 3 } }[1]
    local third = step { { 1, 91, 59, 3 } }[1]
    assert.are.same(whole, joined(first, second, third))
  end)

  it("gives the same bits in chunks, in any company, where the cuts are multiples of 64", function()
    local chunked = { form = "chunked" }
    local whole = feeder(chunked) { { 1, 0, 200, 3 } }[1]
    local step = feeder(chunked)
    step { { 2, 0, 30, 1 } }
    local first = step { { 2, 30, 1, 1 }, { 1, 0, 128, 3 }, { 3, 0, 65, 2 } }[2]
    local second = step { { 3, 65, 70, 2 }, { 1, 128, 72, 3 } }[2]
    assert.are.same(whole, joined(first, second))
    local odd = feeder(chunked)
    local other = joined(odd { { 1, 0, 100, 3 } }[1], odd { { 1, 100, 100, 3 } }[1])
    assert.are_not.same(whole, other) -- other cuts, other roundings
    assert.is_true(far_apart(whole, other) < 1e-14)
  end)

  it("starts fresh in a slot that another left, one token long too", function()
    local step = feeder()
    step { { 1, 0, 40, 3 } }
    assert.are.same(feeder() { { 2, 0, 1, 3 } }, step { { 2, 0, 1, 3 } })
  end)

  it("runs the step of a capture, and touches no slot", function()
    for _, pad_slot_id in ipairs { 0, -1 } do
      for _, length in ipairs { 1, 3 } do
        local l = layer { num_spec = 2 }
        local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, num_speculative_tokens = 2,
                                             pad_slot_id = pad_slot_id, full_cuda_graph = true })
        local meta = assert(builder:capture { query_start_loc = { 0, length, 2 * length } })
        local n = 2 * length
        local out = doubles(n * l.heads * l.value_dim)
        l:forward(meta, doubles(n * l.channels), doubles(n * l.heads), doubles(n * l.heads), out)
        for slot = 0, 8 do
          l.pool:read_state(l, slot)
          assert.are_not.equal(l.state[0], l.state[0]) -- NaN, as it was
        end
        assert.are.equal(0, out[n * l.heads * l.value_dim - 1])
      end
    end
  end)

  it("names what leads out of its pool", function()
    local l = layer { num_slots = 4 }
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 8, max_num_batched_tokens = 64 })
    local batch = assert(builder:batch())
    batch:add { query_len = 2, seq_len = 2, blocks = { 7 } }
    local x, a, b, out = doubles(2 * l.channels), doubles(4), doubles(4), doubles(16)
    assert.has_error(function() l:forward(builder:build(batch), x, a, b, out) end,
                     "gdnmeta.reference: slot 7, want 0 .. 3")
  end)

  it("wants sizes, a form and weights", function()
    assert.has_error(function() layer { width = 1 } end,
                     "gdnmeta.reference.layer: width = 1, want an integer in 2 .. 1024")
    assert.has_error(function() layer { num_slots = 2796203 } end,
                     "gdnmeta.reference.layer: num_slots = 2796203, want at most 2796202 of 96 numbers each")
    assert.has_error(function() layer { key_dim = 1024, value_dim = 1024, heads = 129 } end,
      "gdnmeta.reference.layer: heads = 129, key_dim = 1024, value_dim = 1024, width = 4 and num_spec = 0 "
        .. "make arrays of 135266304 numbers, want at most 134217727")
    assert.has_error(function() layer { num_slots = 0 } end,
                     "gdnmeta.reference.layer: num_slots = 0, want an integer in 1 .. 2147483647")
    assert.has_error(function() layer { form = "linear" } end,
                     'gdnmeta.reference.layer: form = "linear", want "recurrent" or "chunked"')
    assert.has_error(function() layer { head = 1 } end, "gdnmeta.reference.layer: unknown option head, "
      .. "want one of draw, form, heads, key_dim, num_slots, num_spec, value_dim, width")
    assert.has_error(function() layer { draw = 1 } end,
                     "gdnmeta.reference.layer: draw = 1, want a function that returns numbers")
  end)
end)
