-- What the prompt explains of a step, and the rows that it draws.
local draw = require "gdnmeta.metadata.draw"
local explain = require "gdnmeta.repl.explain"
local flat = require "spec.support.flat"
local feed = require "spec.support.submit_paths"
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local headers = require "gdnmeta.record.header"
local colors = require "gdnmeta.metadata.colors"
local random = require "spec.support.random_config"
local draw_rows = require "gdnmeta.metadata.draw_rows"
local sample_engine = require "gdnmeta.repl.sample_engine"
local show = require "gdnmeta.repl.show"
local steps = require "spec.support.random_step"
local until_met = require "spec.support.until_met"

local CASES = tonumber(os.getenv "GDN_CASES") or 2000
local SEED = tonumber(os.getenv "GDN_SEED") or os.time()

describe("Explanations", function()
  local function header_fields()
    local file = assert(io.open "src/gdnmeta.h")
    local text = file:read "*a":match "typedef struct gdn_metadata {(.-)\n}"
    file:close()
    local names = {}
    for name in text:gmatch "\n    [%w_]+ ([%w_]+);" do names[#names + 1] = name end
    names[#names + 1] = "nums_dict" -- which Lua adds
    return names
  end

  it("are there for every field of gdn_metadata, in its order, and say who reads it", function()
    local names = header_fields()
    assert.are.equal(45, #names)
    assert.are.same(names, explain.names)
    local sample = sample_engine.new()
    golden("explain-sample", flat("builder", headers.builder(sample.builder)) .. "\n"
      .. flat("engine", headers.of(sample.engine.private).engine) .. "\n")
    local meta = sample:step().metadata
    for _, name in ipairs(names) do
      local text = assert(explain.field(meta, name))
      assert.matches("^" .. name .. "[:\n]", text)
      assert.matches("\n  Read by: %u", text)
      assert.is_truthy(text:find("\n  Here ", 1, true) or text:find("\n  This ", 1, true), text)
      for line in text:gmatch "[^\n]+" do assert.is_true(#line <= 80, line) end
    end
    assert.is_nil(explain.field(meta, "no_such_field"))
    sample.engine:close()
    sample.builder:close()
  end)

  it("have the step's own numbers", function()
    local builder = assert(gdn.builder { device = "cpu", num_speculative_tokens = 3, num_slots = 100 })
    local batch = builder:batch()
    batch:add { query_len = 4, seq_len = 830, blocks = { 9, 10, 11, 12 }, drafts = 3, accepted = 2,
                prompt_done = true }
    batch:add { query_len = 130, seq_len = 130, blocks = { 13, 14, 15, 16 } }
    batch:pad(3, 140)
    local meta = assert(builder:build(batch))
    local function here(name) return (explain.field(meta, name):match "\n  (Here .*)$":gsub("%s+", " ")) end
    assert.are.equal("Here 140: 134 of rows, 6 of padding.", here "num_actual_tokens")
    assert.are.equal("Here 3: 2 of requests, 1 of padding.", here "num_rows")
    assert.are.equal("Here 130 of the step's 140 tokens, in 1 row.", here "num_prefill_tokens")
    assert.are.equal("Here 4 columns per row; row 0 writes 9, 10, 11, 12.", here "spec_state_indices_tensor")
    assert.are.equal("Here 10.", here "spec_read_state_indices")
    assert.are.equal("Here 1; row 0 had 1 draft accepted last time.", here "spec_conv_shift")
    assert.are.equal("Here 3 chunks: from chunk 0 of prefill 0 to chunk 2 of prefill 0.",
                     here "chunk_indices")
    assert.are.equal(("Here 17 tiles in 2048 entries: %s0 and 5 more, then -1."):format(("0, "):rep(11)),
                     here "batch_ptr")
    assert.are.equal("Here tot = 17, nums = 17.", here "nums_dict")
    assert.are.equal("Here these rows have one: none. These begin: 0.", here "has_initial_state")
    assert.are.equal("Here 4 tokens: 0, 1, 2, 3.", here "spec_token_indx")
    builder:close()

    builder = assert(gdn.builder { device = "cpu", full_cuda_graph = true, pad_slot_id = -1 })
    batch = builder:batch()
    batch:add { query_len = 1, seq_len = 9, blocks = { 5 }, prompt_done = true }
    batch:pad(3, 3)
    meta = assert(builder:build(batch))
    assert.are.equal("Here 5, -1, -1. The last 2 stand for padding: -1.",
                     here "non_spec_state_indices_tensor")
    assert.are.equal("This step has none: a step has it when some row is speculative, and a bucket's\n"
                     .. "  step never: it has token_class.",
                     explain.field(meta, "spec_sequence_masks"):match "\n  (This .*)$")
    builder:close()
  end)
end)

describe("A drawing of rows", function()
  it("has the engine's rows in their places", function()
    local sample, kinds = sample_engine.new(), {}
    for _ = 1, 300 do
      local step = sample:step()
      local list, at = draw_rows.list(step.metadata), 0
      for row = 0, step.num_rows - 1 do
        local drawn = list[row + 1]
        assert.are.same({ row, step.query_len[row], at }, { drawn.row, drawn.tokens, drawn.first })
        assert.are.equal(step.drafts[row] >= 0, drawn.mark == "s")
        kinds[drawn.mark], at = true, at + drawn.tokens
      end
      local padding = list[step.num_rows + 1]
      if step.padded_rows > step.num_rows or step.padded_tokens > at then
        assert.are.same({ ".", step.padded_rows - step.num_rows, step.padded_tokens - at, at },
                        { padding.mark, padding.rows, padding.tokens, padding.first })
        kinds["."] = true
      else
        assert.is_nil(padding)
      end
    end
    assert.are.same({ s = true, p = true, ["."] = true }, kinds)
    sample.engine:close()
    sample.builder:close()
  end)

  for _, mode in ipairs { false, true, "mixed" } do
    it("says which rows keep a state before their end: full_cuda_graph = " .. tostring(mode), function()
      for _, drafts in ipairs { -1, 1 } do
        local builder = assert(gdn.builder { device = "cpu", num_speculative_tokens = 1, num_slots = 100,
                                             full_cuda_graph = mode })
        local batch = builder:batch()
        batch:add { query_len = drafts > 0 and 2 or 1, seq_len = 30, drafts = drafts, blocks = { 1, 2 },
                    prompt_done = true }
        batch:add { query_len = 1, seq_len = 30, blocks = { 3, 4 }, prompt_done = true }
        batch:add { query_len = 100, seq_len = 110, blocks = { 5, 6 }, checkpoint_len = 74,
                    checkpoint_slot = 90 }
        batch:add { query_len = 70, seq_len = 70, blocks = { 7, 8 } }
        batch:add { query_len = 200, seq_len = 200, blocks = { 9, 10 }, checkpoint_len = 128,
                    checkpoint_slot = 91 }
        batch:pad(6, 512)
        local list, writes = draw_rows.list(assert(builder:build(batch))), {}
        for i = 1, 5 do writes[i] = list[i].writes end
        local first = drafts > 0 and "1 2" or "1"
        assert.are.same({ first, "3", "5; 90 after 64", "7", "9; 91 after 128" }, writes)
        builder:close()
      end
    end)
  end

  it("and every explanation stand whatever any rule set builds", function()
    local rand = random.rng(SEED)
    until_met(1, CASES / 4, { built = CASES / 10 }, function(case, met)
      local rules = ({ "strict", "vllm-2026-04", "vllm-2026-08" })[case % 3 + 1]
      local config = random.config(rand, rules)
      config.rules, config.device = rules, "cpu"
      local builder = assert(gdn.builder(config))
      local inputs, path, batch_rows = steps.draw(rand, rules, config)
      local went, meta = pcall(feed.paths[path], builder, assert(builder:batch()), inputs, batch_rows)
      if went and meta then
        local where = ("GDN_SEED=%d case %d"):format(SEED, case)
        local ok, why = pcall(function()
          met.built = met.built + 1
          show.text(meta, colors.colour)
          for _, name in ipairs(explain.names) do explain.field(meta, name) end
          explain.list(meta)
          draw.bar(meta, 32)
        end)
        assert.is_true(ok, where .. ": " .. tostring(why))
      end
      builder:close()
    end)
  end)
end)
