-- engine:lose_states(): whatever runs, nothing leaks, nothing is forgotten, and what was said stays said.
local gdn = require "gdnmeta"
local play = require "spec.support.random_traffic"
local engines = require "spec.support.run_engine"
local until_met = require "spec.support.until_met"
local serving = require "examples.serving"
local tiny = require "examples.tiny_model"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 50)
local random = math.random

local function first_seed() return tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24 end

-- What a host would answer: `output` tokens of each request, in steps of up to 1 + drafts.
local function answer(step, left)
  for row = 0, step.num_rows - 1 do
    local id = step:id(row)
    if step.samples[row] == 1 and left[id] then
      local accepted = random(0, math.max(step.drafts[row], 0))
      step.accepted_drafts[row] = accepted
      if accepted + 1 >= left[id] then step.stop[row] = left[id] end
    end
  end
end

local function note(step, left, ended)
  for row = 0, step.num_rows - 1 do
    local id = step:id(row)
    if left[id] then left[id] = left[id] - step.emitted[row] end
  end
  for _, id in ipairs(step.finished) do
    assert.is_nil(ended[id])
    ended[id] = true
  end
end

-- Everything free: no slot, block or table row is held.
local function assert_empty(engine, where)
  assert.are.equal(0, engine:slots().used, where)
  local kv = engine:kv()
  assert.are.equal(0, kv and kv.used or 0, where)
  local cached = engine:cached()
  assert.are.equal(0, cached and cached.states or 0, where)
  local states = engine.private.states
  assert.are.equal(engine.private.config.max_requests, states.free_table_rows, where)
  assert.are.equal(0, states.num_sourced, where)
  assert.are.equal(0, engine.private.slots_coming + engine.private.kv_coming, where)
end

local function run(c, where, depth)
  local engine = play.engine(c, ({ "fcfs", "decode_first", "shortest_prefill", "fair" })[random(4)])
  local requests, left, ended, losses = play.requests(c, random(1, 25)), {}, {}, 0
  local flying, now, at = {}, 0, 1
  for _ = 1, 20000 do
    now = now + 1
    while at <= #requests and requests[at].start <= now do
      local q = requests[at]
      local given = { id = q.id, prompt_tokens = q.prompt_tokens, max_tokens = q.max_tokens, user = q.user }
      if c.hash_block then given.blocks = play.identity(c, q, q.prompt_tokens) end
      if engine:submit(given) then left[q.id] = math.min(q.output, q.max_tokens) end
      at = at + 1
    end
    if at > #requests and engine:idle() then break end
    local step = assert(engine:step(now))
    if step.num_rows > 0 then flying[#flying + 1] = step end
    if random() < 0.06 then
      local running = engine.stats.running
      local lost = engine:lose_states()
      losses = losses + 1
      assert.are.equal(running, #lost, where)
      assert.are.equal(0, engine.stats.running, where)
      assert_empty(engine, where)
      for _, old in ipairs(flying) do
        assert.has_error(function() engine:complete(old, now) end)
        for row = 0, old.num_rows - 1 do
          assert.are.same({ 0, 0 }, { old.emitted[row], old.finish[row] }, where)
        end
      end
      for _, id in ipairs(lost) do assert.are.equal(0, engine:request(id).computed_tokens, where) end
      flying = {}
    elseif #flying >= depth or step.num_rows == 0 and #flying > 0 then
      local oldest = table.remove(flying, 1)
      answer(oldest, left)
      assert(engine:complete(oldest, now))
      note(oldest, left, ended)
    end
  end
  assert.is_true(engine:idle(), where .. ": does not come to an end")
  for id in pairs(left) do assert.is_true(ended[id], where .. ": request " .. id) end
  assert.are.same({}, engine:failures(), where)
  if not c.hash_block then assert_empty(engine, where) end
  engine:close()
  return losses
end

describe("engine:lose_states", function()
  local function each_case(change, depth)
    until_met(first_seed(), CASES, { losses = CASES }, function(case, met)
      math.randomseed(case)
      local c = play.configuration()
      change(c)
      met.losses = met.losses + run(c, ("GDN_SEED=%d"):format(case), depth)
    end)
  end

  it("gives everything back, and every request comes to its end", function()
    each_case(function() end, 1)
  end)
  it("does so with two steps in flight", function()
    each_case(function(c) c.async = true end, 2)
  end)
  it("does so with a state cache, which is then empty, one step at a time and two", function()
    for depth = 1, 2 do
      each_case(function(c)
        c.hash_block, c.kv_tokens, c.owns_blocks, c.async = c.block, nil, false, depth == 2
      end, depth)
    end
  end)
  it("does so in buckets", function() each_case(play.in_buckets, 1) end)

  it("keeps every invariant of random traffic, states followed slot by slot", function()
    until_met(first_seed(), CASES, { losses = CASES / 2 }, function(case, met)
      math.randomseed(case)
      local c, where = play.configuration(), ("GDN_SEED=%d"):format(case)
      c.async = random() < 0.4
      if random() < 0.5 then c.hash_block, c.kv_tokens, c.owns_blocks = c.block, nil, false end
      local engine = play.engine(c, "decode_first")
      local books = play.run(c, { engine = engine, where = where, requests = play.requests(c, random(1, 30)),
                                  cancel = 0.02, lose = 0.05, forks = random() < 0.3 and 0.2 or nil })
      met.losses = met.losses + books.branches.losses
      engine:close()
    end)
  end)

  it("leaves answers as they would have been, with states of a device that is new", function()
    local function host_of(lost_at)
      local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 3, max_num_batched_tokens = 24,
                                           num_speculative_tokens = 2, max_blocks_per_row = 4 })
      local engine = assert(gdn.engine { builder = builder, hash_block_size = 16, max_model_len = 256 })
      local host, records, now = serving.new(engine, tiny.new { seed = 7, builder = builder }), {}, 0
      for id, prompt in ipairs { "Once upon a time", "a", "a prompt that is cut, being long", "x" } do
        records[id] = assert(host:submit { id = id, prompt = prompt, max_tokens = 30 })
      end
      repeat
        local busy = host:step(now)
        now = now + 1
        if lost_at[now] then
          engine:lose_states()
          host.model = tiny.new { seed = 7, builder = builder }
        end
      until not busy
      local texts = {}
      for id, record in ipairs(records) do texts[id] = record.output end
      return texts
    end
    local want = host_of {}
    assert.are.equal(30, #want[3])
    assert.are.same(want, host_of { [1] = true, [2] = true, [5] = true, [6] = true, [11] = true })
  end)

  it("puts them in front, in the order in which they ran, and keeps no count of an eviction", function()
    local engine = engines.engine("fcfs")
    for _, id in ipairs { "a", "b", "c", "d", "e", "f" } do engine:submit(engines.request(id)) end
    local step = assert(engine:step(0))
    assert.are.same({ "a", "b", "c", "d" }, engine:lose_states())
    assert.are.equal(0, engine.stats.preemptions)
    assert.has_error(function() engine:complete(step, 1) end)
    engine:cancel "b" -- as a host that fails what ran
    assert.are.same({ "a", "c", "d", "e" }, assert(engine:step(1)).ids)
  end)

  it("counts what was computed in vain for requests that had ended", function()
    local builder = { num_speculative_tokens = 2 }
    local second_builder = engines.builder(builder)
    local engine = engines.engine("fcfs", { async = true, second_builder = second_builder }, builder)
    for _, id in ipairs { "a", "b", "c" } do engine:submit(engines.request(id)) end
    assert(engine:complete(engine:step(0), 0)) -- the prompts
    local first, second = assert(engine:step(1)), assert(engine:step(2))
    assert.are.equal(9, second.num_tokens)
    first.stop[0] = 1
    assert(engine:complete(first, 2))
    engine:cancel "b"
    engine:lose_states()
    local function figures() return { engine.stats.wasted_rows, engine.stats.wasted_tokens } end
    assert.are.same({ 1, 3 }, figures())
    engines.run(engine)
    assert.are.equal(engine.private.requests.used, #engine.private.requests.free) -- numbers of requests
    assert.are.same({ 1, 3 }, figures())
    engine:close()
  end)

  it("makes kept states good for nothing", function()
    local builder = { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 9 }
    local engine = engines.engine("fcfs", { max_model_len = 64 }, builder)
    engine:submit(engines.request("a", { prompt_tokens = 24, max_tokens = 9 }))
    engine:complete(engine:step(0), 0)
    local kept = assert(engine:checkpoint "a")
    engine:submit(engines.request("b", { prompt_tokens = 30, checkpoint = kept }))
    engine:lose_states()
    local got, why, code = engine:submit(engines.request("c", { prompt_tokens = 30, checkpoint = kept }))
    local message = "request c: checkpoint: its state was lost with the device, release it"
    assert.are.same({ nil, message, gdn.EINVAL }, { got, why, code })
    engine:release(kept)
    assert_empty(engine, "")
    assert.are.equal(0, engine:request("b").computed_tokens) -- which waits, and begins with nothing
    engines.run(engine)
  end)
end)
