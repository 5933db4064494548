-- Mode align with few state slots: running requests do not evict one another in turn, and none starves.
local gdn = require "gdnmeta"
local upkeep = require "gdnmeta.engine.decide.upkeep"

-- Serve 30 requests. What share of the tokens was computed again, how many ran on average while others
-- waited, the longest time between two tokens of one in steps.
local function serve(requests, slots, block, drafts, policy)
  local width = math.ceil(1000 / block) + drafts
  local engine = assert(gdn.engine {
    builder = assert(gdn.builder {
      device = "cpu", max_num_seqs = requests, max_requests = requests, max_rows = requests * (drafts + 1),
      max_num_batched_tokens = 256, num_speculative_tokens = drafts, mamba_cache_mode = "align",
      mamba_block_size = block, max_blocks_per_row = width, num_slots = slots + 1,
    }),
    policy = policy, max_model_len = 1000, on_policy_error = "raise",
  })
  math.randomseed(7)
  for id = 1, 30 do
    assert(engine:submit { id = id, prompt_tokens = math.random(200), max_tokens = math.random(200) })
  end
  local steps, tokens, last, gap, rows, crowded = 0, 0, {}, 0, 0, 0
  while not engine:idle() do
    local step = assert(engine:step(steps))
    steps, tokens = steps + 1, tokens + step.num_tokens
    if engine.stats.waiting > 0 then rows, crowded = rows + step.num_rows, crowded + 1 end
    for row = 0, step.num_rows - 1 do
      local most = step.drafts[row]
      if most > 0 then step.accepted_drafts[row] = (steps * 7 + row * 3) % (most + 1) end
    end
    assert(engine:complete(step, steps))
    for row = 0, step.num_rows - 1 do
      local id = step:id(row)
      if step.emitted[row] > 0 then
        gap, last[id] = math.max(gap, steps - (last[id] or steps)), steps
      end
    end
    assert.is_true(steps < 10000, "does not come to an end")
  end
  local stats = engine.stats
  engine:close()
  return { again = stats.discarded / tokens, running = rows / crowded, gap = gap, finished = stats.finished }
end

-- Requests that `slots` keep running: each has the columns of a step, without drafts one in `block` moves.
local function most(requests, slots, block, drafts)
  local n = 1
  while (n + 1) * (1 + drafts) + (drafts == 0 and math.ceil((n + 1) / block) or 0) <= slots do n = n + 1 end
  return math.min(n, requests)
end

describe("Few slots in mode align", function()
  for _, policy in ipairs { "fcfs", "decode_first", "shortest_prefill" } do
    it("make no request compute again, and keep as many running as they hold: " .. policy, function()
      for _, case in ipairs { { 8, 8 }, { 8, 11 }, { 8, 16 }, { 16, 17 }, { 4, 5 } } do
        for _, block in ipairs { 4, 16, 256 } do
          for _, drafts in ipairs { 0, 1, 3 } do
            local requests, slots = case[1], case[2]
            local got = serve(requests, slots, block, drafts, policy)
            local where = ("%s: %d requests at once, %d slots, blocks of %d, %d drafts: "):format(policy,
              requests, slots, block, drafts)
            assert.are.equal(30, got.finished, where)
            assert.are.equal(0, got.again, where .. "computed again")
            -- Long prompts keep one slot more; those that move wait where more come to a boundary than usual.
            local least = 0.8 * most(requests, slots, block, drafts)
            assert.is_true(got.running >= least, where .. got.running .. " run, want " .. least)
            -- Who comes to a boundary waits for those who came before, at most a block's steps in all.
            assert.is_true(got.gap <= 2 + requests, where .. got.gap .. " steps between two tokens")
          end
        end
      end
    end)
  end
end)

-- { prompt, max_tokens, drafts: slots }, with blocks of 4 tokens and at most 12.
local SHARES = {
  { 1, 1, 0, 1 }, { 9, 9, 0, 1 }, { 4, 1, 1, 1 }, { 5, 1, 1, 2 }, { 9, 1, 1, 2 }, { 1, 2, 1, 2 },
  { 4, 1, 3, 1 }, { 5, 1, 3, 2 }, { 8, 1, 3, 2 }, { 9, 1, 3, 3 }, { 13, 1, 3, 3 }, { 20, 1, 3, 3 },
  { 1, 2, 3, 4 }, { 4, 2, 3, 4 }, { 4, 3, 5, 6 }, { 1, 4, 3, 4 }, { 1, 1, 3, 1 }, { 11, 9, 9, 10 },
}

describe("A request's share of the slots in mode align", function()
  it("is what a step of it holds, and no more than it ever needs", function()
    for n, case in ipairs(SHARES) do
      local of = upkeep.new { requests = { prompt = { case[1] }, max_tokens = { case[2] } }, align = true,
                              block = 4, num_spec = case[3], max_num_batched_tokens = 64,
                              token_limits = { max_model_len = 13 } }
      assert.are.equal(case[4], of:share(1), "case " .. n)
    end
  end)
end)

describe("A request that others leave for in mode align", function()
  it("makes as few leave as suffice, also where no slot was counted before", function()
    local engine = assert(gdn.engine {
      builder = assert(gdn.builder {
        device = "cpu", max_num_seqs = 2, max_requests = 2, num_speculative_tokens = 1, num_slots = 5,
        max_num_batched_tokens = 64, mamba_cache_mode = "align", mamba_block_size = 16,
        max_blocks_per_row = 8,
      }),
      policy = gdn.policy { key = function(r) return r.priority end,
                            victim = function(r) return r.priority end,
                            preempt_for = function() return 1 end },
      max_model_len = 64, on_policy_error = "raise",
    })
    for _, id in ipairs { "a", "b" } do
      assert(engine:submit { id = id, prompt_tokens = 8, max_tokens = 20, priority = 5 })
    end
    assert(engine:complete(assert(engine:step(0)), 0)) -- both hold one slot of their two
    assert(engine:submit { id = "urgent", prompt_tokens = 8, max_tokens = 20, priority = 0 })
    assert.are.same({ "b" }, assert(engine:step(1)).preempted)
    engine:close()
  end)
end)
