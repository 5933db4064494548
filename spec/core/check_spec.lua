-- Checks of the outputs: no false alarm, whatever the step, and no change that should be seen goes unseen.
--   GDN_SEED=N   replays a run      GDN_CASES=N   random builds
local cjson = require "cjson"
local ffi = require "ffi"
local gdn = require "gdnmeta"
local corrupt = require "spec.support.flip_elements"
local feed = require "spec.support.submit_paths"
local random = require "spec.support.random_config"
local step = require "spec.support.random_step"
local until_met = require "spec.support.until_met"
local vectors = require "spec.support.vectors"

local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CASES = tonumber(os.getenv "GDN_CASES") or 2500
local PER_BUILDER = 25
local STRICT_ONLY = { [6] = true, [7] = true, [8] = true, [13] = true } -- slots, accepted counts, shifts
local RULES = { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" }

-- Random steps under a rule set, until what is wanted was met: body(builder, config, inputs, rand, met) after
-- each build that succeeds.
local function each_build(rules, seed, cases, wanted, body)
  local rand, builder, batch, config = random.rng(seed), nil, nil, nil
  local met = until_met(1, cases, wanted, function(case, met)
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
      met.builds = met.builds + 1
      local ok, reason = pcall(body, builder, config, inputs, rand, met)
      if not ok then
        error(("GDN_SEED=%d case %d (%s): %s\n%s"):format(SEED, case, rules, reason,
          cjson.encode { config = config, inputs = inputs }), 0)
      end
    end
  end, 4000)
  batch:close()
  builder:close()
  return met.builds
end

describe("A checked build", function()
  print(("\ncheck_spec: GDN_SEED=%d GDN_CASES=%d"):format(SEED, CASES))

  local total = 0
  for n, rules in ipairs(RULES) do
    it("raises no false alarm under " .. rules, function()
      local built = each_build(rules, SEED + n, CASES / 3, { builds = CASES / 3 * 0.4 }, function(builder)
        local _, found = builder:peek_check_result()
        if found then error(found, 0) end
      end)
      total = total + built
      if n == #RULES then print(("check_spec: %d builds raised no alarm"):format(total)) end
    end)

    it("sees every changed element that can be seen under " .. rules, function()
      local counts, wanted = { seen = 0, unseen = {}, codes = {} }, { builds = 1, seen = 2 * CASES / 60 }
      for code = 2, 13 do
        if rules == "strict" or not STRICT_ONLY[code] then wanted["code " .. code] = 1 end
      end
      local cases = math.max(1, math.min(CASES / 12, 500))
      each_build(rules, SEED + n + 10, cases, wanted, function(builder, config, inputs, rand, met)
        corrupt.run(rand, builder, config, rules, inputs, counts)
        met.seen = counts.seen
        for code in pairs(counts.codes) do met["code " .. code] = 1 end
      end)
    end)
  end
end)

describe("A builder with poison", function()
  local builder, batch
  before_each(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 8, max_num_batched_tokens = 1024,
      poison = true, num_groups = 2, full_cuda_graph = true })
    batch = assert(builder:batch())
    for g = 0, 1 do
      for i = 0, 7 do builder:table(g)[i] = 1 + i end
    end
  end)
  after_each(function()
    batch:close()
    builder:close()
  end)

  it("leaves nothing of an earlier step after the tensors of a later one", function()
    for row = 0, 7 do assert(batch:push(row, 100, 100, false)) end
    local meta = assert(builder:build(batch))
    local tiles, chunks = meta.batch_ptr.data, meta.chunk_indices.data
    local flags = ffi.cast("uint8_t *", meta.has_initial_state.data)
    batch:clear()
    for row = 0, 2 do assert(batch:push(row, 1, 9, true)) end
    assert(batch:pad(4, 4))
    assert(builder:build(batch))
    assert.are.same({ 1, 2, 3, 0 }, meta.non_spec_state_indices_tensor:totable())
    for g = 0, 1 do
      local slots = meta:group(g).non_spec_state_indices_tensor.data
      for i = 4, 7 do assert.are.equal(-1515870811, slots[i]) end
    end
    for i = 5, 8 do assert.are.equal(-1515870811, meta.non_spec_query_start_loc.data[i]) end
    for i = 0, 2047 do assert.are.equal(-1515870811, tiles[i]) end
    for i = 0, 7 do assert.are.same({ 0xa5, -1515870811 }, { flags[i], chunks[i] }) end
  end)

  it("writes all padding again, and is no check", function()
    for _, rows in ipairs { 5, 2, 7, 1 } do
      batch:clear()
      for row = 0, rows - 1 do assert(batch:push(row, 1, 9, true)) end
      assert(batch:pad(8, 8))
      local slots = assert(builder:build(batch)).non_spec_state_indices_tensor
      for i = 0, 7 do assert.are.equal(i < rows and i + 1 or 0, slots[i]) end
    end
    assert.is_true(builder:peek_check_result())
    assert.are.same({ nil, "check = false, want a builder with check = true", -1 }, { builder:check() })
  end)
end)
