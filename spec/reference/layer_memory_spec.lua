-- Memory of the reference layer: a number for each value, and no more; and NaN where nothing was written.
local array_of = require "gdnmeta.array_of"
local ffi = require "ffi"
local gdn = require "gdnmeta"
local stands = require "spec.support.stands"

local doubles = array_of "double"

-- heads 3, channels 3 * (2 * 2 + 5) = 27, numbers of a state 3 * 2 * 5 = 30
local function new_layer(draw)
  return gdn.reference.layer { num_slots = 7, heads = 3, key_dim = 2, value_dim = 5, width = 3, num_spec = 1,
                               draw = draw or function() return 0.5 end }
end

-- Elements of each array of an object, by name.
local function arrays(object)
  local counts = {}
  for name, value in pairs(object) do
    if type(value) == "cdata" then
      local element = tostring(ffi.typeof(value)):find "int" and 4 or 8
      counts[name] = ffi.sizeof(value) / element
    end
  end
  return counts
end

local function nans(array, from, to)
  local n = 0
  for i = from, to - 1 do n = n + (array[i] ~= array[i] and 1 or 0) end
  return n
end

-- The metadata of some rows, { query_len, drafts or nil, prompt_done }.
local function build(mode, rows, padded)
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 6, max_num_batched_tokens = 200,
    num_speculative_tokens = 1, num_slots = 7, full_cuda_graph = mode })
  local batch = builder:batch()
  for n, row in ipairs(rows) do
    batch:add { query_len = row[1], seq_len = row[1] + (row[3] and 9 or 0), drafts = row[2],
                prompt_done = row[3] or false, blocks = { 2 * n - 1, 2 * n } }
  end
  if padded then batch:pad(padded[1], padded[2]) end
  return assert(builder:build(batch)), builder
end

-- A step, of sequences that have been computed in part.
local function forward(layer, meta)
  local n, pool = meta.num_actual_tokens, layer.pool
  for i = 0, 7 * pool.window_size - 1 do pool.windows[i] = 0.125 end
  for i = 0, 7 * layer.state_size - 1 do pool.states[i] = 0.125 end
  local out = doubles(n * 15, 7)
  layer:forward(meta, doubles(n * 27, 0.25), doubles(n * 3, 0.5), doubles(n * 3, -0.5), out)
  return out
end

describe("The reference layer's memory #lua", function()
  it("has weights as they are drawn: taps of channels, then decays, then steps", function()
    local drawn = 0
    local layer = new_layer(function()
      drawn = drawn + 1
      return drawn / 128
    end)
    assert.are.equal(27 * 3 + 3 + 3, drawn)
    for i = 0, 80 do assert.are.equal((i + 1) / 128, layer.conv_weight[i]) end
    for h = 0, 2 do
      assert.are.equal((82 + h) / 128 - 2, layer.a_log[h])
      assert.are.equal((85 + h) / 128, layer.dt_bias[h])
    end
  end)

  it("has a number for each value", function()
    local layer = new_layer()
    local fixed = { conv_weight = 27 * 3, a_log = 3, dt_bias = 3, history = 2 * 27, state = 30, u = 64 * 5,
                    G = 64 }
    assert.are.same(fixed, arrays(layer))
    assert.are.same({ windows = 7 * 3 * 27, states = 7 * 30 }, arrays(layer.pool))
    assert.are.same({ windows = 2 * 3 * 27, states = 2 * 30 }, arrays(layer:sequence()))
    assert.are.same({ 0, 0 }, { layer.max_tokens, layer.max_chunks })
  end)

  it("has room for the largest step, twice that where it grows, and for twice the chunks", function()
    local layer = new_layer()
    for _, case in ipairs { { 5, 5, 2 }, { 6, 10, 2 }, { 10, 10, 2 }, { 130, 130, 6 }, { 9, 130, 6 } } do
      local tokens, room, chunks = unpack(case)
      local meta, builder = build(false, { { tokens } })
      forward(layer, meta)
      local counts = arrays(layer)
      assert.are.same({ room, room * 27, room * 3, room * 3, room, room, chunks, chunks * 30 },
        { layer.max_tokens, counts.y, counts.g, counts.beta, counts.spec_at, counts.non_spec_at,
          layer.max_chunks, counts.between })
      builder:close()
    end
    local between = layer.between
    layer:reserve_between(6)
    assert.is_true(rawequal(between, layer.between))
  end)

  it("is NaN in a pool that nothing was written to", function()
    local pool = new_layer().pool
    assert.are.same({ 7 * 3 * 27, 7 * 30 },
      { nans(pool.windows, 0, 7 * 3 * 27), nans(pool.states, 0, 7 * 30) })
  end)

  it("is NaN for tokens of padding and for chunks that have not run, whatever stood there", function()
    local layer = new_layer()
    local meta, builder = build(true, { { 1, nil, true }, { 1, nil, true } }, { 4, 4 })
    layer:reserve_between(3)
    for i = 0, layer.max_chunks * 30 - 1 do layer.between[i] = 7 end
    layer:reserve_between(2)
    assert.are.same({ 60, 0 }, { nans(layer.between, 0, 60), nans(layer.between, 60, 180) })
    forward(layer, meta)
    for i = 0, layer.max_tokens * 27 - 1 do layer.y[i] = 7 end
    local out = forward(layer, meta)
    assert.are.same({ 0, 2 * 27 }, { nans(layer.y, 0, 2 * 27), nans(layer.y, 2 * 27, 4 * 27) })
    assert.are.same({ 0, 2 * 15 }, { nans(out, 0, 2 * 15), nans(out, 2 * 15, 4 * 15) })
    builder:close()
  end)

  it("is NaN where a step has no row, and tells places of a step from those of the one before", function()
    local layer = new_layer()
    local meta, builder = build(true, { { 2, 1, true }, { 1, nil, true }, { 2 } })
    forward(layer, meta)
    assert.are.same({ 2, 0 }, { layer.non_spec_at[0], layer.spec_at[0] })
    builder:close()
    meta, builder = build(true, { { 1, nil, true }, { 2 } })
    forward(layer, meta)
    assert.are.same({ 0, 1, 2 }, { layer.non_spec_at[0], layer.non_spec_at[1], layer.non_spec_at[2] })
    builder:close()
    for i = 0, layer.max_tokens * 27 - 1 do layer.y[i] = 7 end
    meta, builder = build(true, {}, { 2, 2 })
    assert.are.same({ 30, 54 }, { nans(forward(layer, meta), 0, 30), nans(layer.y, 0, 54) })
    builder:close()
  end)

  it("of a sequence begins with room for its tokens, and leaves what is behind them", function()
    local layer = new_layer()
    local sequence = layer:sequence()
    local function extend(n)
      local out = doubles(n * 15, 7)
      layer:extend(sequence, doubles(n * 27, 0.25), doubles(n * 3, 0.5), doubles(n * 3, -0.5), n, out)
      return out
    end
    local out, counts = extend(5), arrays(layer)
    assert.are.same({ 5, 5 * 27, 0, 5 }, { counts.non_spec_at, counts.y, nans(out, 0, 75), sequence.tokens })
    layer.non_spec_at[2], layer.y[2 * 27] = 77, 7
    extend(2)
    assert.are.same({ 0, 1, 77, 7, 7 }, { layer.non_spec_at[0], layer.non_spec_at[1], layer.non_spec_at[2],
      layer.y[2 * 27], sequence.tokens })
    -- The last two inputs in its window's first places: slot 1 of two, three tokens each.
    local windows = sequence.windows
    assert.are.same({ 81, 0, 27, 0.25 },
      { nans(windows, 0, 81), nans(windows, 81, 135), nans(windows, 135, 162), windows[81] })
  end)

  it("is not made without slots and weights, and names wrong slots and shifts", function()
    local function no(message, f, ...)
      local ok, is = pcall(f, ...)
      assert.are.same({ false, message }, { ok, is })
    end
    local want = "gdnmeta.reference.layer: "
    stands(want .. "num_slots = nil", function() gdn.reference.layer { draw = print } end)
    stands(want .. "draw = nil, want a function", function() gdn.reference.layer { num_slots = 3 } end)
    local layer = new_layer()
    assert.are.same({}, { rawget(layer, "num_slots"), rawget(layer, "draw") })
    local pool = layer.pool
    for _, slot in ipairs { -2, 7, 8 } do
      local message = ("gdnmeta.reference: slot %d, want 0 .. 6"):format(slot)
      no(message, pool.read_state, pool, layer, slot)
      no(message, pool.write_state, pool, layer, slot)
      no(message, pool.read_window, pool, layer, slot, 0)
      no(message, pool.write_window, pool, layer, slot, nil, nil, 0, 0, 2)
    end
    for _, shift in ipairs { -1, 2 } do
      local message = ("gdnmeta.reference: conv shift %d, want 0 .. 1"):format(shift)
      no(message, pool.read_window, pool, layer, 3, shift)
    end
    for slot = 0, 6 do pool:read_window(layer, slot, slot % 2) end
  end)

  it("of a bucket has a token more, for the one that lists name on padding, and is NaN there", function()
    local layer = new_layer()
    local rows = { { 2, 1, true }, { 1, nil, true }, { 3 } }
    local meta, builder = build("mixed", rows, { 4, 9 })
    forward(layer, meta)
    local s = layer.scratch
    for _, array in ipairs { s.out_spec, s.out_decode, s.out_prefill } do
      for i = 0, 10 * 15 - 1 do array[i] = 7 end
    end
    for _, side in ipairs { s.spec, s.plain } do
      for name, n in pairs(arrays(side)) do
        for i = 0, n - 1 do side[name][i] = 7 end
      end
    end
    forward(layer, meta)
    assert.are.equal(s, layer.scratch) -- none is made anew where there is room
    assert.are.equal(9, s.capacity)
    assert.are.same({ at = 10, out_spec = 150, out_decode = 150, out_prefill = 150 }, arrays(s))
    for k = 0, 9 do assert.are.equal(k, s.at[k]) end
    local wide = { x = 270, a = 30, b = 30, y = 270, g = 30, beta = 30 }
    for name, live in pairs { spec = 2, plain = 4 } do
      local side = s[name]
      assert.are.same(wide, arrays(side))
      for array, width in pairs { x = 27, a = 3, b = 3, y = 27 } do
        assert.are.same({ name, array, 0, (10 - live) * width }, { name, array,
          nans(side[array], 0, live * width), nans(side[array], live * width, 10 * width) })
      end
    end
    -- Of the side's tokens: the speculative row's two, the decode's, the prefill's three behind it.
    for name, live in pairs { out_spec = { 0, 2 }, out_decode = { 0, 1 }, out_prefill = { 1, 4 } } do
      local from, to = live[1] * 15, live[2] * 15
      assert.are.same({ name, from, 0, 150 - to }, { name, nans(s[name], 0, from), nans(s[name], from, to),
        nans(s[name], to, 150) })
    end
    builder:close()
  end)
end)
