-- The library against the oracle, which is slow, obvious and shares nothing with it.
--   GDN_SEED=N   replays a run      GDN_CASES=N   batches a rule set      GDN_DEVICE=cuda   not on the CPU
local cjson = require "cjson"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local compare = require "spec.support.compare"
local feed = require "spec.support.submit_paths"
local oracle = require "spec.support.oracle"
local pretend = require "spec.support.oracle_metadata"
local random = require "spec.support.random_config"
local step = require "spec.support.random_step"
local until_met = require "spec.support.until_met"
local vectors = require "spec.support.vectors"

local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CASES = tonumber(os.getenv "GDN_CASES") or 3000
local DEVICE = os.getenv "GDN_DEVICE" or "cpu"
local PER_BUILDER = 25

local chance = random.chance

describe("The oracle #lua", function()
  it("reproduces every vector", function()
    local failures, count = {}, 0
    for _, name in ipairs { "vllm-2026-04", "edge-vllm-2026-04", "vllm-2026-08", "edge-vllm-2026-08",
      "vllm-2026-11" } do
      for case in vectors.cases(("spec/goldens/%s.jsonl"):format(name)) do
        local config, inputs = vectors.without_nulls(case.config), vectors.without_nulls(case.inputs)
        local record, reason = oracle.build(case.rules, config, inputs)
        if case.expect.error then
          reason = record and "built"
        else
          reason = record and compare.expected(case.expect, pretend.metadata(record)) or not record and reason
          if case.expect.builder then assert.are.same(case.expect.builder, oracle.builder(config)) end
        end
        if reason then failures[#failures + 1] = ("%s %s: %s"):format(case.rules, case.id, reason) end
        count = count + 1
      end
    end
    for case in vectors.cases "spec/goldens/reorder.jsonl" do
      assert.are.same(case.expect, oracle.reorder(case))
      count = count + 1
    end
    assert.are.same({}, failures)
    assert.are.equal(1717, count)
  end)
end)

-- What a step is for, so that a run which never meets one of them does not count.
local KINDS = { "refused", "empty", "decodes", "for a graph: decodes", "oversized decodes", "prefills",
  "mixed", "speculative", "for a graph: speculative", "oversized speculative" }

local function kind_of(record, config)
  if not record then return "refused" end
  local cap, graph = oracle.builder(config).decode_cudagraph_max_bs, ""
  if config.full_cuda_graph then
    local most = math.max(record.num_decodes, record.num_spec_decodes, record.num_spec_decode_tokens)
    graph = most <= cap and "for a graph: " or "oversized "
  end
  if record.num_spec_decodes > 0 then
    return record.num_prefills > 0 and "mixed" or graph .. "speculative"
  end
  if record.num_prefills ~= 0 then return "prefills" end
  return record.num_decodes == 0 and "empty" or graph .. "decodes"
end

describe("A build is what the oracle says", function()
  print(("\noracle_spec: GDN_SEED=%d GDN_CASES=%d"):format(SEED, CASES))

  local function check(rules, seed, wanted)
    local rand, config, builder, batch, last = random.rng(seed), nil, nil, nil, nil
    until_met(1, CASES, wanted, function(case, met)
      if case % PER_BUILDER == 1 then
        if builder then
          batch:close()
          builder:close()
        end
        config = random.config(rand, rules)
        local options = vectors.without_nulls(config)
        options.rules, options.device = rules, DEVICE
        options.check, options.poison = true, chance(rand, 30)
        builder = assert(gdn.builder(options))
        batch, last = assert(builder:batch()), nil
      end
      local inputs, path, rows, must = step.draw(rand, rules, config)
      local record, groups = oracle.build(rules, config, inputs)
      local poisoned = chance(rand, 10)
      if poisoned then
        lib.gdn_builder_poison(builder.handle)
        last = nil
      end

      local ok, meta, reason = pcall(feed.paths[path], builder, batch, inputs, rows)
      if not ok then
        reason = "raised: " .. tostring(meta)
      elseif must and record then
        reason = "the oracle built a step that breaks " .. must
      elseif not record then
        reason = meta and "built, want it refused: " .. groups
          or (reason or "") == "" and "refused without a reason"
        if not reason and last then
          reason = compare.everything(last.record, last.groups, builder.metadata)
          reason = reason and "a refused build changed the metadata: " .. reason
        end
      elseif not meta then
        reason = "refused: " .. reason
      else
        reason = compare.everything(record, groups, meta) or select(2, builder:peek_check_result())
      end
      if reason then
        local line = cjson.encode { id = ("seed-%d-case-%d"):format(SEED, case), kind = path, rules = rules,
          config = config, inputs = inputs, expect = record or { error = groups } }
        error(("GDN_SEED=%d case %d (%s, %s): %s\n%s"):format(SEED, case, rules, path, reason, line), 0)
      end
      if record then last = { record = record, groups = groups } end
      local kind = kind_of(record, config)
      met[kind] = (met[kind] or 0) + 1
    end, 4000)
    batch:close()
    builder:close()
  end

  for i, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
    it("under " .. rules, function()
      local wanted = {}
      for _, kind in ipairs(KINDS) do wanted[kind] = math.ceil(CASES / 300) end
      if rules == "vllm-2026-11" then wanted.empty = nil end -- refused there
      check(rules, SEED + i, wanted)
    end)
  end
end)

describe("gdn.reorder", function()
  it("is what the oracle says", function()
    local rand = random.rng(SEED)
    for case = 1, math.min(CASES, 2000) do
      local inputs = { decode_threshold = rand(1, 5), num_scheduled = {}, num_computed = {}, num_prompt = {} }
      for i = 1, rand(0, 30) do
        inputs.num_scheduled[i] = chance(rand, 70) and rand(1, 6) or rand(1, 200)
        inputs.num_computed[i] = chance(rand, 25) and 0 or rand(0, 60)
        inputs.num_prompt[i] = rand(1, 60)
      end
      local where = ("GDN_SEED=%d case %d: %s"):format(SEED, case, cjson.encode(inputs))
      assert.are.same(oracle.reorder(inputs), gdn.reorder(inputs), where)
    end
  end)
end)

