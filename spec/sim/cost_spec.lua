-- The cost of a step: its terms by hand, its text form, and the presets.
local cost = require "gdnmeta.sim.cost"
local presets = require "gdnmeta.sim.presets"
local raises = require "spec.support.raises"

local NAMES = "active, c0, c_att, c_cpu, c_cpu_row, c_ctx, c_draft, c_eager, c_experts, c_pf, c_seq, "
  .. "c_state, c_tok, c_w, overlap"

describe("the cost of a step #lua", function()
  it("is the sum of its terms", function()
    local model = cost.new { c0 = 1, c_w = 8, c_tok = 0.01, c_pf = 0.1, c_seq = 0.2, c_ctx = 1e-3,
                             c_att = 1e-6, c_draft = 0.5, c_eager = 3 }
    -- 1 + max(8, 0.01 * 300) + 0.1 * 40 + 0.2 * 10 + 1e-3 * 5000 + 1e-6 * 1e6 + 0.5 * 3
    assert.are.equal(1 + 8 + 4 + 2 + 5 + 1 + 1.5, model:ms(300, 40, 10, 5000, 1e6, 3, false))
    assert.are.equal(1 + 12 + 3, model:ms(1200, 0, 0, 0, 0, 0, true))
  end)

  it("names the argument that is no number, at the caller's line", function()
    local gdn = require "gdnmeta"
    local model = gdn.sim.cost "constant-20ms"
    raises('sim.cost.predict: tokens = "x", want a number', function() model.predict("x", 1) end)
    raises("sim.cost.predict: tokens = nil, want a number", function() model.predict() end)
    raises("sim.cost.predict: rows = a table, want a number", function() model.predict(1, {}) end)
    raises("sim.cost.tokens_within: seconds = nil, want a number", function() model.tokens_within() end)
    raises('sim.cost.tokens_within: rows = "1", want a number', function() model.tokens_within(1, "1") end)
    raises("sim.cost.tokens_within: most = true, want a number",
           function() model.tokens_within(1, 1, true) end)
    assert.are.same({ 0.02, 8 }, { model.predict(5), model.tokens_within(1, nil, 8) })
  end)

  it("is predicted for decodes and a prefill that begins its prompt", function()
    local model = cost.new { c0 = 1, c_w = 8, c_tok = 0.5, c_pf = 0.25, c_seq = 2, c_att = 0.5, c_ctx = 64,
                             c_draft = 64, c_eager = 64, c_state = 64 }
    for rows = 0, 4 do
      for tokens = 0, 40, 4 do
        local n, pairs_of = math.max(tokens - rows, 0), 0
        for k = 1, n do pairs_of = pairs_of + k - 0.5 end -- a token with all before it and half of itself
        local want = 1 + math.max(8, 0.5 * tokens) + 2 * rows + 0.25 * n + 0.5 * pairs_of
        assert.are.equal(want, model:predict(tokens, rows), ("%d tokens, %d rows"):format(tokens, rows))
      end
    end
  end)

  it("has the host's time on top, or hidden by the device's when the host is a step ahead", function()
    assert.are.equal(12, cost.new { c0 = 10, c_cpu = 2 }:ms(1, 0, 1, 0, 0, 0, false))
    assert.are.equal(10, cost.new { c0 = 10, c_cpu = 2, async = true }:ms(1, 0, 1, 0, 0, 0, false))
    assert.are.equal(2, cost.new { c0 = 1, c_cpu = 2, async = true }:ms(1, 0, 1, 0, 0, 0, false))
  end)

  it("says how many prefill tokens fit into a time", function()
    local model = cost.new { c0 = 10, c_seq = 1, c_pf = 0.5 }
    assert.are.equal(20, model:tokens_within(25, 5)) -- 10 + 5 + 0.5 * 20
    assert.are.equal(19, model:tokens_within(24.9, 5))
    assert.are.equal(0, model:tokens_within(3, 5))
    assert.are.equal(25, model:predict(25, 5))
    assert.are.equal(2^24, cost.new { c0 = 1 }:tokens_within(2))
  end)

  it("is the same question in milliseconds and in seconds, and the answer to the last token", function()
    local terms = { c0 = 3, c_w = 20, c_experts = 7, active = 0.25, c_tok = 0.125, c_pf = 0.0625, c_seq = 0.5,
                    c_att = 1e-4, overlap = 0.5, c_cpu = 1, c_cpu_row = 0.25 }
    local model = cost.new(terms)
    local seconds = model:in_seconds()
    for rows = 0, 40, 8 do
      for _, tokens in ipairs { 0, 1, 2, 7, 300, 4096 } do
        local ms = model:predict(rows + tokens, rows)
        assert.are.equal(ms / 1000, seconds.predict(rows + tokens, rows))
        -- The last of those that take as long.
        local most = tokens
        while model:predict(rows + most + 1, rows) <= ms do most = most + 1 end
        assert.are.equal(most, model:tokens_within(ms, rows))
        assert.are.equal(most, seconds.tokens_within(ms / 1000, rows))
        assert.are.equal(math.min(most, 5), seconds.tokens_within(ms / 1000, rows, 5))
      end
    end
    assert.are.equal(model:predict(9, 0) / 1000, seconds.predict(9))
    assert.are.equal(9, seconds.tokens_within(model:predict(9, 0) / 1000))
  end)

  it("reads the share of the experts that its tokens go to", function()
    local model = cost.new { c_w = 1, c_experts = 16, active = 0.5 }
    for tokens, want in pairs { [0] = 1, 9, 13, 15, 16 } do
      assert.are.equal(want, model:device_ms(tokens, 0, 0, 0, 0, 0, false))
    end
  end)

  it("is read from text", function()
    assert.are.same({ c0 = 12, c_seq = 0.02 }, cost.parse "c0=12, c_seq=0.02")
    for text, wrong in pairs { ["c0=1,c9=1"] = "c9=1", ["async=1"] = "async=1", c0 = "c0" } do
      assert.are.same({ nil, ('"%s" is no coefficient, want name=milliseconds such as c0=12, of %s')
        :format(wrong, NAMES) }, { cost.parse(text) })
    end
    assert.are.same({ nil, "c0 = -1, want milliseconds in 0 .. 1000000" }, { cost.parse "c0=-1" })
    assert.are.same({ nil, "c0 = nan, want milliseconds in 0 .. 1000000" }, { cost.parse "c0=nan" })
  end)

  it("refuses misspelt and negative terms at the caller's line", function()
    raises("cost.new: unknown option c1, want one of " .. NAMES:gsub("active, ", "active, async, "),
      function() cost.new { c1 = 1 } end)
    raises("cost.new: c0 = -1, want a number in 0 .. 1000000", function() cost.new { c0 = -1 } end)
    raises("cost.new: options = 3, want a table or nil", function() cost.new(3) end)
  end)
end)

describe("a preset #lua", function()
  it("is a cost model that says it is uncalibrated", function()
    assert.is_true(#presets.names >= 3)
    for _, name in ipairs(presets.names) do
      local preset = assert(presets.get(name))
      assert.are.equal(name, preset.name)
      assert.is_false(preset.calibrated)
      assert.is_true(cost.new(preset.coefficients):ms(1, 0, 1, 0, 0, 0, false) > 0)
    end
    assert.is_truthy(presets.get(presets.DEFAULT))
  end)

  it("that does not exist is refused with those that do", function()
    assert.are.same({ nil, "preset = fast, want one of " .. table.concat(presets.names, ", ") },
      { presets.get "fast" })
    assert.are.same({ presets.get "fast" }, { cost "fast" })
  end)
end)
