-- Step costs as a roofline: the larger of arithmetic and memory, by hand from the numbers that have sources;
-- how they rank policies; and an engine that asks them.
local raises = require "spec.support.raises"
local gdn = require "gdnmeta"
local cost = require "gdnmeta.sim.cost"
local presets = require "gdnmeta.sim.presets"
local serve = require "spec.support.run_engine"

local DENSE = presets.list[presets.DEFAULT].coefficients

local function near(want, got, what)
  local message = ("%s: want %g, got %g"):format(what, want, got)
  assert.is_true(math.abs(want - got) <= 1e-3 * math.abs(want), message)
end

local function scaled(coefficients, factor)
  local list = {}
  for name, value in pairs(coefficients) do
    list[name] = (name == "active" or name == "overlap") and value or value * factor
  end
  return list
end

describe("A step cost that overlaps #lua", function()
  it("is the larger of what is read and what is computed, or between that and their sum", function()
    local terms = { c0 = 1, c_w = 8, c_tok = 0.01, c_pf = 0.1, c_seq = 0.2, c_state = 0.3, c_ctx = 1e-3,
                    c_att = 1e-6, c_draft = 0.5 }
    -- Reads 8 + 2 + 0.3 * 4 + 5, computes 3 + 4 + 1.
    local together, apart = 1 + 16.2 + 1.5, 1 + 8 + 2 + 1.2 + 5 + 4 + 1 + 1.5
    for overlap, want in pairs { [0] = apart, [1] = together, [0.25] = apart + (together - apart) / 4 } do
      terms.overlap = overlap
      near(want, cost.new(terms):ms(300, 40, 10, 5000, 1e6, 3, false, 4), "overlap " .. overlap)
    end
    terms.overlap = 1 -- Computes 40 + 4 + 1.
    near(1 + 45, cost.new(terms):ms(4000, 40, 10, 5000, 1e6, 0, false), "bound by arithmetic")
  end)

  it("reads more experts the more tokens there are, and never more than all", function()
    local model = cost.new { c_w = 1, c_experts = 16, active = 1 / 2 }
    assert.are.same({ 1, 9, 13, 15 }, { model:ms(0, 0, 0, 0, 0, 0), model:ms(1, 0, 1, 0, 0, 0),
                                        model:ms(2, 0, 2, 0, 0, 0), model:ms(3, 0, 3, 0, 0, 0) })
    assert.are.equal(17, model:ms(4096, 0, 1, 0, 0, 0))
  end)

  it("has the host's time a row", function()
    assert.are.equal(17, cost.new { c0 = 10, c_cpu = 2, c_cpu_row = 0.5 }:ms(1, 0, 10, 0, 0, 0))
    assert.are.equal(10, cost.new { c0 = 10, c_cpu = 2, c_cpu_row = 0.5, async = true }:ms(1, 0, 10, 0, 0, 0))
  end)

  it("is read from text", function()
    assert.are.same({ c_w = 10, overlap = 0.5, active = 0.1 }, cost.parse "c_w=10,overlap=0.5,active=0.1")
    assert.are.same({ nil, "overlap = 2, want a share in 0 .. 1" }, { cost.parse "overlap=2" })
  end)
end)

describe("A preset's step cost #lua", function()
  it("comes from the model's dimensions and the card's data sheet", function()
    local read, flop8, flop16 = 1000 / (0.8 * 3.35e12), 1000 / (0.4 * 1979e12), 1000 / (0.4 * 989e12)
    near(27e9 * read, DENSE.c_w, "weights of 27 GB")
    near(2 * 27e9 * flop8, DENSE.c_tok, "2 FLOP a parameter")
    near(65536 * read, DENSE.c_ctx, "64 KiB of keys and values a token")
    near(4 * 16 * 24 * 256 * flop16, DENSE.c_att, "16 layers of 24 heads")
    near(2 * 48 * (61440 + 3145728) * read, DENSE.c_seq, "a state of 146.8 MiB read and written")
    local four = presets.list["4xh100-qwen3-next-80b-a3b"].coefficients
    near(36 * (49152 + 1048576) * read / 4, four.c_state, "a state of 37.7 MiB over four cards")
    near(2 * 12 * 2 * 256 * 2 * read / 2, four.c_ctx, "two heads, each on two of four cards")
    local moe = presets.list["h100-qwen3.6-35b-a3b-fp8"].coefficients
    near(3e9 * read, moe.c_w + moe.c_experts * moe.active, "one token reads what is active")
    near(35e9 * read, moe.c_w + moe.c_experts, "many read all")
  end)

  it("has all parts of a step, save one that is constant on purpose", function()
    for _, name in ipairs(presets.names) do
      local c = presets.list[name].coefficients
      for _, term in ipairs { "c_w", "c_tok", "c_seq", "c_ctx", "c_att", "c_cpu" } do
        assert.are.equal(name ~= "constant-20ms", (c[term] or 0) > 0, name .. " " .. term)
      end
    end
  end)

  it("computes prompt tokens for nothing while it reads the weights", function()
    local model = cost.new(DENSE)
    local function step(prompt)
      return model:ms(64 + prompt, prompt, 64, 64 * 2000, prompt^2 / 2, 0, false)
    end
    assert.are.equal(step(0), step(128))
    assert.is_true(step(2048) > 2 * step(0))
    assert.is_true(model:ms(64, 0, 64, 64 * 20000, 0, 0, false) > step(0) + 10, "contexts are read")
  end)
end)

local function chunked(tokens)
  return { name = "chunked", order = "fcfs", trusted = true,
           chunk = function(_, want, ctx) return math.min(want, tokens - ctx.prefill_taken) end }
end

local function run(policy, coefficients, rate, options)
  local o = { policy = policy, cost = coefficients, trusted = true, users = 8, measure = false,
              workload = { requests = 500, rate = rate } }
  for name, value in pairs(options or {}) do o[name] = value end
  return assert(gdn.sim.run(o))
end

describe("Policies under a preset's step cost", function()
  -- Where weights cost time on top of prompts, every chunk pays for them, and chunks look bad.
  it("rank chunks as they are: better than whole prompts for what is within the targets", function()
    local added = { c0 = 12.2, c_pf = 0.068, c_seq = 0.12 }
    assert.is_true(run(chunked(512), added, 8).attainment < run("fcfs", added, 8).attainment)
    assert.is_true(run(chunked(512), DENSE, 8).attainment > run("fcfs", DENSE, 8).attainment)
  end)

  it("rank alike with a step cost twice as fast", function()
    local policies = { "fcfs", chunked(512), chunked(32) } -- 32: every step is bound by the weights
    local function rank(coefficients)
      local means, order = {}, {}
      for i, policy in ipairs(policies) do
        means[i], order[i] = run(policy, coefficients, 12).normalised.mean, i
      end
      table.sort(order, function(a, b) return means[a] < means[b] end)
      return order
    end
    assert.are.same({ 2, 1, 3 }, rank(DENSE))
    assert.are.same({ 2, 1, 3 }, rank(scaled(DENSE, 0.5)))
  end)

  it("give the same figures where everything is twice as fast", function()
    for _, policy in ipairs { "fcfs", chunked(512) } do
      local slow = run(policy, DENSE, 6)
      local fast = run(policy, scaled(DENSE, 0.5), 12, { ttft_ms = 1000, tpot_ms = 50 })
      near(slow.ttft.mean, 2 * fast.ttft.mean, "first token")
      near(slow.e2e.p99, 2 * fast.e2e.p99, "last token")
      near(slow.attainment, fast.attainment, "within targets")
    end
  end)
end)

describe("An engine with a step cost", function()
  it("says of every preset that what it predicts fits into what it predicted, to the token", function()
    for name in pairs(presets.list) do
      local model = gdn.sim.cost(name)
      for _, rows in ipairs { 0, 1, 7, 200 } do
        local before = 0
        for _, tokens in ipairs { 1, 2, 3, 5, 17, 100, 147, 511, 4096, 8192, 99999, 2^20 } do
          local seconds = model.predict(rows + tokens, rows)
          local most = model.tokens_within(seconds, rows)
          local where = ("%s, %d tokens beside %d rows"):format(name, tokens, rows)
          assert.is_true(most >= tokens and seconds >= before and seconds < math.huge, where)
          assert.is_true(model.predict(rows + most, rows) <= seconds, where)
          assert.is_true(most == 2^24 or model.predict(rows + most + 1, rows) > seconds, where)
          for _, limit in ipairs { 1, tokens, most, 2^24 } do
            assert.are.equal(math.min(most, limit), model.tokens_within(seconds, rows, limit), where)
          end
          before = seconds
        end
      end
    end
  end)

  it("is refused at the caller's line where it is none", function()
    raises("sim.cost: want a preset's name or coefficients", function() gdn.sim.cost() end)
    assert.matches("^sim.cost: unknown option c9, want one of active, async, c0, ",
      select(2, pcall(gdn.sim.cost, { c9 = 1 })))
  end)

  it("answers its policy in seconds, and for what fits beside those that run", function()
    local said = {}
    local engine = assert(gdn.engine {
      builder = serve.builder { max_num_seqs = 4, max_num_batched_tokens = 64 }, max_model_len = 200,
      cost = gdn.sim.cost { c0 = 10, c_seq = 1, c_pf = 0.5 },
      policy = { trusted = true, chunk = function(_, want, ctx)
        said[#said + 1] = { ctx.cost.predict(30, 10), ctx.cost.tokens_within(0.025),
                            ctx.cost.tokens_within(0.025, 5) }
        return want
      end },
    })
    for id = 1, 2 do
      engine:submit { id = id, prompt_tokens = 4, max_tokens = 9 }
      engine:complete(engine:step(id), id)
    end
    assert.are.same({}, engine:failures())
    assert.are.same({ { 0.03, 30, 20 }, { 0.03, 28, 20 } }, said)
    engine:close()
  end)

  it("takes a preset by name, and names those there are", function()
    local functions = gdn.sim.cost(presets.DEFAULT)
    near(cost.new(DENSE):predict(100, 10), 1000 * functions.predict(100, 10), "milliseconds")
    assert.is_true(functions.tokens_within(0.05, 10) > functions.tokens_within(0.02, 10))
    assert.are.same({ nil, "preset = fast, want one of " .. table.concat(presets.names, ", ") },
      { gdn.sim.cost "fast" })
  end)
end)
