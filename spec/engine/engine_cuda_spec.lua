-- The engine on a CUDA builder: the same steps, one launch each.
--   GDN_CUDA_SPECS=cuda   on a real device
local ffi = require "ffi"
local drivers = require "spec.support.driver"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local play = require "spec.support.random_traffic"

local KIND = os.getenv "GDN_CUDA_SPECS" or "fake"
local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 100)

describe("An engine on a CUDA builder", function()
  local driver
  setup(function() driver = drivers.open(KIND) end)
  teardown(function() driver:close() end)

  -- What the device has of the attention cache's blocks is what the host has.
  local function check_blocks(engine, step, where)
    if not step.kv_table or step.num_rows == 0 then return end
    local width, kv = engine.max_kv_blocks, engine.private.kv_blocks.kv
    for row = 0, step.num_rows - 1 do
      local at, length = step.table_row[row] * width, lib.gdn_kv_length(kv, step.table_row[row])
      local want = {}
      for column = 1, length do want[column] = step.kv_table[at + column - 1] end
      assert.are.same(want, driver:read(step.kv_device_table + at, length), where)
    end
    local words, got = driver:read(step.kv_device_slot_mapping, 2 * step.padded_tokens), {}
    for t = 1, step.padded_tokens do got[t] = words[2 * t - 1] end
    for t = 1, step.padded_tokens do
      assert.are.equal(tonumber(step.kv_slot_mapping[t - 1]), got[t], where)
    end
  end

  local function random_play(async)
    local seed = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24
    for case = seed, seed + CASES - 1 do
      math.randomseed(case)
      local c = play.configuration()
      c.device, c.async = "cuda", async
      local engine = play.engine(c, "fcfs")
      play.run(c, { engine = engine, where = ("GDN_SEED=%d"):format(case), requests = play.requests(c, 15),
                    cancel = 0.02,
                    on_step = function(step) check_blocks(engine, step, "GDN_SEED=" .. case) end })
      assert.are.equal(0, engine.stats.fallbacks)
      local builds = engine.stats.steps - engine.stats.empty_steps
      local counters = engine.builder:counters()
      assert.are.equal(builds * (c.check and 2 or 1), counters.launches + counters.skipped)
      engine:close()
      engine.builder:close()
    end
  end

  it("keeps every invariant, with one launch a step, unless it is skipped, and one a check",
     function() random_play(false) end)

  -- A request whose drafts are in flight waits: nothing could say where its state lies.
  it("keeps them with two steps in flight", function() random_play(true) end)

  it("has the blocks of the attention cache and where tokens lie on the device, too", function()
    local builder = assert(gdn.builder { device = "cuda", max_num_seqs = 3, max_num_batched_tokens = 64 })
    local engine = assert(gdn.engine { builder = builder, max_model_len = 200, kv_blocks = 40,
                                       kv_block_size = 4 })
    local checked = 0
    for id = 1, 5 do assert(engine:submit { id = id, prompt_tokens = 7 * id, max_tokens = 6 + id }) end
    while not engine:idle() do
      local step = assert(engine:step(checked))
      check_blocks(engine, step, "step " .. checked)
      assert(engine:complete(step, checked))
      checked = checked + 1
    end
    assert.is_true(checked > 10)
    engine:close()
    builder:close()
  end)

  it("sends each row of blocks that changed once, however often it changed", function()
    local builder = assert(gdn.builder { device = "cuda", max_num_seqs = 3, max_num_batched_tokens = 64 })
    local out, rows, columns = ffi.new "gdn_kv *[1]", 3, 4
    assert(lib.gdn_kv_new(builder.handle, ffi.new("gdn_kv_config", 12, 4, rows, columns, 1), out) == 0)
    local kv = ffi.gc(out[0], lib.gdn_kv_free)
    for _, changed in ipairs { { 0 }, { 1, 2 }, {}, { 2 }, { 0, 1, 2 } } do
      for _ = 1, 300 do
        for _, row in ipairs(changed) do
          assert(lib.gdn_kv_clear(kv, row) == 0)
          for n = 1, columns do assert(lib.gdn_kv_extend(kv, row, n) == 0) end
        end
      end
      local before = KIND == "fake" and driver:count "copies"
      assert(lib.gdn_kv_send(builder.handle, kv, 0, 0, nil) == 0)
      if before then assert.are.equal(#changed, driver:count "copies" - before) end
      local sent = driver:read(lib.gdn_kv_device_table(kv), rows * columns)
      for _, row in ipairs(changed) do
        for at = row * columns, row * columns + columns - 1 do
          assert.are.equal(lib.gdn_kv_table(kv)[at], sent[at + 1])
        end
      end
    end
    lib.gdn_kv_free(ffi.gc(kv, nil))
    builder:close()
  end)

  local function async(with_counts)
    local builder = assert(gdn.builder { device = "cuda", max_num_seqs = 2, num_speculative_tokens = 3,
                                         max_requests = 4, max_num_batched_tokens = 64 })
    local accepted = driver:int32(4)
    driver:write(accepted, { 1, 1, 1, 1 })
    return assert(gdn.engine { builder = builder, async = true, max_model_len = 200,
                               accepted = with_counts and accepted or nil }), builder, accepted
  end

  it("lets a step run after unverified drafts where the device holds the accepted counts", function()
    local engine, builder, accepted = async(true)
    engine:submit { id = "other", prompt_tokens = 3, max_tokens = 1 }
    engine:submit { id = "a", prompt_tokens = 5, max_tokens = 50 }
    engine:complete(engine:step(0), 0)
    local first = engine:step(1)
    assert.are.same({ "a", 3 }, { first:id(0), first.drafts[0] })
    local row, counts = first.table_row[0], { 1, 1, 1, 1 }
    counts[row + 1] = 3 -- the device is done with the step and accepted 2; the host does not know yet
    driver:write(accepted, counts)
    local second = engine:step(2)
    assert.are.equal(1, second.num_rows)
    assert.are.equal(3, second.metadata.num_accepted_tokens[0])
    local blocks = first.metadata.spec_state_indices_tensor
    assert.are.equal(blocks[2], second.metadata.spec_read_state_indices[0])
    assert.are.equal(2, second.metadata.spec_conv_shift[0])
    local before = builder:counters().launches
    engine:complete(first, 3, { a = { accepted_drafts = 2 } })
    assert.are.equal(before, builder:counters().launches)
    engine:complete(second, 4, { a = { accepted_drafts = 3 } })
    assert.are.equal(5 + 1 + 3 + 4, engine:request("a").known)
    assert.is_true(builder:peek_device_error())
    engine:close()
    builder:close()
    driver:free_all()
  end)

  it("waits for drafts in flight without them", function()
    local engine, builder = async(false)
    engine:submit { id = "a", prompt_tokens = 5, max_tokens = 50 }
    engine:complete(engine:step(0), 0)
    local first = engine:step(1)
    assert.are.equal(3, first.drafts[0])
    assert.are.equal(0, engine:step(2).num_rows)
    engine:complete(first, 2, { a = { accepted_drafts = 1 } })
    assert.are.equal(1, engine:step(3).num_rows)
    engine:close()
    builder:close()
    driver:free_all()
  end)
end)

describe("The option accepted", function()
  it("is for asynchronous CUDA engines", function()
    local builder = assert(gdn.builder { device = "cpu" })
    assert.has_error(function() gdn.engine { builder = builder,
                                             accepted = require("ffi").new "int32_t[4]" } end,
                     "gdnmeta.engine: accepted is for async = true on a CUDA builder")
    builder:close()
  end)
end)
