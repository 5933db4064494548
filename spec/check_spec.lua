-- Checks of the outputs: no false alarm, whatever the step, and no change that should be seen goes unseen.
--   GDN_SEED=N   replays a run      GDN_CASES=N   random builds
local cjson = require "cjson"
local ffi = require "ffi"
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
      each_build(rules, SEED + n + 10, math.min(CASES / 30, 500), function(builder, config, inputs, rand)
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

-- One change at a time leaves contradictions to its neighbours. These contradict the step alone.
describe("A check of several elements that agree with each other", function()
  local builder, batch
  after_each(function()
    batch:close()
    builder:close()
  end)

  -- rows: { query_len, seq_len, drafts }; changes: { tensor, element, value }, of group 0
  local function finds(options, rows, changes, words)
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 8, max_num_batched_tokens = 600,
      check = true, num_speculative_tokens = 3, full_cuda_graph = true, rules = options.rules })
    batch = assert(builder:batch())
    for i = 0, 8 * 4 - 1 do builder:table(0)[i] = 1 + i end
    for i, row in ipairs(rows) do
      assert(batch:push(row[1], row[2], row[3], 1, row[1] <= 4 and row[2] > row[1], i - 1))
    end
    if options.pad then assert(batch:pad(options.pad, options.pad * rows[1][1])) end
    local meta = assert(builder:build(batch))
    assert.is_nil(builder:check_result())
    for _, change in ipairs(changes) do meta[change[1]].data[change[2]] = change[3] end
    assert(builder:check())
    assert.are.equal("step 1: " .. words, (builder:check_result()))
  end

  local Q, PREFILLS, ROWS, TILES = "non_spec_query_start_loc", "prefill_query_start_loc", "batch_ptr",
    "token_chunk_offset_ptr"
  local BOUNDARY = " is no boundary that the rows around it, their class and its tokens allow"
  local DECODES_AND_PREFILL = { { 1, 9, -1 }, { 1, 9, -1 }, { 5, 5, -1 } }

  it("knows decodes by their length", function()
    finds({ rules = "vllm-2026-08" }, DECODES_AND_PREFILL, { { Q, 1, 2 }, { ROWS, 1, 2 }, { ROWS, 2, -1 },
      { TILES, 2, -1 } }, Q .. "[1]" .. BOUNDARY)
  end)

  it("knows where decodes end", function()
    finds({ rules = "vllm-2026-08" }, DECODES_AND_PREFILL, { { Q, 2, 1 }, { PREFILLS, 0, -1 }, { ROWS, 1, 2 },
      { ROWS, 2, -1 }, { TILES, 2, -1 } }, Q .. "[2]" .. BOUNDARY)
  end)

  it("knows the first prefill by its length", function()
    local prefills = { { 5, 5, -1 }, { 5, 5, -1 } }
    finds({ rules = "vllm-2026-08" }, prefills, { { Q, 1, 1 }, { ROWS, 2, 1 }, { TILES, 2, 1 } },
      Q .. "[1]" .. BOUNDARY)
  end)

  it("knows how many tokens a row may have accepted", function()
    local rows = { { 4, 40, 3 }, { 4, 40, 3 } }
    local WORDS = "num_accepted_tokens[1] is outside of 1 .. num_speculative_tokens + 1"
    for _, accepted in ipairs { 0, 5 } do
      local changes = { { "num_accepted_tokens", 1, accepted }, { "spec_conv_shift", 1, accepted - 1 } }
      finds({}, rows, changes, WORDS)
      if accepted == 0 then
        batch:close()
        builder:close()
      end
    end
  end)

  it("knows padding", function()
    local rows = { { 4, 40, 3 } }
    finds({ pad = 3 }, rows, { { "num_accepted_tokens", 2, 2 }, { "spec_conv_shift", 2, 1 } },
      "num_accepted_tokens[2] is not what padding holds")
  end)

  it("knows how many tokens there are", function()
    finds({}, { { 1, 9, -1 }, { 5, 5, -1 } }, { { Q, 2, 7 }, { PREFILLS, 1, 6 } }, Q .. "[2]" .. BOUNDARY)
  end)
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

  it("leaves nothing of an earlier step behind the tensors of a later one", function()
    for row = 0, 7 do assert(batch:push(100, 100, -1, 1, false, row)) end
    local meta = assert(builder:build(batch))
    local tiles, chunks = meta.batch_ptr.data, meta.chunk_indices.data
    local flags = ffi.cast("uint8_t *", meta.has_initial_state.data)
    batch:clear()
    for row = 0, 2 do assert(batch:push(1, 9, -1, 1, true, row)) end
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
      for row = 0, rows - 1 do assert(batch:push(1, 9, -1, 1, true, row)) end
      assert(batch:pad(8, 8))
      local slots = assert(builder:build(batch)).non_spec_state_indices_tensor
      for i = 0, 7 do assert.are.equal(i < rows and i + 1 or 0, slots[i]) end
    end
    assert.is_nil(builder:check_result())
    assert.are.same({ nil, "check = 0, want a builder with check = 1", -1 }, { builder:check() })
  end)
end)
