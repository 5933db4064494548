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
    local wanted = { ring = CASES / 2000, refused = CASES / 2000, checked = CASES / 2000,
                     buckets = CASES / 10, launches = CASES / 2, skipped = CASES / 200 }
    for _, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
      wanted[rules] = CASES / 2000 -- builders
    end
    local seen = agree.run(driver, { seed = SEED, cases = CASES, wanted = wanted })
    assert.are.equal(0, driver:count "overruns")
    assert.is_true(driver:count "launches" >= seen.launches)
  end)
end)
