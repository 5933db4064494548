-- What the programs of the reference layer's kernels compute, and in which order: tokens of the convolution,
-- stretches of the delta rule, slots that are read (capitals) and written. Against spec/goldens/texts. Its
-- outputs do not tell a program that computes another's tokens a second time.
local array_of = require "gdnmeta.array_of"
local conv1d = require "gdnmeta.reference.conv1d"
local delta_rule = require "gdnmeta.reference.delta_rule"
local drawer = require "spec.support.drawer"
local gdn = require "gdnmeta"
local noted = require "spec.support.noted"

local doubles = array_of "double"
local notes = noted.new "reference-"

-- { query_len, tokens computed before, drafts or nil, where its state is kept, as well or nil }
local STEPS = {
  { { 1, 0 }, { 9, 0 }, padded = { 2, 10 } }, -- as many tiles as two rows of ten tokens may have
  { { 1, 9 }, { 1, 4 }, padded = { 4, 6 } },
  { { 3, 9, 2 }, { 1, 9, 0 }, { 2, 7, 1 }, padded = { 5, 9 } },
  { { 2, 9, 1 }, { 1, 5 }, { 70, 64 }, { 3, 0 }, padded = { 6, 80 } },
  { { 1, 5 }, { 130, 3 }, { 64, 0 }, { 8, 0 }, padded = { 4, 203 } },
  { { 1, 5 }, { 130, 64, nil, 128 }, { 64, 0, nil, 40 }, padded = { 5, 198 } },
  { { 3, 9, 2, accepted = 3 }, { 1, 9, 0, accepted = 2, read = 2 }, { 2, 9, 1 }, { 1, 7, accepted = 3 },
    { 9, 9, accepted = 2 }, { 4, 8, read = 1 }, padded = { 6, 23 } },
  { { 1, 9, accepted = 2 }, { 1, 8, read = 2 }, padded = { 5, 5 } },
}

-- Metadata with some other fields.
local function with(meta, fields) return setmetatable(fields, { __index = meta }) end

describe("The layer's programs #lua", function()
  local token, recurrent, calls
  before_each(function()
    notes.clear()
    token, recurrent, calls = conv1d.token, delta_rule.recurrent, {}
    function conv1d.token(l, x, at, first, k)
      calls[#calls + 1] = ("c%d+%d"):format(first, k)
      return token(l, x, at, first, k)
    end
    function delta_rule.recurrent(l, at, first, last, out)
      calls[#calls + 1] = ("r%d..%d"):format(first, last - 1)
      return recurrent(l, at, first, last, out)
    end
  end)
  after_each(function() conv1d.token, delta_rule.recurrent = token, recurrent end)

  local function new_layer()
    local layer = gdn.reference.layer { num_slots = 40, num_spec = 2, heads = 1, key_dim = 1, value_dim = 1,
                                        draw = function() return 0.5 end }
    function layer.form(l, at, first, last, out)
      calls[#calls + 1] = ("f%d..%d"):format(first, last - 1)
      return recurrent(l, at, first, last, out)
    end
    local pool = layer.pool
    function pool.fresh() calls[#calls + 1] = "0" end
    function pool.read_window(_, _, slot, shift) calls[#calls + 1] = ("W%d:%d"):format(slot, shift) end
    function pool.read_state(_, _, slot) calls[#calls + 1] = ("S%d"):format(slot) end
    function pool.write_window(_, _, slot, _, _, first, from, count)
      calls[#calls + 1] = ("w%d:%d,%d+%d"):format(slot, first, from, count)
    end
    function pool.write_state(_, _, slot) calls[#calls + 1] = ("s%d"):format(slot) end
    return layer
  end

  local function build(step, mode, rules)
    local builder = assert(gdn.builder { device = "cpu", rules = rules or "strict", max_num_seqs = 6,
      max_num_batched_tokens = 210, num_speculative_tokens = 2, num_slots = 40, full_cuda_graph = mode,
      checkpoint_any = not rules })
    local batch = builder:batch()
    for n, row in ipairs(step) do
      batch:add { query_len = row[1], seq_len = row[1] + row[2], drafts = row[3],
                  blocks = { n, n + 10, n + 20 }, prompt_done = row[1] <= 3 and row[2] > 0,
                  accepted = row.accepted, read_column = row.read,
                  checkpoint_len = row[4], checkpoint_slot = row[4] and 30 + n }
    end
    if mode then batch:pad(step.padded[1], step.padded[2]) end
    return assert(builder:build(batch)), builder
  end

  local function forward(layer, meta)
    calls = {}
    local n = meta.num_actual_tokens
    layer:forward(meta, doubles(n * 3, 0.5), doubles(n, 0.5), doubles(n, 0.5), doubles(n))
    return table.concat(calls, " ")
  end

  -- Runs of tokens of one row as one word.
  local function short(text)
    local words, first, from, to = {}, nil, nil, nil
    local function flush()
      if first then words[#words + 1] = ("c%d+%d..%d"):format(first, from, to) end
      first = nil
    end
    for word in text:gmatch "%S+" do
      local at, k = word:match "^c(%d+)%+(%d+)$"
      if at and at == first and tonumber(k) == to + 1 then
        to = to + 1
      elseif at then
        flush()
        first, from, to = at, tonumber(k), tonumber(k)
      else
        flush()
        words[#words + 1] = word
      end
    end
    flush()
    return table.concat(words, " ")
  end

  for _, mode in ipairs { false, true, "mixed" } do
    it("compute each token once, full_cuda_graph = " .. tostring(mode), function()
      for number, step in ipairs(STEPS) do
        local is_captured = number == 2 or number == 3 or number == 8
        if mode ~= true or is_captured then
          local meta, builder = build(step, mode)
          notes.note(number, short(forward(new_layer(), meta)))
          builder:close()
        end
      end
      notes.check("programs-" .. tostring(mode))
    end)
  end

  for _, rules in ipairs { "vllm-2026-04", "vllm-2026-08" } do
    it("compute each token once, and read where they write, rules = " .. rules, function()
      for number, step in ipairs(STEPS) do
        if number ~= 6 then -- no state is kept before a prefill's end
          local meta, builder = build(step, false, rules)
          notes.note(number, short(forward(new_layer(), meta)))
          builder:close()
        end
      end
      notes.check("programs-" .. rules)
    end)
  end

  it("are as many as a bucket may need, whatever stands behind", function()
    local meta, builder = build(STEPS[1], "mixed")
    local layer = new_layer()
    local before, programs = forward(layer, meta), meta.num_tiles
    meta.batch_ptr.data[programs], meta.token_chunk_offset_ptr.data[programs] = 0, 0
    assert.are.equal(before, forward(layer, meta))
    local wanted = ("gdnmeta.reference: programs of conv1d = %d, want 0 .. %d"):format(programs, programs - 1)
    for n = programs - 1, programs do
      local rows = {}
      for k = 0, n do rows[k] = meta.batch_ptr[k] end
      assert.are.equal(n, #rows)
      local ok, message = pcall(forward, layer, with(meta, { batch_ptr = rows }))
      assert.are.equal(n == programs, ok)
      if not ok then assert.are.equal(wanted, message) end
    end
    builder:close()
  end)

  it("stop where a list is longer than the step, or a row ends behind it", function()
    local function stops(step, fields, message)
      local meta, builder = build(step, false)
      for name, f in pairs(fields) do fields[name] = f(meta[name]) end
      local ok, is = pcall(forward, new_layer(), with(meta, fields))
      assert.are.same({ false, message }, { ok, is })
      builder:close()
    end
    local function longer()
      local list = { [0] = 0 }
      for i = 1, 77 do list[i] = 0 end
      return list
    end
    -- 76 tokens, two of them of the speculative row
    stops(STEPS[4], { spec_token_indx = longer }, "gdnmeta.reference: #spec_token_indx = 77, want 0 .. 76")
    stops(STEPS[4], { non_spec_token_indx = longer },
      "gdnmeta.reference: #non_spec_token_indx = 77, want 0 .. 76")
    -- a decode, then prefills of 130 + 64 + 8 tokens
    stops(STEPS[5], { prefill_query_start_loc = function(view)
      view.data[3] = 203
      return view
    end }, "gdnmeta.reference: prefill_query_start_loc[3] = 203, want 0 .. 202")
  end)

  it("leave the same whichever row's chunks come first", function()
    for _, mode in ipairs { false, "mixed" } do
      local meta, builder = build({ { 1, 5 }, { 130, 64 }, { 66, 0 }, { 9, 0 }, padded = { 5, 208 } }, mode)
      local draw = drawer(3)
      local layer = gdn.reference.layer { num_slots = 40, num_spec = 2, heads = 2, key_dim = 3, value_dim = 3,
                                          draw = function() return draw(101) / 50 - 1 end }
      local n, chunks = meta.num_actual_tokens, meta.chunk_indices.data
      local x, a, b = doubles(n * layer.channels), doubles(n * 2), doubles(n * 2)
      for i = 0, n * layer.channels - 1 do x[i] = i % 11 / 11 - 0.5 end
      for i = 0, n * 2 - 1 do a[i], b[i] = i % 7 / 7, i % 5 / 5 end
      local function outputs()
        for i = 0, 40 * layer.pool.window_size - 1 do layer.pool.windows[i] = i % 13 / 13 end
        for i = 0, 40 * layer.state_size - 1 do layer.pool.states[i] = i % 17 / 17 end
        local out, values = doubles(n * 6), {}
        layer:forward(meta, x, a, b, out)
        for i = 0, n * 6 - 1 do values[i + 1] = out[i] == out[i] and out[i] or "none" end
        for i = 0, 40 * layer.state_size - 1 do values[#values + 1] = layer.pool.states[i] end
        return values
      end
      local in_order = outputs()
      for k, pair in ipairs { { 1, 0 }, { 0, 0 }, { 2, 0 }, { 0, 1 }, { 1, 1 }, { 0, 2 } } do
        chunks[2 * k - 2], chunks[2 * k - 1] = unpack(pair)
      end
      assert.are.same(in_order, outputs())
      builder:close()
    end
  end)
end)
