-- Checks of the outputs: no false alarm, whatever the step, and no change that should be seen goes unseen.
--   GDN_SEED=N   replays a run      GDN_CASES=N   random builds
local cjson = require "cjson"
local gdn = require "gdnmeta"
local corrupt = require "spec.support.corrupt"
local feed = require "spec.support.feed"
local random = require "spec.support.random_config"
local step = require "spec.support.random_step"
local vectors = require "spec.support.vectors"

local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CASES = tonumber(os.getenv "GDN_CASES") or 6000
local PER_BUILDER = 25
local STRICT_ONLY = { [6] = true, [7] = true, [8] = true, [13] = true } -- slots, accepted counts, shifts
local RULES = { "strict", "vllm-2026-04", "vllm-2026-08" }

-- Random steps under a rule set: body(builder, config, inputs, rand) after each build that succeeds.
local function each_build(rules, seed, cases, body)
  local rand, builder, batch, config, built = random.rng(seed), nil, nil, nil, 0
  for case = 1, cases do
    if case % PER_BUILDER == 1 then
      if builder then
        batch:close()
        builder:close()
      end
      config = random.config(rand, rules)
      config.pad_slot_id = random.chance(rand, 30) and -1 or 0
      config.query_start_loc_dtype = random.chance(rand, 30) and "int64" or "int32"
      local options = vectors.without_nulls(config)
      options.rules, options.device = rules, "cpu"
      options.check, options.poison = true, random.chance(rand, 50)
      builder = assert(gdn.builder(options))
      batch = assert(builder:batch())
    end
    local inputs, path, rows = step.draw(rand, rules, config)
    local raised, meta = pcall(feed.paths[path], builder, batch, inputs, rows)
    if raised and meta then
      built = built + 1
      local ok, reason = pcall(body, builder, config, inputs, rand)
      if not ok then
        error(("GDN_SEED=%d case %d (%s): %s\n%s"):format(SEED, case, rules, reason,
          cjson.encode { config = config, inputs = inputs }), 0)
      end
    end
  end
  batch:close()
  builder:close()
  return built
end

describe("A checked build", function()
  print(("\ncheck_spec: GDN_SEED=%d GDN_CASES=%d"):format(SEED, CASES))

  local total = 0
  for n, rules in ipairs(RULES) do
    it("raises no false alarm under " .. rules, function()
      local built = each_build(rules, SEED + n, CASES / 3, function(builder)
        local found = builder:check_result()
        if found then error(found, 0) end
      end)
      total = total + built
      if n == #RULES then print(("check_spec: %d builds raised no alarm"):format(total)) end
      assert.is_true(built > CASES / 3 * 0.4)
    end)

    it("sees every changed element that can be seen under " .. rules, function()
      local counts = { seen = 0, unseen = {}, codes = {} }
      each_build(rules, SEED + n + 10, math.min(CASES / 60, 500), function(builder, config, inputs, rand)
        corrupt.run(rand, builder, config, rules, inputs, counts)
      end)
      assert.is_true(counts.seen > 2 * CASES / 60)
      for code = 2, CASES >= 6000 and 13 or 0 do -- each kind was met that these rules have
        if counts.codes[code] == nil then
          assert.is_true(STRICT_ONLY[code] and rules ~= "strict", ("GDN_SEED=%d: no %d"):format(SEED, code))
        end
      end
    end)
  end
end)
