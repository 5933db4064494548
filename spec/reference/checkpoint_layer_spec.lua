-- A prefill's state and conv window are kept at its checkpoint: a request that begins there equals itself
-- alone, bit for bit, in steps as they come and in buckets.
local alone = require "spec.support.unbatched"
local gdn = require "gdnmeta"
local reference = require "gdnmeta.reference"
local array_of = require "gdnmeta.array_of"

local doubles = array_of "double"

local function draw()
  local state = 5
  return function()
    state = state * 48271 % 2147483647
    return state / 1073741824 - 1
  end
end

-- step { { family, first token, tokens, slot, checkpoint_len, checkpoint_slot, read slot, drafts }, ... }
-- gives the outputs of each row.
local function feeder(form, options)
  local l = reference.layer { num_slots = 20, draw = draw(), form = form, num_spec = options.S }
  local all = { device = "cpu", max_num_seqs = 8, max_num_batched_tokens = 600, num_slots = 20, check = true,
                max_blocks_per_row = 5, num_speculative_tokens = options.S, checkpoint_any = options.any,
                full_cuda_graph = options.mixed and "mixed" or false }
  local builder = assert(gdn.builder(all))
  local batch, values = assert(builder:batch()), l.heads * l.value_dim
  return function(rows)
    local T = 600
    local x, a, b, out, t = doubles(T * l.channels), doubles(T * l.heads), doubles(T * l.heads),
      doubles(T * values), 0
    batch:clear()
    for _, row in ipairs(rows) do
      local blocks = { row[4], row[4] + 1, row[4] + 2, row[4] + 3, row[7] or 0 }
      local own = row[8] ~= nil or row[2] > 0 and row[3] == 1 and not row[7]
      assert(batch:add { query_len = row[3], seq_len = row[2] + row[3], blocks = blocks, drafts = row[8],
                         prompt_done = own, read_column = row[7] and 4 or nil, checkpoint_len = row[5],
                         checkpoint_slot = row[6] })
      for p = row[2], row[2] + row[3] - 1 do
        alone.inputs(l, row[1], p, x, a, b, t)
        t = t + 1
      end
    end
    if options.mixed then assert(batch:pad(8, T)) end
    l:forward(assert(builder:build(batch)), x, a, b, out)
    assert(builder:take_check_result())
    local outputs, at = {}, 0
    for n, row in ipairs(rows) do
      local list = {}
      for i = 1, row[3] * values do list[i] = out[at + i - 1] end
      outputs[n], at = list, at + row[3] * values
    end
    return outputs
  end, values
end

local function tail(list, from)
  local out = {}
  for i = from + 1, #list do out[#out + 1] = list[i] end
  return out
end

describe("A layer that keeps states before the end of a prefill #lua", function()
  local function plays(form, S, mixed, any, len)
    local where = ("%s, S = %d, mixed %s, at %d"):format(form, S, tostring(mixed), len)
    local options = { S = S, mixed = mixed, any = any }
    local whole = feeder(form, options) { { 1, 0, 200, 1 } }[1]
    local step, values = feeder(form, options)
    step { { 3, 0, 30, 12 } }
    -- Family 1 keeps its state in company, once in the middle of a prompt that had 20 tokens computed, too.
    local drafts = S > 0 and 0 or nil
    step { { 3, 30, 1, 12, nil, nil, nil, drafts }, { 1, 0, 200, 1, len, 17 } }
    local later = step { { 3, 31, 1, 12 }, { 1, len, 200 - len, 6, nil, nil, 17 } }[2]
    assert.are.same(tail(whole, len * values), later, where)
    -- The slot is as it was, for the next one.
    assert.are.same(later, step { { 1, len, 200 - len, 1, nil, nil, 17 } }[1], where)
    -- What came from a checkpoint may keep another.
    if len + 64 < 200 then
      step { { 1, len, 200 - len, 1, len + 64, 18, 17 } }
      later = step { { 1, len + 64, 136 - len, 6, nil, nil, 18 } }[1]
      assert.are.same(tail(whole, (len + 64) * values), later, where)
    end
  end

  for _, mixed in ipairs { false, true } do
    for _, S in ipairs { 0, 2 } do
      local how = mixed and "in buckets" or "by steps"
      it(("equals itself alone from it on, %s, S = %d"):format(how, S), function()
        for _, len in ipairs { 64, 128, 192 } do
          plays("chunked", S, mixed, false, len)
          plays("recurrent", S, mixed, false, len)
        end
        for _, len in ipairs { 1, 2, 63, 65, 130, 199 } do plays("recurrent", S, mixed, true, len) end
      end)
    end
  end
end)
