-- The simulator's engine with a state cache: what a hit costs and saves, worked out by hand; sums that agree
-- for random workloads and options; what prompts share at most, by brute force.
local gdn = require "gdnmeta"
local prompt_ids = require "gdnmeta.sim.prompt_ids"
local workload = require "gdnmeta.sim.workload"

local sim = gdn.sim

local function near(want, got, what)
  assert.is_true(math.abs(want - got) < 1e-6, ("%s: want %.9f, got %.9f"):format(what, want, got))
end

local function run(opts)
  local o = { preset = "constant-20ms", measure = false, num_groups = 1, cache = true, max_num_seqs = 4 }
  for name, value in pairs(opts) do o[name] = value end
  return assert(sim.run(o))
end

local function list_of(size, ...)
  local requests = { block_size = size }
  for i, r in ipairs { ... } do
    requests[i] = { arrival = r[1], prompt = r[2], output = r[3] or 1, blocks = r[4] }
  end
  return requests
end

local function ids(from, n)
  local list = {}
  for k = 1, n do list[k] = from + k end
  return list
end

-- Random requests over few ids, so that many begin alike.
local function random_list(random, size)
  local requests, at = { block_size = size }, 0
  for i = 1, 10 + math.floor(random() * 30) do
    local n, blocks = math.floor(random() * 7), {}
    for k = 1, n do blocks[k] = math.floor(random() * 2) end
    at = at + random() * 2 ^ (4 - 8 * random())
    requests[i] = { arrival = at, prompt = math.max(1, n * size + math.floor(random() * size)),
                    output = 1 + math.floor(random() * 9), hashes = blocks }
  end
  require("gdnmeta.sim.trace.identity").chain(requests, "mooncake")
  requests.block_size = size
  return requests
end

describe("The simulator's engine with a state cache #lua", function()
  it("computes of a prompt what is new, and reads the attention of the rest in every chunk", function()
    local requests = list_of(100, { 0, 1001, 1, ids(0, 10) }, { 10, 1050, 1, ids(0, 10) })
    local cost = { c0 = 10, c_pf = 1, c_ctx = 0.01, c_att = 1e-4 }
    local plain = run { requests = requests, cost = cost, cache = false }
    local cached = run { requests = requests, cost = cost }
    near(10 + 1050 + 1e-4 * 1050 ^ 2 / 2, plain.per_request.ttft[2], "computed whole")
    near(10 + 50 + 0.01 * 1000 + 1e-4 * (50 * 1000 + 50 ^ 2 / 2), cached.per_request.ttft[2], "with a hit")
    assert.are.same({ 0, 1000 }, cached.per_request.cached)
    local two = run { requests = requests, cost = cost, max_num_batched_tokens = 32 }
    near(2 * (10 + 0.01 * 1000) + 50 + 1e-4 * (32 * 1000 + 32 ^ 2 / 2 + 18 * 1032 + 18 ^ 2 / 2),
      two.per_request.ttft[2], "in two chunks")
    assert.are.same({ 1000 / 2051, 1000 / 2051, 0.5, 0, 0, 2 }, { cached.cache.hit, cached.cache.ceiling,
      cached.cache.hit_requests, cached.cache.states_unread, cached.cache.states_evicted,
      cached.cache.states_made + 1 })
    assert.are.same({ 1000, 2051 - 1000 }, { cached.conservation.cached, cached.conservation.scheduled })
  end)

  it("charges each copy between device and host to its step, by the bytes of a state and the link", function()
    local requests = { block_size = 100 }
    for k = 1, 12 do -- the states of all but the last few leave the device
      local text = k == 12 and 1 or k
      requests[k] = { arrival = 10 * k, prompt = 1001, output = 1, blocks = ids(1000 * text, 10) }
    end
    local preset = "h100-qwen3.6-27b-fp8"
    local bytes = require("gdnmeta.sim.presets").get(preset).state_bytes
    local function play(host_slots, ms)
      return run { requests = requests, preset = preset, cost = { c0 = 10, c_pf = 1 }, cache = "last_block",
                   cache_slots = 2, max_num_seqs = 1, kv_tokens = 0, host_slots = host_slots,
                   host_link = ms and bytes / 1e6 / ms }
    end
    local without, with = play(0), play(20, 5)
    assert.is_nil(without.cache.host)
    assert.are.equal(0, without.cache.hit)
    local host = with.cache.host
    assert.are.same({ 20, 1, 1000, 1 }, { host.slots, host.hits, host.hit_tokens, host.restored })
    near(5, host.copy_ms, "a state")
    near(5 * (host.demoted + 1), host.copied_ms, "all copies")
    local charged = 0
    for k = 1, 11 do charged = charged + with.per_request.ttft[k] - without.per_request.ttft[k] end
    local last = with.per_request.ttft[12]
    near(5 * (host.demoted + 1), charged + last - 11, "each in its step") -- c0 and a token
    assert.is_true(host.demoted >= 8 and last >= 16)
    assert.are.equal(1000, with.cache.hit_tokens)
    near(bytes / 51.2e9 * 1000, play(20).cache.host.copy_ms, "four fifths of PCIe 5")
    assert.has_error(function() run { requests = requests, cache = false, host_slots = 1 } end,
                     "sim.run: host_slots wants cache")
  end)

  it("charges no other prompt for it, but for the step that leaves a state", function()
    local requests = list_of(100, { 0, 1000, 1, ids(0, 10) }, { 10, 150, 1, ids(900, 1) })
    local r = run { requests = requests, cost = { c0 = 30, c_pf = 1, c_ctx = 1 } }
    near(2 * 30 + 150, r.per_request.ttft[2], "another prompt")
  end)

  it("keeps its books for random workloads, caches and modes, and never finds more than there is", function()
    for seed = 1, 24 do
      local random = workload.random(seed)
      local requests = random_list(random, 16)
      local align, async = random() < 0.4, random() < 0.3
      local drafts = random() < 0.3 and 2 or 0
      local names = { "every_block", "gdsf", "fork_and_last", "turns_by_tokens", "fifo" }
      local r = run {
        requests = requests, cache = names[1 + math.floor(random() * #names)], async = async,
        cache_slots = math.floor(random() * 6), kv_tokens = random() < 0.5 and 400 or 0,
        mamba_cache_mode = align and "align" or "none", mamba_block_size = random() < 0.5 and 16 or 8,
        num_speculative_tokens = drafts, max_num_batched_tokens = 40, kv_headroom = 0, seed = seed,
        host_slots = seed % 3 * 4,
      }
      assert.are.equal(#requests, r.finished + r.rejected, "seed " .. seed)
      assert.is_true(r.cache.hit <= r.cache.ceiling + 1e-12, "seed " .. seed)
      assert.is_nil(r.cache.failure)
      local sum = 0
      for i, tokens in ipairs(r.per_request.cached) do
        assert.is_true(not tokens or tokens < requests[i].prompt)
        sum = sum + (tokens or 0)
      end
      assert.are.equal(sum, r.cache.hit_tokens)
      local asked, hit = 0, 0
      for _, p in ipairs(r.timeline) do asked, hit = asked + p.asked * p.steps, hit + p.hit * p.steps end
      near(r.cache.prompt_tokens, asked, "over time")
      near(r.cache.hit_tokens, hit, "over time")
    end
  end)

  it("finds all that prompts share where nothing is scarce and one follows the other", function()
    for seed = 1, 10 do
      local requests = random_list(workload.random(seed), 16)
      for i, r in ipairs(requests) do r.arrival = 100 * i end
      local r = run { requests = requests, cache = "every_block", cache_slots = 4000, kv_tokens = 0 }
      near(r.cache.ceiling, r.cache.hit, "seed " .. seed)
    end
  end)

  it("has the ceiling that comparing every pair of prompts gives", function()
    for seed = 1, 30 do
      local requests = random_list(workload.random(seed), 16)
      local hits, total = 0, 0
      for i, r in ipairs(requests) do
        local best = 0
        for k = 1, i - 1 do
          local n = 0
          while n < #r.blocks and requests[k].blocks[n + 1] == r.blocks[n + 1] do n = n + 1 end
          best = math.max(best, math.min(16 * n, 16 * math.floor((r.prompt - 1) / 16)))
        end
        hits, total = hits + best, total + r.prompt
      end
      near(hits / total, sim.lab.ceiling(requests), "seed " .. seed)
      local identity = assert(prompt_ids.of(requests, { mamba_cache_mode = "none" }))
      near(hits / total, identity.ceiling, "seed " .. seed)
    end
  end)

  it("goes by larger blocks in mode align, and fills up ids that a prompt lacks with its own", function()
    local requests = list_of(8, { 0, 40, 1, { 1, 2, 3, 4, 5 } }, { 9, 40, 1, { 1, 2, 3 } }, { 9, 7, 1 })
    local o = { mamba_cache_mode = "align", mamba_block_size = 16 }
    local identity = assert(prompt_ids.of(requests, o))
    assert.are.same({ 16, 16, 1 }, { identity.hash_block_size, identity.kv_block_size, identity.without })
    assert.are.same({ { 2, 4 }, { 2, "rest 2 of request 2" }, false }, identity.ids)
    assert.are.equal(16 / 87, identity.ceiling)
    o.mamba_block_size = 12
    local none, message = prompt_ids.of(requests, o)
    assert.is_nil(none)
    assert.matches("mamba_block_size %(%-%-block%-size%) = 12, want a multiple or a part of the 8 ", message)
    assert.are.equal(1, run({ requests = requests }).cache.without_identity)
  end)

  it("serves the next turn from the answer where that is asked for", function()
    local requests = list_of(10, { 0, 101, 50, ids(0, 10) }, { 50, 165, 1, ids(0, 16) },
                             { 60, 101, 1, ids(90, 10) })
    for i = 1, 2 do requests[i].session = "chat" end
    local function cached(options)
      options.requests = requests
      return run(options)
    end
    assert.are.same({ 0, 100, 0 }, cached({}).per_request.cached)
    local r = cached { cache_replies = true }
    assert.are.same({ 0, 150, 0 }, r.per_request.cached)
    assert.are.same({ 1, 150 / 367 }, { r.cache.known_replies, r.cache.ceiling })
    for message, options in pairs {
      ["no turn of a session goes on"] = { requests = list_of(10, { 0, 101, 50, ids(0, 10) }) },
      ["cache_replies wants async = false"] = { requests = requests, async = true },
    } do
      options.cache, options.cache_replies = true, true
      local none, why = sim.run(options)
      assert.is_nil(none)
      assert.matches(message, why)
    end
  end)

  it("keeps its books with answers, drafts and little memory", function()
    for seed = 1, 10 do
      local requests = sim.dialogues.generate { kind = "agents", sessions = 5, block_size = 64, seed = seed }
      local short = { block_size = 64 }
      for i = 1, 25 do
        local r = requests[i]
        short[i] = { arrival = r.arrival / 50, prompt = r.prompt, output = math.min(r.output, 300),
                     session = r.session, blocks = r.blocks }
      end
      local r = run { requests = short, cache = seed % 2 == 0 and "gdsf" or true, cache_replies = true,
                      cache_slots = seed % 3, num_speculative_tokens = seed % 4, kv_headroom = 0,
                      kv_tokens = seed < 6 and 60000 or 0, seed = seed,
                      mamba_cache_mode = seed % 5 == 0 and "align" or "none", mamba_block_size = 64 }
      assert.are.equal(25, r.finished + r.rejected, "seed " .. seed)
      assert.is_true(r.cache.hit > 0 and r.cache.hit <= r.cache.ceiling + 1e-12, "seed " .. seed)
    end
  end)

  it("contains a cache that fails, and says so", function()
    local requests = sim.dialogues.generate { kind = "synthetic", sessions = 20 }
    for hook, code in pairs { worth = "while true do end", checkpoints = "return 5", keep = "return nil" } do
      local cache = { [hook] = assert(loadstring("local r, n, values = ... " .. code)) }
      local r = run { requests = requests, cache = cache, cache_slots = 0, kv_tokens = 0 }
      assert.are.equal(#requests, r.finished)
      assert.are.equal(hook, r.cache.failure.hook)
      assert.is_true(r.cache.failure.switched_off or r.cache.failure.never ~= nil)
      assert.is_nil(r.failure)
    end
  end)

  it("names what has no identity, and ids that are none", function()
    local function refused(opts, wanted)
      local r, message = sim.run(opts)
      assert.is_nil(r)
      assert.matches(wanted, message)
    end
    refused({ cache = true, workload = { requests = 5 } }, "cache: generated has no identity of prompts")
    refused({ cache = true, requests = list_of(nil, { 0, 5 }) }, "cache: given has no identity")
    refused({ cache = true, requests = list_of(4, { 0, 5 }) }, "has no identity")
    refused({ cache = true, requests = list_of(4, { 0, 5, 1, { -1 } }) }, "requests%[1%].blocks%[1%] = %-1,")
    refused({ cache = true, requests = list_of(4, { 0, 9, 1, { 1, {} } }) }, "blocks%[2%] = a table")
    refused({ cache = true, requests = list_of(4, { 0, 9, 1, 7 }) }, "%[1%].blocks = 7, want a list")
    refused({ cache = true, requests = list_of(0.5, { 0, 9, 1, { 7 } }) }, "requests.block_size = 0.5, want")
    refused({ cache = "lru", requests = list_of(4, { 0, 9, 1, { 7 } }) }, 'no cache "lru"')
  end)
end)
