-- Calibration: non-negative least squares, and coefficients recovered from logs with a known answer.
local cost = require "gdnmeta.sim.cost"
local fit = require "gdnmeta.sim.fit"
local nnls = require "gdnmeta.sim.nnls"
local workload = require "gdnmeta.sim.workload"

local function near(want, got, tolerance, what)
  assert.is_true(math.abs(want - got) <= tolerance, ("%s: want %.12g, got %.12g"):format(what, want, got))
end

describe("non-negative least squares #lua", function()
  it("solves a square system by hand", function()
    local x = nnls.solve({ { 2, 0 }, { 0, 4 } }, { 6, 2 })
    near(3, x[1], 1e-12, "x1")
    near(0.5, x[2], 1e-12, "x2")
    near(2, nnls.solve({ { 3 } }, { 6 })[1], 1e-12, "of one row")
  end)

  it("puts 0 where the best value would be negative, and refits the rest", function()
    -- Unconstrained: x = (2, -1). With x2 = 0 the best x1 is (1 * 1 + 2 * 3) / (1 + 4).
    local rows, b = { { 1, 1 }, { 2, 1 } }, { 1, 3 }
    local x = nnls.solve(rows, b)
    near(7 / 5, x[1], 1e-12, "x1")
    assert.are.equal(0, x[2])
  end)

  it("gives equal columns to one of them, and nothing to a column of zeros", function()
    local x = nnls.solve({ { 1, 1, 0 }, { 2, 2, 0 }, { 3, 3, 0 } }, { 2, 4, 6 })
    near(2, x[1] + x[2], 1e-9, "sum")
    assert.is_true(x[1] == 0 or x[2] == 0)
    assert.are.equal(0, x[3])
  end)

  -- Karush, Kuhn and Tucker: x >= 0; the gradient is 0 where x > 0 and not negative elsewhere.
  it("meets the optimality conditions on random problems", function()
    local random = workload.random(11)
    for case = 1, 200 do
      local n, m = 1 + math.floor(random() * 6), 8 + math.floor(random() * 20)
      local rows, b = {}, {}
      for k = 1, m do
        rows[k], b[k] = {}, random() - 0.3
        for i = 1, n do rows[k][i] = random() - 0.5 end
      end
      local x = nnls.solve(rows, b)
      for i = 1, n do
        local gradient = 0
        for k = 1, m do
          local miss = -b[k]
          for j = 1, n do miss = miss + rows[k][j] * x[j] end
          gradient = gradient + rows[k][i] * miss
        end
        local where = ("case %d, x[%d] = %g, gradient %g"):format(case, i, x[i], gradient)
        assert.is_true(x[i] >= 0, where)
        assert.is_true(x[i] > 0 and math.abs(gradient) < 1e-7 or x[i] == 0 and gradient > -1e-7, where)
      end
    end
  end)
end)

describe("A log of steps #lua", function()
  it("may have blank lines anywhere but first, and none of them is a step", function()
    local HEAD, lines = "tokens_padded,prefill_tokens,seqs,ctx_sum,ms", {}
    for n = 1, 40 do lines[n] = ("%d,0,%d,0,%d"):format(n, n, 10 + n) end
    local whole = assert(fit.parse(HEAD .. "\n" .. table.concat(lines, "\n"), "log"))
    local gaps = assert(fit.parse(HEAD .. "\n\n" .. table.concat(lines, "\n \t\n") .. "\n\n\n", "log"))
    assert.are.same(whole, gaps)
    assert.are.same({ nil, "log:44: tokens_padded = x, want a number >= 0" },
      { fit.parse(HEAD .. "\n\n\n" .. table.concat(lines, "\n") .. "\nx", "log") })
    assert.are.same({ nil, "log:1: no column tokens_padded, want " .. HEAD },
      { fit.parse("\n" .. HEAD, "log") })
  end)
end)

-- Steps as a server would log them, from a planted model and with relative noise of +- noise / 2.
local function logged(planted, n, noise)
  local random, model, steps = workload.random(3), cost.new(planted), {}
  for k = 1, n do
    local seqs = math.floor(random() * 200)
    local prefill = random() < 0.5 and 0 or math.floor(random() * 4000)
    local tokens, context = seqs + prefill + math.floor(random() * 8), math.floor(seqs * random() * 3000)
    local ms = model:device_ms(tokens, prefill, seqs, context, 0, 0, false) * (1 + noise * (random() - 0.5))
    steps[k] = { tokens_padded = tokens, prefill_tokens = prefill, seqs = seqs, ctx_sum = context,
                 att_sum = 0, ms = ms }
  end
  return steps
end

describe("calibration #lua", function()
  local PLANTED = { c0 = 2, c_w = 8, c_tok = 0.02, c_pf = 0.05, c_seq = 0.1, c_ctx = 1e-5 }

  it("recovers planted coefficients, the floor of the weights included", function()
    local result = fit.steps(logged(PLANTED, 500, 0))
    for name, want in pairs(PLANTED) do
      near(want, result.coefficients[name], 1e-6 * want, name)
    end
    assert.are.equal(0, result.coefficients.c_att)
    assert.is_true(result.mape < 1e-6, result.mape)
  end)

  it("recovers a roofline, where what is read hides what is computed or the other way round", function()
    local planted = { c0 = 2, c_w = 10, c_tok = 0.07, c_seq = 0.12, c_ctx = 2e-5, overlap = 1 }
    local result = fit.steps(logged(planted, 500, 0))
    for name, want in pairs(planted) do near(want, result.coefficients[name], 1e-3 * want, name) end
    assert.is_true(result.mape < 0.01, result.mape)
    assert.is_true(cost.new(result.coefficients):predict(100, 10) > 0)
    near(5, fit.steps(logged(planted, 1000, 0.2)).mape, 0.3, "mape with noise")
  end)

  it("recovers attention of long prompts", function()
    local planted, steps = cost.new { c0 = 2, c_w = 10, c_tok = 0.07, c_att = 1e-6, overlap = 1 }, {}
    local random = workload.random(5)
    for k = 1, 200 do
      local n, before = math.floor(random() * 4000), math.floor(random() * 200000)
      local pairs_of = n * before + n * n / 2
      steps[k] = { tokens_padded = n + 1, prefill_tokens = n, seqs = 1, ctx_sum = 0, att_sum = pairs_of,
                   ms = planted:device_ms(n + 1, n, 1, 0, pairs_of, 0, false) }
    end
    near(1e-6, fit.steps(steps).coefficients.c_att, 1e-9, "c_att")
  end)

  it("says how far off it is, over all and by batch size", function()
    local result = fit.steps(logged(PLANTED, 2000, 0.2)) -- mean of |uniform(-0.1, 0.1)| is 5 %
    near(5, result.mape, 0.3, "mape")
    local n = 0
    for _, bucket in ipairs(result.by_batch) do
      n = n + bucket.n
      assert.is_true(bucket.mape > 0 and bucket.mape < 12 and bucket.mean_ms > 0)
    end
    assert.are.equal(2000, n)
    local last = result.by_batch[#result.by_batch]
    assert.are.same({ 128, 255 }, { last.from, last.to })
  end)

  it("reads a log, columns in any order and others beside them", function()
    local lines = { "ms,step,ctx_sum,seqs,prefill_tokens,tokens_padded\r" }
    for k = 1, 8 do lines[k + 1] = ("%g,%d,0,%d,0,%d"):format(10 + k, k, k, k) end
    local steps = assert(fit.parse(table.concat(lines, "\n") .. "\n", "log"))
    assert.are.same({ ms = 11, ctx_sum = 0, seqs = 1, prefill_tokens = 0, tokens_padded = 1, att_sum = 0 },
      steps[1])
    near(10, fit.steps(steps).coefficients.c0, 1e-6, "c0")
  end)

  local HEADER = "tokens_padded,prefill_tokens,seqs,ctx_sum,ms\n"
  for _, case in ipairs {
    { "a missing column", "tokens_padded,seqs,ctx_sum,ms\n",
      "log:1: no column prefill_tokens, want tokens_padded,prefill_tokens,seqs,ctx_sum,ms" },
    { "a short line", HEADER .. "1,2,3,4\n", "log:2: ms = nil, want a number > 0" },
    { "a step of no time", HEADER .. "1,1,1,1,0\n", "log:2: ms = 0, want a number > 0" },
    { "a step that never ends", HEADER .. "1,1,1,1,1e999\n", "log:2: ms = 1e999, want a number > 0" },
    { "endlessly many tokens", HEADER .. "inf,1,1,1,1\n", "log:2: tokens_padded = inf, want a number >= 0" },
    { "a negative count", HEADER .. "1,1,-1,1,2\n", "log:2: seqs = -1, want a number >= 0" },
    { "too few steps", HEADER .. "1,1,1,1,2\n", "log: 1 steps, want at least 8" },
  } do
    it("refuses " .. case[1] .. ", naming the line", function()
      assert.are.same({ nil, case[3] }, { fit.parse(case[2], "log") })
    end)
  end

  it("names a file that is not there", function()
    assert.are.same({ nil, "build/nowhere.csv: No such file or directory" }, { fit.file "build/nowhere.csv" })
  end)
end)
