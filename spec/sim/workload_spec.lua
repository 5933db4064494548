-- Generated workloads: the generator's numbers, their means and limits.
local workload = require "gdnmeta.sim.workload"

local function mean(requests, key)
  local sum = 0
  for _, r in ipairs(requests) do sum = sum + r[key] end
  return sum / #requests
end

describe("workload.random #lua", function()
  -- The generator's published form, written again with floating-point arithmetic.
  it("draws the numbers of Jenkins' generator", function()
    local function u32(x) return x % 2^32 end
    local function rol(x, k) return x % 2^(32 - k) * 2^k + math.floor(x / 2^(32 - k)) end
    local seed = 123456789
    local a, b, c, d = 0xf1ea5eed, seed, seed, seed
    local function draw()
      local e = u32(a - rol(b, 27))
      a = u32(require("bit").bxor(b, rol(c, 17)))
      b, c, d = u32(c + d), u32(d + e), u32(e + a)
      return d
    end
    for _ = 1, 20 do draw() end
    local random = workload.random(seed)
    for i = 1, 1000 do
      local want = (draw() + 0.5) / 2^32
      assert.are.equal(want, random(), "number " .. i)
    end
  end)

  it("is uniform in (0, 1)", function()
    local random, bins, n = workload.random(1), {}, 100000
    for i = 1, 10 do bins[i] = 0 end
    for _ = 1, n do
      local u = random()
      assert.is_true(u > 0 and u < 1)
      bins[math.floor(u * 10) + 1] = bins[math.floor(u * 10) + 1] + 1
    end
    local chi2 = 0 -- 9 degrees of freedom: 27.9 is passed by 1 seed in 1000
    for i = 1, 10 do chi2 = chi2 + (bins[i] - n / 10)^2 / (n / 10) end
    assert.is_true(chi2 < 27.9, "chi2 " .. chi2)
  end)
end)

describe("workload.generate #lua", function()
  it("gives the same requests for the same options, others for another seed", function()
    local once, again = workload.generate { seed = 5 }, workload.generate { seed = 5 }
    assert.are.same(once, again)
    local other = workload.generate { seed = 6 }
    assert.are_not.same(once[1], other[1])
  end)

  -- The first ones of the default workload: the demo prints the same figures everywhere.
  it("starts with these", function()
    local requests = workload.generate()
    assert.are.equal(2000, #requests)
    assert.are.same({ arrival = 0, prompt = 1398, output = 278 }, requests[1])
    assert.are.same({ arrival = 0.220086, prompt = 366, output = 263 }, requests[2])
    assert.are.same({ arrival = 0.651405, prompt = 744, output = 150 }, requests[3])
  end)

  it("has the means its options promise", function()
    local requests = workload.generate { requests = 50000, rate = 10, prompt_max = 2^20, output_max = 2^20 }
    local want_prompt, want_output = 700 * math.exp(1 / 2), 150 * math.exp(0.82^2 / 2)
    assert.is_true(math.abs(mean(requests, "prompt") / want_prompt - 1) < 0.03, mean(requests, "prompt"))
    assert.is_true(math.abs(mean(requests, "output") / want_output - 1) < 0.03, mean(requests, "output"))

    -- Poisson: gaps with mean 1 / rate and a standard deviation as large.
    local sum, squares, n = 0, 0, #requests - 1
    for i = 1, n do
      local gap = requests[i + 1].arrival - requests[i].arrival
      sum, squares = sum + gap, squares + gap^2
    end
    assert.is_true(math.abs(sum / n * 10 - 1) < 0.02, sum / n)
    assert.is_true(math.abs(math.sqrt(squares / n - (sum / n)^2) * 10 - 1) < 0.03)
  end)

  it("keeps lengths within 1 and the limits, arrivals in order", function()
    local last = 0
    local options = { prompt_max = 900, output_median = 1, output_max = 3, rate = 1e4 }
    for _, r in ipairs(workload.generate(options)) do
      assert.is_true(r.prompt >= 1 and r.prompt <= 900 and r.prompt % 1 == 0)
      assert.is_true(r.output >= 1 and r.output <= 3 and r.output % 1 == 0)
      assert.is_true(r.arrival >= last)
      last = r.arrival
    end
  end)

  it("refuses options at the caller's line", function()
    local function refused(options, want)
      local ok, err = pcall(function() workload.generate(options) end)
      assert.is_false(ok)
      assert.matches("^[^:]*workload_spec%.lua:%d+: ", err)
      assert.are.equal(want, (err:gsub("^.-:%d+: ", "")))
    end
    refused({ sed = 1 }, "workload.generate: unknown option sed, want one of output_max, output_median, "
      .. "output_sigma, prompt_max, prompt_median, prompt_sigma, rate, requests, seed")
    refused({ rate = 0 }, "workload.generate: rate = 0, want a number in 1e-06 .. 1000000")
    refused({ seed = 1.5 }, "workload.generate: seed = 1.5, want an integer in 0 .. 4294967295")
    refused({ requests = 0/0 }, "workload.generate: requests = nan, want an integer in 1 .. 10000000")
    refused(3, "workload.generate: options = 3, want a table or nil")
  end)
end)

describe("A workload by default #lua", function()
  it("is long enough for its limits to count, and was always the same", function()
    local sum = { prompt = 0, output = 0 }
    local most, requests = { prompt = 0, output = 0 }, workload.generate { requests = 20000 }
    for _, r in ipairs(requests) do
      for name in pairs(sum) do sum[name], most[name] = sum[name] + r[name], math.max(most[name], r[name]) end
    end
    assert.are.same({ prompt = 16384, output = 2048 }, most)
    assert.are.same({ prompt = 22827549, output = 4159541 }, sum)
    assert.are.equal(3595.056, math.floor(requests[20000].arrival * 1000) / 1000)
    assert.are.equal(2000, #workload.generate {})
  end)
end)
