-- Parts of the calibration by themselves: its files, its second form, and ties of least squares.
local cost = require "gdnmeta.sim.cost"
local fit = require "gdnmeta.sim.fit"
local fit_overlap = require "gdnmeta.sim.fit_overlap"
local nnls = require "gdnmeta.sim.nnls"
local noted = require "spec.support.noted"
local workload = require "gdnmeta.sim.workload"

local notes = noted.new "fit-parts-"

local HEADER = "tokens_padded,prefill_tokens,seqs,ctx_sum,att_sum,ms\n"

-- Measured steps of a model; decodes and prompts apart, and some of both.
local function logged(planted, n)
  local random, model, steps = workload.random(n), cost.new(planted), {}
  for k = 1, n do
    local seqs = k % 3 == 0 and 0 or math.floor(random() * 60)
    local prefill = k % 2 == 0 and 0 or math.floor(random() * 5000)
    local context, attention = math.floor(seqs * random() * 3000), prefill * math.floor(random() * 9000)
    steps[k] = { tokens_padded = seqs + prefill, prefill_tokens = prefill, seqs = seqs, ctx_sum = context,
                 att_sum = attention,
                 ms = model:device_ms(seqs + prefill, prefill, seqs, context, attention, 0, false) }
  end
  return steps
end

-- Of the digits, those that matter.
local function shown(list)
  local names, parts = {}, {}
  for name in pairs(list) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    local value = math.abs(list[name]) < 1e-12 and 0 or list[name]
    parts[i] = ("%s %.5g"):format(name, value)
  end
  return table.concat(parts, ", ")
end

local ROOFLINES = {
  { c0 = 2, c_w = 10, c_tok = 0.07, c_seq = 0.12, c_ctx = 2e-5, c_att = 1e-6, overlap = 1 },
  { c0 = 1, c_w = 30, c_tok = 0.02, c_att = 4e-6, overlap = 1 },
  { c0 = 5, c_w = 1, c_tok = 0.01, c_seq = 2, overlap = 1 },
  { c0 = 5, c_tok = 0.5, c_ctx = 1e-3, overlap = 1 },
}

-- The error falls along no column that may grow, and along none that may shrink either.
local function check_least(rows, b, what)
  local x = nnls.solve(rows, b)
  for i = 1, #x do
    assert.is_true(x[i] >= 0)
    local slope, size = 0, 0
    for k = 1, #rows do
      local rest = b[k]
      for j = 1, #x do rest = rest - rows[k][j] * x[j] end
      slope, size = slope + rows[k][i] * rest, size + rows[k][i] ^ 2
    end
    slope = slope / math.sqrt(size)
    assert.is_true(slope < 1e-7 and (x[i] == 0 or slope > -1e-7), ("%s, column %d"):format(what, i))
  end
end

describe("Of the calibration #lua", function()
  before_each(notes.clear)

  it("the second form finds what was planted, from bends near it and far from it", function()
    for i, planted in ipairs(ROOFLINES) do
      for _, bends in ipairs { { 0 }, { 50 }, { 0, 10, 100, 1000 }, { 0, 1, 2, 3, 4, 5, 6, 7, 8, 4000 } } do
        local found, squares = fit_overlap.search(logged(planted, 60), bends)
        notes.note(("model %d from"):format(i), bends, shown(found),
          squares < 1e-12 or ("%.4g"):format(squares))
      end
    end
    notes.check "overlap"
  end)

  it("a file is read and fitted as its text is", function()
    local steps, lines = logged(ROOFLINES[1], 40), {}
    for k, s in ipairs(steps) do
      lines[k] = ("%d,%d,%d,%d,%d,%.17g\n"):format(s.tokens_padded, s.prefill_tokens, s.seqs, s.ctx_sum,
        s.att_sum, s.ms)
    end
    local path = os.tmpname()
    local function write(text)
      local file = assert(io.open(path, "wb"))
      file:write(text)
      file:close()
    end
    write(HEADER .. table.concat(lines))
    assert.are.same(fit.steps(steps), assert(fit.file(path)))
    for n = 6, 9 do
      write(HEADER .. table.concat(lines, "", 1, n))
      local found, message = fit.file(path)
      assert.are.equal(n >= 8, found ~= nil)
      assert.are.equal(n < 8 and ("%s: %d steps, want at least 8"):format(path, n) or nil, message)
    end
    os.remove(path)
  end)

  it("looks at 32 bends that the log has, and then between the best one's neighbours", function()
    local steps, tried = {}, {}
    for k = 0, 39 do
      steps[k + 1] = { tokens_padded = k * k, prefill_tokens = 0, seqs = k % 7, ctx_sum = 0, att_sum = 0,
                       ms = 1 + math.max(300, k * k) / 64 + k % 5 / 50 }
    end
    local solve = nnls.solve
    local solved = stub(nnls, "solve", function(rows, ones)
      tried[#tried + 1] = ("%.5g"):format(rows[1][2] / rows[1][1]) -- the bend, of a step without tokens
      return solve(rows, ones)
    end)
    local found = fit.steps(steps)
    solved:revert()
    notes.note("tried", #tried, table.concat(tried, " "))
    notes.note("found", shown(found.coefficients))
    notes.check "bends"
  end)

  it("steps of one time are a constant, in the first form", function()
    for _, ms in ipairs { 4, 8, 0.5 } do
      local steps = logged({ c0 = ms }, 20)
      local found = fit.steps(steps).coefficients
      assert.is_nil(found.overlap)
      assert.is_true(math.abs(found.c0 - ms) < 1e-9 * ms)
    end
  end)

  it("batches are told by powers of two", function()
    local steps = {}
    for k = 0, 19 do
      steps[k + 1] = { tokens_padded = k, prefill_tokens = 0, seqs = k, ctx_sum = 0, att_sum = 0, ms = 4 }
    end
    local found, list = fit.steps(steps), {}
    for i, b in ipairs(found.by_batch) do list[i] = ("%d..%d:%d"):format(b.from, b.to, b.n) end
    assert.are.equal("0..0:1 1..1:1 2..3:2 4..7:4 8..15:8 16..31:4", table.concat(list, " "))
    assert.are.equal(20, found.n)
  end)

  it("least squares leave the smallest error that coefficients of 0 and more can", function()
    for seed = 1, 60 do
      local random, rows, b = workload.random(seed), {}, {}
      local n = 2 + seed % 3
      for k = 1, 8 do
        rows[k], b[k] = {}, random() * 4 - 1
        local common = random() * 3 -- columns alike: many of the coefficients want to be below 0
        for i = 1, n do rows[k][i] = common + random() end
      end
      check_least(rows, b, "seed " .. seed)
    end
  end)

  -- Where all columns below 0 leave at once, these come and go for ever.
  it("least squares let one column go at a time, the first to reach 0", function()
    check_least({ { -6, -7, 5, -17 }, { 2, -5, -10, 0 }, { -8, 3, 10, -12 }, { -1, 19, 5, 16 } },
      { 6, 0, -10, 16 }, "4 columns")
  end)

  it("of equal columns the first is taken, and one that is 0 is left 0", function()
    for _, rows in ipairs { { { 1, 1, 0 }, { 2, 2, 0 }, { 3, 3, 0 } },
                            { { 0, 1, 1 }, { 0, 2, 2 }, { 0, 3, 3 } } } do
      local x = nnls.solve(rows, { 2, 4, 6 })
      for i = 1, 3 do notes.note("x", i, ("%.6g"):format(x[i])) end
    end
    local x = nnls.solve({ { 1, 0 }, { 0, 1 } }, { 0, 0 })
    notes.note("of nothing", x)
    x = nnls.solve({ { 1, 0 }, { 0, 1 } }, { -1, 2 })
    notes.note("of less than nothing", x)
    notes.check "ties"
  end)
end)
