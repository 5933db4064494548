-- Values of the reference layer over a few steps, to nine digits, against spec/goldens/texts: what forms are
-- compared with elsewhere is here compared with what it was.
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local workload = require "gdnmeta.sim.workload"
local array_of = require "gdnmeta.array_of"

local doubles = array_of "double"

local function shown(list, from, to)
  local parts = {}
  for i = from, to do parts[#parts + 1] = ("%.9g"):format(list[i]):gsub("%-?nan", "nan") end
  return table.concat(parts, " ")
end

-- { query_len, seq_len, blocks, drafts, accepted, prompt_done }: steps of two sequences and a third.
local STEPS = {
  { { 5, 5, 1 }, { 70, 70, 4 } },
  { { 3, 8, 1, 2, 1, true }, { 66, 136, 4 }, { 1, 1, 7 } },
  { { 3, 9, 1, 2, 2, true }, { 3, 139, 4, 2, 1, true }, { 2, 3, 7 } },
  { { 2, 11, 1, 1, 3, true }, { 1, 140, 4, 0, 1, true }, { 3, 6, 7, 2, 1, true } },
}

describe("The reference layer #lua", function()
  it("has these sizes if it is not told others", function()
    local layer = gdn.reference.layer { num_slots = 2, draw = function() return 0 end }
    assert.are.same({ 2, 4, 4, 4, 0, 24, 32, "recurrent" }, { layer.heads, layer.key_dim, layer.value_dim,
      layer.width, layer.num_spec, layer.channels, layer.state_size, layer.form ==
      require("gdnmeta.reference.delta_rule").recurrent and "recurrent" })
  end)

  it("has no output for padding, whatever stood there", function()
    for tokens = 1, 6 do
      local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 6, max_num_batched_tokens = 16,
                                           full_cuda_graph = true })
      local layer = gdn.reference.layer { num_slots = 16, draw = function() return 0.5 end, heads = 3,
                                          key_dim = 2, value_dim = 5 }
      local batch = builder:batch()
      batch:add { query_len = 1, seq_len = 1, blocks = { 3 }, prompt_done = true }
      batch:pad(tokens, tokens)
      local meta = assert(builder:build(batch))
      local x, a, b = doubles(tokens * layer.channels, 1), doubles(tokens * 3, 1), doubles(tokens * 3, 1)
      local out = doubles(tokens * 15 + 1, 7)
      layer:forward(meta, x, a, b, out)
      for i = 0, tokens * 15 - 1 do assert.are.equal(i < 15, out[i] == out[i], tokens .. " " .. i) end
      assert.are.equal(7, out[tokens * 15])
      builder:close()
    end
  end)

  for _, form in ipairs { "recurrent", "chunked" } do
    it("gives these values, " .. form, function()
      local random = workload.random(4)
      local function draw() return 2 * random() - 1 end
      local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 256,
                                           num_speculative_tokens = 2, num_slots = 16 })
      local layer = gdn.reference.layer { num_slots = 16, form = form, draw = draw, heads = 2, key_dim = 3,
                                          value_dim = 2, width = 3, num_spec = 2 }
      local parts = { ("channels %d, state %d"):format(layer.channels, layer.state_size) }
      local function inputs(n)
        local x, a, b = doubles(n * layer.channels), doubles(n * 2), doubles(n * 2)
        for i = 0, n * layer.channels - 1 do x[i] = draw() end
        for i = 0, 2 * n - 1 do a[i], b[i] = draw(), draw() end
        return x, a, b, doubles(n * 4)
      end
      for number, step in ipairs(STEPS) do
        local batch = builder:batch()
        for _, row in ipairs(step) do
          batch:add { query_len = row[1], seq_len = row[2], blocks = { row[3], row[3] + 1, row[3] + 2 },
                      drafts = row[4], accepted = row[5], prompt_done = row[6] or false }
        end
        local meta = assert(builder:build(batch))
        local n = meta.num_actual_tokens
        local x, a, b, out = inputs(n)
        layer:forward(meta, x, a, b, out)
        parts[#parts + 1] = ("step %d, %d tokens"):format(number, n)
        for t = 0, n - 1 do
          if t < 12 or t > n - 8 or t % 16 == 0 then
            parts[#parts + 1] = ("  %d: %s"):format(t, shown(out, 4 * t, 4 * t + 3))
          end
        end
      end
      local sequence = layer:sequence()
      for _, n in ipairs { 1, 3, 66 } do
        local x, a, b, out = inputs(n)
        layer:extend(sequence, x, a, b, n, out)
        parts[#parts + 1] = ("alone, %d tokens: %s ... %s"):format(n, shown(out, 0, 3),
          shown(out, 4 * n - 4, 4 * n - 1))
      end
      parts[#parts + 1] = "tokens " .. sequence.tokens
      golden("reference-" .. form, table.concat(parts, "\n") .. "\n")
      builder:close()
    end)
  end
end)
