-- Decodes that leave a prompt its share of a step: how often, and for whom.
local server = require("spec.support.queueing").server

-- Decodes take a step but for a few tokens, and in mode align a chunk is a block at least.
-- is_first: the next request has the number 0.
local function busy(policy, block, budget, decodes, is_first)
  local s = server(policy, { max_model_len = 4000 }, {
    max_num_batched_tokens = budget, mamba_cache_mode = "align", mamba_block_size = block,
    max_blocks_per_row = 1024, num_slots = 400, max_num_seqs = budget, max_requests = 64 })
  if is_first then s.submit("first", { prompt_tokens = 1, max_tokens = 2000 }) end
  for n = 1, decodes do s.submit(n, { prompt_tokens = 1, max_tokens = 2000 }) end
  s.run(4)
  if is_first then s.engine:cancel "first" end
  return s
end

-- Decodes that do not run in a step, as a set, and how many.
local function paused(step, decodes)
  local set, n = {}, decodes
  for k = 1, decodes do set[k] = true end
  for row = 0, step.num_rows - 1 do
    local id = step:id(row)
    if set[id] then set[id], n = nil, n - 1 end
  end
  return set, n
end

describe("Decodes that pause for a prompt", function()
  -- Policy, block, budget, decodes, long prompts, and a short one of so many tokens each so many steps: short
  -- ones take some of what the decodes leave, and long ones go on lacking.
  local CASES = {
    { "fcfs", 16, 24, 20, 1, 12, 1 }, { "fcfs", 16, 23, 20, 2, 9, 1 }, { "fcfs", 16, 25, 22, 2, 11, 1 },
    { "fcfs", 8, 9, 5, 3, 5, 1 }, { "priority", 16, 23, 21, 2, 3, 2 }, { "priority", 8, 12, 10, 3, 4, 4 },
    { "priority", 8, 12, 10, 2, 4, 2 }, { "shortest_prefill", 16, 25, 21, 3, 7, 3 },
  }

  it("do so in no two steps in a row, also where others take what they leave", function()
    for case = 1, 2 * #CASES do
      local policy, block, budget, decodes, longs, tokens, every = unpack(CASES[math.ceil(case / 2)])
      local s = busy(policy, block, budget, decodes, case % 2 == 1)
      local long = { prompt_tokens = 20 * block, max_tokens = 1, priority = 1 }
      for n = 1, longs do s.submit("long" .. n, long) end
      local before, pauses = {}, 0
      for n = 1, 30 do
        if n % every == 0 then s.submit("short" .. n, { prompt_tokens = tokens, max_tokens = 1 }) end
        local now, count = paused(s.step(), decodes)
        for k = 1, decodes do assert.is_nil(now[k] and before[k], ("case %d, decode %d"):format(case, k)) end
        before, pauses = now, pauses + count
      end
      assert.is_true(pauses > 0, case)
      s.close()
    end
  end)

  -- Four decodes with four drafts each are a whole step: the policy is asked about one that waits only where
  -- they have left its share.
  it("are not bothered again for 16 steps by one that the policy holds", function()
    for _, case in ipairs { { 0, { 1, 19, 37, 55 } }, { 1, { 3, 21, 39, 57 } }, { 4, { 6, 24, 42, 60 } } } do
      local asked, now = {}, nil
      local policy = { name = "holds", admit = function(r)
        if r.user == "held" then asked[#asked + 1] = now end
        return r.user ~= "held"
      end }
      local s = server(policy, nil, {
        max_num_batched_tokens = 20, num_speculative_tokens = 4, max_rows = 30, max_num_seqs = 6 })
      for n = 1, 4 do s.submit(n, { prompt_tokens = 1, max_tokens = 4000 }) end
      s.run(case[1])
      s.submit("x", { prompt_tokens = 5, user = "held" })
      for n = case[1] + 1, 62 do
        now = n
        s.step()
      end
      assert.are.same(case[2], asked)
      s.close()
    end
  end)
end)
