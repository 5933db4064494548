-- I24 beyond a single step: however tight the pools and whatever is evicted, tokens keep coming.
local gdn = require "gdnmeta"
local play = require "spec.support.random_traffic"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 20)
local SHIPPED = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }

local function first_seed() return tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24 end

-- Complete the oldest step: no draft is right, as many are proposed as there may be. Did a token come out?
local function complete(run)
  local step, emitted = table.remove(run.flying, 1), 0
  for row = 0, step.num_rows - 1 do step.next_drafts[row] = run.engine.num_spec end
  assert(run.engine:complete(step, run.now))
  for row = 0, step.num_rows - 1 do emitted = emitted + step.emitted[row] end
  return emitted > 0
end

-- One step more, and one completed where as many are in flight as may be. Did a token come out?
local function go_on(run)
  run.now = run.now + 1
  local step = assert(run.engine:step(run.now))
  if step.num_rows > 0 then run.flying[#run.flying + 1] = step end
  local is_full = #run.flying >= #run.engine.private.steps or step.num_rows == 0 and #run.flying > 0
  return is_full and complete(run)
end

-- Serve what waits in the engine. The most steps in a row that no token came out of, at most `patience`.
local function longest_silence(engine, patience)
  local run, silence, longest = { engine = engine, flying = {}, now = 0 }, 0, 0
  while not engine:idle() and silence < patience do
    silence = go_on(run) and 0 or silence + 1
    longest = math.max(longest, silence)
  end
  return longest
end

-- An engine in mode align: blocks of 4 tokens, `slots` beside the null slot, prompts of these lengths.
local function start(prompts, slots, num_spec, options)
  local function builder()
    return assert(gdn.builder {
      device = "cpu", max_num_seqs = 9, max_requests = 18, max_rows = 36, max_num_batched_tokens = 64,
      mamba_cache_mode = "align", mamba_block_size = 4, max_blocks_per_row = 24, num_slots = slots + 1,
      num_speculative_tokens = num_spec,
    })
  end
  local given = { builder = builder(), second_builder = options.async and builder() or nil,
                  max_model_len = 40 }
  for name, value in pairs(options) do given[name] = value end
  local engine = assert(gdn.engine(given))
  for id, n in ipairs(prompts) do engine:submit { id = id, prompt_tokens = n, max_tokens = 4 } end
  return engine
end

local function serve(engine, finished, patience, preemptions)
  local longest, stats = longest_silence(engine, 100), engine.stats
  engine:close()
  assert.are.equal(finished, stats.finished)
  assert.is_true(longest <= patience, longest .. " steps without a token")
  assert.is_true(stats.preemptions <= preemptions, stats.preemptions .. " preemptions")
end

describe("Tokens keep coming", function()
  local TWO = { policy = "fcfs", async = true, admit_after_preemption = true, max_num_batched_tokens = 16 }
  local FURTHEST = { policy = { victim = "most_computed", order = "fcfs" }, long_prefill_token_threshold = 4,
                     kv_tokens = 36, kv_block_size = 4, kv_headroom = 0 }

  it("where victims are in flight and the queue stands ready for what is free meanwhile", function()
    serve(start({ 8, 21, 23, 4, 12 }, 7, 3, TWO), 5, 4, 9)
  end)

  it("and no request is admitted into what a running request waits for", function()
    serve(start({ 23, 17, 15, 15, 15, 5 }, 7, 3, TWO), 6, 4, 6)
  end)

  it("where those that came furthest have to leave", function()
    serve(start({ 20, 16 }, 7, 0, FURTHEST), 2, 6, 2)
  end)

  it("where the one that others left for gives up", function()
    local engine = start({ 20, 16 }, 7, 0, FURTHEST)
    local step
    repeat
      step = engine:step(0)
      engine:complete(step, 0)
    until #step.preempted > 0
    assert.is_true(engine:cancel(3 - step.preempted[1]))
    serve(engine, 1, 6, 1)
  end)
end)

-- The least slots and blocks that a configuration takes, and few more.
local function tighten(c)
  c.async, c.admit_after_preemption = math.random() < 0.5, math.random() < 0.5
  local least = c.num_spec + (c.align and 2 + (c.async and 2 or 0) or 1)
  c.num_slots = 1 + least + math.random(0, 5)
  if c.kv_tokens then c.kv_tokens = c.max_model_len + c.kv_block + math.random(0, c.max_model_len) end
  if c.align and math.random() < 0.5 then c.threshold = math.random(c.block, 2 * c.block) end
end

-- Shipped policies, and ones that choose their victims as badly as can be.
local function some_policy(seed)
  local kinds = { "last", "least_computed", "most_computed", function(r) return -r.arrival end,
                  function(r) return (r.id * 31 + r.computed_tokens * 17 + seed) % 101 end }
  if math.random() < 0.5 then return SHIPPED[math.random(#SHIPPED)] end
  return { decode_first = math.random() < 0.5, victim = kinds[math.random(#kinds)] }
end

describe("In the tightest pools", function()
  it("every request comes to its end, whatever the policy", function()
    local seed = first_seed()
    for case = seed, seed + CASES - 1 do
      math.randomseed(case)
      local c, where = play.configuration(), ("GDN_SEED=%d"):format(case)
      tighten(c)
      local policy = some_policy(case)
      local engine = play.engine(c, policy)
      local taken = 0
      for id, q in ipairs(play.requests(c, math.random(2, 40))) do
        if engine:submit { id = id, prompt_tokens = q.prompt_tokens, max_tokens = q.max_tokens,
                           user = q.user, priority = q.priority, arrival = id } then taken = taken + 1 end
      end
      local longest = longest_silence(engine, 1000)
      assert.are.equal(taken, engine.stats.finished, ("%s: %d steps without a token"):format(where, longest))
      assert.is_nil(engine:failures()[1], where)
      engine:close()
    end
  end)
end)
