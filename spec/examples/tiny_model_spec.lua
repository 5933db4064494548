-- The toy model under the engine says in every batch what it says alone.
local gdn = require "gdnmeta"
local serving = require "examples.serving"
local tiny = require "examples.tiny_model"

local SEED = 7

-- An engine, its model and their host. builder, engine: options that replace the defaults.
local function host(builder, engine, draft)
  local b = { device = "cpu", max_num_seqs = 3, max_num_batched_tokens = 24, num_speculative_tokens = 2,
              num_groups = 2, full_cuda_graph = true }
  for name, value in pairs(builder or {}) do b[name] = value end
  local e = { policy = "fcfs", max_model_len = 200 }
  for name, value in pairs(engine or {}) do e[name] = value end
  e.builder = assert(gdn.builder(b))
  local made = assert(gdn.engine(e))
  return serving.new(made, tiny.new { seed = SEED, builder = e.builder }, draft), made
end

local function prompt(n, length)
  local bytes = {}
  for k = 1, length do bytes[k] = string.char(97 + (n * 7 + k * k * 11) % 26) end
  return table.concat(bytes)
end

local function run(h)
  local now = 0
  while h:step(now) do
    now = now + 1
    assert(now < 10000, "does not come to an end")
  end
end

-- Ten requests of ragged lengths, each against itself alone.
local function as_alone(h, engine)
  local records = {}
  for n = 1, 10 do
    local text = prompt(n, n * n % 37 + 1)
    records[text] = assert(h:submit { id = n, prompt = text, max_tokens = 5 + 4 * n })
  end
  run(h)
  for text, record in pairs(records) do
    assert.are.equal(tiny.alone(SEED, text, 5 + 4 * record.id), record.output)
    assert.are.equal("length", record.reason)
  end
  assert.are.same({}, engine:failures())
end

describe("examples/tiny_model.lua #lua", function()
  it("says something else to every prompt, and the same again to the same", function()
    local one, other = tiny.alone(SEED, "one", 30), tiny.alone(SEED, "two", 30)
    assert.are.equal(30, #one)
    assert.are_not.equal(one, other)
    assert.are_not.equal(one, tiny.alone(SEED + 1, "one", 30))
    assert.are.equal(one, tiny.alone(SEED, "one", 30))
    assert.are.equal(tiny.alone(SEED, "one" .. one:sub(1, 10), 20), one:sub(11))
  end)

  for _, policy in ipairs { "fcfs", "priority", "shortest_prefill", "fair", "deadline", "decode_first" } do
    it("says in batches what it says alone, under " .. policy, function()
      local h, engine = host(nil, { policy = policy })
      as_alone(h, engine)
      assert.is_true(engine.stats.rejected_drafts > 0)
    end)
  end

  it("says the same with drafts that are always right, never, and without any", function()
    local alone = {}
    for n = 1, 10 do
      local text = prompt(n, n * n % 37 + 1)
      alone[text] = text .. tiny.alone(SEED, text, 60)
    end
    local function oracle(tokens, most)
      local text, drafts = string.char(unpack(tokens)), {}
      for _, whole in pairs(alone) do
        if whole:sub(1, #text) == text then drafts = { whole:byte(#text + 1, #text + most) } end
      end
      return drafts
    end
    local h, engine = host(nil, nil, oracle)
    as_alone(h, engine)
    local fewest = engine.stats.steps
    h, engine = host(nil, nil, function() return { 0, 0 } end)
    as_alone(h, engine)
    assert.is_true(fewest < 0.6 * engine.stats.steps)
    as_alone(host { num_speculative_tokens = 0 })
  end)

  it("says the same after it was preempted", function()
    local h, engine = host(nil, { max_model_len = 90, kv_tokens = 92, kv_block_size = 4, kv_headroom = 0 })
    as_alone(h, engine)
    assert.is_true(engine.stats.preemptions > 0)
  end)

  it("says the same in blocks of mode align, from a checkpoint too", function()
    local h, engine = host({ mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 28,
                             num_slots = 40 }, { max_num_batched_tokens = 16 })
    as_alone(h, engine)
    local head = prompt(99, 16)
    assert(h:submit { id = "first", prompt = head .. "more", max_tokens = 9 })
    h:step(0)
    local checkpoint = assert(engine:checkpoint "first")
    assert.are.equal(8, checkpoint.tokens) -- with drafts the last block is left alone
    local second = assert(h:submit { id = "second", prompt = head .. "less", max_tokens = 9,
                                     checkpoint = checkpoint })
    run(h)
    assert.are.equal(tiny.alone(SEED, head .. "less", 9), second.output)
  end)

  it("says the same whatever the number of cache groups", function()
    for groups = 1, 5 do as_alone(host { num_groups = groups }) end
  end)
end)

describe("examples/serving.lua #lua", function()
  it("reports bytes as they come, with the reason at the end", function()
    local h, heard, reasons = host(), {}, {}
    local record = h:submit { id = 1, prompt = "one", max_tokens = 12, on_bytes = function(bytes, reason)
      heard[#heard + 1], reasons[#reasons + 1] = bytes, reason
    end }
    run(h)
    assert.are.equal(tiny.alone(SEED, "one", 12), table.concat(heard))
    assert.are.same({ "length" }, reasons)
    assert.are.equal(table.concat(heard), record.output)
  end)

  it("ends an answer after its stop byte", function()
    local h, alone = host(), tiny.alone(SEED, "one", 30)
    local stop = alone:sub(9, 9)
    local record = h:submit { id = 1, prompt = "one", max_tokens = 30, stop = stop }
    run(h)
    assert.are.equal(alone:sub(1, (alone:find(stop, 1, true))), record.output)
    assert.are.equal("stop", record.reason)
  end)

  it("lets a callback submit, cancel and step", function()
    local h = host()
    local second, third
    h:submit { id = 1, prompt = "one", max_tokens = 1, on_bytes = function()
      second = second or h:submit { id = 2, prompt = "two", max_tokens = 3 }
      h:cancel(3)
      h:step(0)
    end }
    third = h:submit { id = 3, prompt = "three", max_tokens = 30 }
    run(h)
    assert.are.equal(tiny.alone(SEED, "two", 3), second.output)
    assert.are.equal("cancelled", third.reason)
    assert.are.same({ nil, "no request 3", gdn.EINVAL }, { h:cancel(3) })
  end)

  it("says what was rejected, held and refused", function()
    local hold = true
    local h = host(nil, { policy = { key = function() return 0 end, admit = function(r)
      if r.user == "bad" then return nil, "go away" end
      return not hold
    end } })
    local bad = h:submit { id = 1, prompt = "one", max_tokens = 3, user = "bad" }
    local good = h:submit { id = 2, prompt = "two", max_tokens = 3 }
    assert.are.same({ true, 0 }, { h:step(0) })
    assert.are.equal("rejected", bad.reason)
    hold = false
    run(h)
    assert.are.equal(tiny.alone(SEED, "two", 3), good.output)
    assert.are.same({ false, 0 }, { h:step(0) })
    local refused, message = h:submit { id = 3, prompt = ("x"):rep(500), max_tokens = 1 }
    assert.is_nil(refused)
    assert.are.equal("request 3: prompt_tokens = 500, want at most 199 (max_model_len - 1)", message)
    assert.has_error(function() h:submit { id = 4, prompt = "", max_tokens = 1 } end,
                     "serving: prompt: want a string or a list of tokens that is not empty")
  end)
end)
