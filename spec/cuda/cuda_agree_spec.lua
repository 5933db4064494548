-- The CUDA path gives what the CPU gives, over the specs' driver: every vector, and random steps.
--   GDN_SEED=N   replays a run      GDN_CASES=N   random steps
local agree = require "spec.support.cpu_vs_cuda"
local drivers = require "spec.support.driver"
local vectors = require "spec.support.vectors"

local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CASES = tonumber(os.getenv "GDN_CASES") or 20000

describe("The CUDA path", function()
  local driver
  setup(function() driver = drivers.open "fake" end)
  teardown(function() driver:close() end)

  it("passes every vector", function()
    local runner, failures, count = vectors.runner "cuda", {}, 0
    for _, name in ipairs { "vllm-2026-04", "edge-vllm-2026-04", "vllm-2026-08", "edge-vllm-2026-08",
      "vllm-2026-11" } do
      for case in vectors.cases(("spec/goldens/%s.jsonl"):format(name)) do
        local reason = runner:run(case)
        if reason then failures[#failures + 1] = ("%s %s: %s"):format(case.rules, case.id, reason) end
        count = count + 1
      end
    end
    runner:close()
    assert.are.same({}, failures)
    assert.is_true(count > 900)
    assert.is_true(driver:count "launches" > 700)
  end)

  it("agrees with the CPU on random steps", function()
    print(("\ncuda_agree_spec: GDN_SEED=%d GDN_CASES=%d"):format(SEED, CASES))
    driver.lib.fake_reset()
    local seen = agree.run(driver, { seed = SEED, cases = CASES })
    assert.are.equal(0, driver:count "overruns")
    assert.is_true(driver:count "launches" >= seen.launches)
    if CASES >= 5000 then
      assert.is_true(seen.launches + seen.skipped > CASES * 0.8, "too many steps are refused")
      for _, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
        assert.is_true((seen.rules[rules] or 0) > 10, "too few builders under " .. rules)
      end
      assert.is_true(seen.ring > 10 and seen.refused > 10, "no step was large, or none was refused")
      assert.is_true(seen.checked > 10, "no step was checked")
      assert.is_true(seen.buckets > CASES * 0.1, "too few steps have buckets")
      assert.is_true(seen.skipped > CASES * 0.005, "too few steps are skipped")
    end
  end)
end)
