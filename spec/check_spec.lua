-- Checks of the outputs: no false alarm, whatever the step, and no corruption that goes unseen.
--   GDN_SEED=N   replays a run      GDN_CASES=N   random builds
local gdn = require "gdnmeta"
local feed = require "spec.support.feed"
local random = require "spec.support.random_config"
local step = require "spec.support.random_step"
local vectors = require "spec.support.vectors"

local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CASES = tonumber(os.getenv "GDN_CASES") or 6000
local PER_BUILDER = 25

describe("A checked build", function()
  print(("\ncheck_spec: GDN_SEED=%d GDN_CASES=%d"):format(SEED, CASES))

  for n, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08" } do
    it("raises no false alarm under " .. rules, function()
      local rand, builder, batch, config, built = random.rng(SEED + n), nil, nil, nil, 0
      for case = 1, CASES / 3 do
        if case % PER_BUILDER == 1 then
          if builder then
            batch:close()
            builder:close()
          end
          config = random.config(rand, rules)
          local options = vectors.without_nulls(config)
          options.rules, options.device, options.check, options.poison = rules, "cpu", true, rand(0, 1) == 1
          builder = assert(gdn.builder(options))
          batch = assert(builder:batch())
        end
        local inputs, path, rows = step.draw(rand, rules, config)
        local ok, meta = pcall(feed.paths[path], builder, batch, inputs, rows)
        if ok and meta then
          built = built + 1
          local found = builder:check_result()
          if found then
            local cjson = require "cjson"
            error(("GDN_SEED=%d case %d (%s): %s\n%s"):format(SEED, case, rules, found, cjson.encode{config=config,inputs=inputs}), 0)
          end
        end
      end
      batch:close()
      builder:close()
      assert.is_true(built > CASES / 3 * 0.4)
    end)
  end
end)
