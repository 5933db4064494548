-- How long requests wait for others, in steps: leftovers of align, short prompts after long ones, priorities
-- and full table rows, requests after those that a policy holds.
local server = require("spec.support.queueing").server

local function align(budget, block, more)
  local b = { max_num_batched_tokens = budget, mamba_cache_mode = "align", mamba_block_size = block,
              max_blocks_per_row = 1024, num_slots = 200, max_num_seqs = 16, max_requests = 16 }
  for name, value in pairs(more or {}) do b[name] = value end
  return b
end

local REFUSED = "chunk gives 512 tokens, want 0 or at least ctx.chunk_multiple = 544"

describe("Leftovers of a step in mode align", function()
  it("go to a short prompt at once, and a long one has its blocks while others decode", function()
    for _, policy in ipairs { "fcfs", "decode_first", "priority", "deadline", "fair", "shortest_prefill" } do
      local s = server(policy, { max_model_len = 8000 }, align(2048, 2048))
      s.submit("decode", { prompt_tokens = 20, max_tokens = 1000 })
      s.step()
      s.submit("long", { prompt_tokens = 5000, arrival = 0 })
      s.submit("short", { prompt_tokens = 30, arrival = 0.5 })
      s.run(20)
      assert.is_true(s.first.short <= 2, policy .. " short " .. tostring(s.first.short))
      assert.is_true((s.first.long or 99) <= 6, policy .. " long " .. tostring(s.first.long))
      assert.is_true(s.engine:request("decode").emitted >= 10, policy)
      s.close()
    end
  end)

  -- Blocks just below, at and above the budget's share; decodes with drafts and without.
  it("hold up no prompt for long, whatever the blocks, the drafts and the number of decodes", function()
    for _, case in ipairs { { 544, 544, 0, 1 }, { 544, 560, 0, 9 }, { 1056, 1060, 0, 7 }, { 544, 1092, 3, 8 },
                            { 1056, 2112, 2, 3 }, { 16, 16, 0, 14 }, { 16, 16, 3, 5 }, { 16, 19, 3, 12 } } do
      for _, policy in ipairs { "fcfs", "decode_first", "priority" } do
        local block, budget, drafts, decodes = unpack(case)
        local s = server(policy, { max_model_len = 8000 },
                         align(budget, block, { num_speculative_tokens = drafts, num_slots = 400,
                                                max_rows = 16 * (drafts + 1) }))
        for n = 1, decodes do s.submit(n, { prompt_tokens = 1, max_tokens = 2000 }) end
        s.run(decodes + 2)
        local before = {}
        for n = 1, decodes do before[n] = s.engine:request(n).emitted end
        s.submit("long", { prompt_tokens = 3 * block + 5 })
        s.submit("short", { prompt_tokens = 3 })
        s.run(20)
        local where = ("%s %s: "):format(policy, table.concat(case, " "))
        assert.is_true((s.first.long or 99) <= 16, where .. tostring(s.first.long))
        assert.is_true((s.first.short or 99) <= 16, where .. tostring(s.first.short))
        for n = 1, decodes do assert.is_true(s.engine:request(n).emitted - before[n] >= 8, where .. n) end
        s.close()
      end
    end
  end)

  it("are no reason to stop where 200 long prompts stand in front", function()
    local s = server("fcfs", { max_model_len = 8000 },
                     align(2048, 2048, { max_num_seqs = 300, max_requests = 300, num_slots = 900 }))
    s.submit("decode", { prompt_tokens = 20, max_tokens = 1000 })
    s.step()
    for n = 1, 200 do s.submit(n, { prompt_tokens = 5000 }) end
    s.submit("short", { prompt_tokens = 30 })
    s.run(14)
    assert.is_true((s.first.short or 99) <= 12, tostring(s.first.short))
    s.close()
  end)

  it("do not go to one that takes the table row or the memory of the first in the queue", function()
    local s = server("fcfs", { max_model_len = 8000 }, align(2048, 2048, { max_num_seqs = 2 }))
    s.submit("decode", { prompt_tokens = 20, max_tokens = 1000 })
    s.step()
    s.submit("long", { prompt_tokens = 5000, max_tokens = 2 })
    s.submit("short", { prompt_tokens = 30, max_tokens = 500 })
    s.run(9)
    assert.are.equal(5, s.first.long)
    assert.is_true(s.first.short > s.first.long)
    s.close()
  end)

  it("are named where the policy's chunk is no block", function()
    local s = server({ name = "mine", chunk = 512 }, { max_model_len = 8000 }, align(2048, 544))
    s.submit("decode", { prompt_tokens = 5, max_tokens = 100 })
    s.step()
    s.submit("long", { prompt_tokens = 3000 })
    assert.is_true(s.step().fallback)
    local failure = s.engine:failures()[1]
    assert.are.same({ "mine", "chunk", "long", REFUSED },
                    { failure.policy, failure.hook, failure.request, failure.message })
    s.engine:close()
  end)
end)

describe("A chunk of less than a block", function()
  it("is named also where short prompts use up the step: no prompt waits without end unreported", function()
    for _, chunk in ipairs { 512, function(_, want) return math.min(want, 512) end } do
      for _, order in ipairs { "shortest_prefill", "priority" } do
        local s = server({ order = order, chunk = chunk }, { max_model_len = 8000 }, align(2048, 544))
        s.submit("long", { prompt_tokens = 3000, arrival = 1, priority = 5 })
        local fallback = false
        for n = 1, 5 do
          s.submit(n, { prompt_tokens = 100, max_tokens = 1, arrival = 0 })
          fallback = s.step().fallback or fallback
        end
        assert.is_true(fallback, order)
        assert.are.equal(REFUSED,
                         s.engine:failures()[1].message)
        s.engine:close()
      end
    end
  end)

  it("is no mistake where it is what is left of more", function()
    local s = server("decode_first", { max_model_len = 8000 }, align(2048, 544))
    s.submit("long", { prompt_tokens = 3000 })
    for n = 1, 40 do
      s.submit(n, { prompt_tokens = 100, max_tokens = 1 })
      s.step()
    end
    s.close()
  end)
end)

describe("Without chunks", function()
  it("a prompt of the whole budget comes in beside decodes, and short ones pass it", function()
    local s = server("fcfs", { chunked_prefill = false, max_model_len = 64 }, { max_num_seqs = 8 })
    for n = 1, 3 do s.submit(n, { prompt_tokens = 2, max_tokens = 40 }) end
    s.step()
    s.submit("long", { prompt_tokens = 62, max_tokens = 1 })
    s.submit("short", { prompt_tokens = 5 })
    s.run(3)
    assert.are.same({ 1, 2 }, { s.first.short, s.first.long })
    s.close()
  end)
end)

describe("Drafts", function()
  it("never take another decode's own token, and leave a prompt its share", function()
    local s = server("fcfs", nil, { num_speculative_tokens = 3, max_num_batched_tokens = 8, max_num_seqs = 8,
                                    max_rows = 32 })
    for n = 1, 7 do s.submit(n, { prompt_tokens = 1, max_tokens = 200 }) end
    s.run(10)
    local before = s.engine:request(7).emitted
    s.submit("new", { prompt_tokens = 5 })
    s.run(12)
    assert.is_true(s.engine:request(7).emitted - before >= 5)
    assert.is_true((s.first.new or 99) <= 10, tostring(s.first.new))
    s.close()
  end)
end)

describe("A short prompt that goes first by the policy's key", function()
  local FIRST = {
    priority = { {}, { priority = -1 } }, fair = { { user = "a" }, { user = "b" } },
    shortest_prefill = { {}, {} }, deadline = { { ttft = 1e6 }, { ttft = 1 } }, decode_first = { {}, {} },
  }
  for policy, fields in pairs(FIRST) do
    it("does not wait for a long one that runs: " .. policy, function()
      for _, mode in ipairs { "none", "align" } do
        for _, n in ipairs { 1, 100, 300 } do
          local b = align(8192, 544, { max_blocks_per_row = 1200, num_slots = 100, max_num_seqs = 8 })
          if mode == "none" then b = { max_num_batched_tokens = 8192, max_num_seqs = 8 } end
          local s = server(policy, { max_model_len = 610000 }, b)
          local long, short = fields[1], fields[2]
          long.prompt_tokens, short.prompt_tokens = 600000, n
          s.submit("long", long)
          s.run(3)
          s.submit("short", short)
          s.run(3)
          assert.is_true((s.first.short or 99) <= 2, ("%s %d: %s"):format(mode, n, tostring(s.first.short)))
          assert.is_true(s.engine:request("long").computed_tokens > 3 * 512)
          s.close()
        end
      end
    end)
  end

  it("does not displace a prompt under fcfs, where that is not the rule", function()
    local s = server("fcfs", { max_model_len = 610000 }, { max_num_batched_tokens = 8192 })
    s.submit("long", { prompt_tokens = 30000 })
    s.step()
    s.submit("short", { prompt_tokens = 100 })
    s.run(6)
    assert.are.equal(3, s.first.short)
    s.close()
  end)
end)

describe("A long prefill threshold", function()
  it("leaves one prompt alone, and limits two", function()
    for _, waits in ipairs { true, false } do
      local s = server("fcfs", { long_prefill_token_threshold = 16 }, { max_num_seqs = waits and 1 or 4 })
      s.submit("a", { prompt_tokens = 300 })
      assert.are.equal(64, s.step().num_tokens)
      s.submit("b", { prompt_tokens = 300 })
      assert.are.equal(waits and 16 or 32, s.step().num_tokens)
      s.engine:cancel "b"
      assert.are.equal(64, s.step().num_tokens)
      s.close()
    end
  end)
end)

describe("In random traffic with table rows and memory enough", function()
  local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 40)

  -- Every second step at least gives a prompt its share: in mode align a block as far as the last boundary
  -- that chunks end on, after that, and everywhere in mode none, an eighth of a step. What is left after
  -- the boundary may be two blocks less a token: it goes with what decodes leave where that is its share.
  local function bound(prompts, budget, block, drafts)
    local grants, eighth = 0, math.max(1, math.floor(budget / 8))
    for _, n in ipairs(prompts) do
      local last = block and math.max(math.floor(n / block) - (drafts > 0 and 1 or 0), 0) or 0
      grants = grants + last + math.ceil((n - last * (block or 0)) / eighth) + 2
    end
    return 2 * grants + 4
  end

  it("every prompt has its first token within the steps that its share and those before it take", function()
    local seed = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24
    for case = seed, seed + CASES - 1 do
      math.randomseed(case)
      local drafts, block, seqs = math.random(0, 3), math.random(4, 40), math.random(2, 16)
      local budget = math.max(seqs, math.random(block, 3 * block))
      local is_align = math.random() < 0.7
      local b = align(budget, block, { max_num_seqs = seqs, max_requests = seqs, num_slots = 60 * seqs,
                                       num_speculative_tokens = drafts, max_rows = seqs * (drafts + 1) })
      if not is_align then b.mamba_cache_mode, b.mamba_block_size, b.max_blocks_per_row = nil, nil, nil end
      local policy = ({ "fcfs", "decode_first", "priority", "deadline" })[math.random(4)]
      local s, prompts, decodes = server(policy, { max_model_len = 1000 }, b), {}, math.random(1, seqs - 1)
      for n = 1, decodes do s.submit(-n, { prompt_tokens = 1, max_tokens = 900 }) end
      for _ = 1, 100 do
        if s.engine.stats.waiting == 0 then break end
        s.step()
      end
      for n = 1, seqs - decodes do
        prompts[n] = math.random(1, 10 * block)
        s.submit(n, { prompt_tokens = prompts[n], max_tokens = 5 })
      end
      local most = bound(prompts, budget, is_align and block, drafts)
      for n in ipairs(prompts) do
        for _ = 1, most do
          if s.first[n] then break end
          s.step()
        end
        assert.is_true((s.first[n] or 1e9) <= most, ("GDN_SEED=%d %s: %s of %d steps"):format(case, policy,
                                                                                  tostring(s.first[n]), most))
      end
      s.close()
    end
  end)
end)
