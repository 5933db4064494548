-- examples/sampling.lua: draws follow the probabilities, and an answer depends on its seed alone.
local gdn = require "gdnmeta"
local sampling = require "examples.sampling"
local serving = require "examples.serving"
local tiny = require "examples.tiny_model"
local array_of = require "gdnmeta.array_of"

local doubles = array_of "double"

-- Shares of n draws, each the first of a seed of its own or the k-th of one.
local function shares(logits, options, one_seed)
  local cells, n = doubles(#logits, logits), 20000
  local counts, sampler = {}, sampling.new(options.temperature, options.top_p, 5)
  for c = 1, #logits do counts[c] = 0 end
  for k = 1, n do
    local draws = one_seed and sampler or sampling.new(options.temperature, options.top_p, k)
    local c = draws:draw(cells, 0, #logits, one_seed and k or 1) + 1
    counts[c] = counts[c] + 1 / n
  end
  return counts
end

describe("examples/sampling.lua #lua", function()
  it("draws by probability, over seeds and over the tokens of one", function()
    local logits = { 0, 1, 2, -1 }
    for _, temperature in ipairs { 0.5, 1, 2 } do
      local z = 0
      for _, l in ipairs(logits) do z = z + math.exp(l / temperature) end
      for _, one_seed in ipairs { true, false } do
        for c, share in ipairs(shares(logits, { temperature = temperature }, one_seed)) do
          local want = math.exp(logits[c] / temperature) / z
          -- Five deviations of 20,000 draws.
          assert.is_true(math.abs(share - want) < 5 * math.sqrt(want / 20000), temperature .. " " .. share)
        end
      end
    end
  end)

  it("draws from the likeliest that have top_p together", function()
    local logits = { math.log(0.1), math.log(0.5), math.log(0.15), math.log(0.25) }
    for top_p, kept in pairs { [0] = { 2 }, [0.4] = { 2 }, [0.6] = { 2, 4 }, [0.8] = { 2, 4, 3 },
                               [1] = { 1, 2, 3, 4 } } do
      local total, seen = 0, shares(logits, { temperature = 1, top_p = top_p }, true)
      for _, c in ipairs(kept) do total = total + math.exp(logits[c]) end
      for c = 1, 4 do
        local among = false
        for _, one in ipairs(kept) do among = among or one == c end
        local want = among and math.exp(logits[c]) / total or 0
        assert.is_true(math.abs(seen[c] - want) <= 5 * math.sqrt(want / 20000), top_p .. " " .. c)
      end
    end
  end)

  it("is greedy without a temperature, and near 0", function()
    assert.is_nil(sampling.new(0, 1, 1))
    assert.is_nil(sampling.new(nil, nil, 1))
    for _, temperature in ipairs { 1e-300, 1e-6 } do
      local seen = shares({ 1, 1.1, 1 }, { temperature = temperature }, true)
      assert.are.same({ 0, 0 }, { seen[1], seen[3] })
    end
  end)

  it("says in batches, with drafts and after preemptions, what it says alone", function()
    for _, spec in ipairs { 0, 3 } do
      local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 3, max_num_batched_tokens = 24,
                                           num_speculative_tokens = spec })
      local engine = assert(gdn.engine { builder = builder, policy = "decode_first", max_model_len = 90,
                                         kv_tokens = 112, kv_block_size = 4, kv_headroom = 0 })
      local host, records, now = serving.new(engine, tiny.new { seed = 7, builder = builder }), {}, 0
      for id = 1, 8 do
        records[id] = assert(host:submit { id = id, prompt = ("ab"):rep(id), max_tokens = 40, seed = id,
                                           temperature = id % 3 == 0 and 0 or id / 8, top_p = 0.9 })
      end
      while host:step(now) do now = now + 1 end
      for id, record in ipairs(records) do
        local sampled = { temperature = id % 3 == 0 and 0 or id / 8, top_p = 0.9, seed = id }
        assert.are.equal(tiny.alone(7, ("ab"):rep(id), 40, sampled), record.output)
      end
      assert.is_true(engine.stats.preemptions > 0)
    end
  end)
end)

describe("stop texts of examples/serving.lua #lua", function()
  it("end an answer after the first that is whole, with drafts too", function()
    local text = tiny.alone(7, "one", 60)
    for _, spec in ipairs { 0, 3 } do
      local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 3, max_num_batched_tokens = 24,
                                           num_speculative_tokens = spec })
      local engine = assert(gdn.engine { builder = builder, max_model_len = 200 })
      local host, records = serving.new(engine, tiny.new { seed = 7, builder = builder }), {}
      for length = 1, 5 do
        local stop = text:sub(30, 29 + length)
        records[stop] = assert(host:submit { id = length, prompt = "one", max_tokens = 60,
                                             stop = { "one", stop, stop .. text:sub(30 + length,
                                               30 + length) } })
      end
      for now = 0, 1000 do
        if not host:step(now) then break end
      end
      for stop, record in pairs(records) do
        assert.are.same({ text:sub(1, select(2, text:find(stop, 1, true))), "stop" }, { record.output,
          record.reason })
      end
    end
    local host = serving.new(assert(gdn.engine { max_model_len = 9, builder = assert(gdn.builder {
      device = "cpu", max_num_seqs = 1, max_num_batched_tokens = 9 }) }), { forward = function() end })
    assert.has_error(function() host:submit { id = 1, prompt = "a", max_tokens = 1, stop = "" } end,
      "serving: stop: want strings that are not empty")
    assert.has_error(function() host:submit { id = 1, prompt = "a", max_tokens = 1, temperature = 1 } end,
      "serving: temperature: the model has no method sample, want 0")
  end)
end)
