-- The lab and an engine agree: what every prompt of random traces finds, with every shipped cache and with
-- caches of a host, while states are evicted. Requests follow each other, and attention is not scarce.
local gdn = require "gdnmeta"
local workload = require "gdnmeta.sim.workload"

local SIZE = 4
local NAMES = { "every_block", "fifo", "fork_and_last", "gdsf", "last_block", "marconi", "offsets",
                "retain_tail", "segment_length", "superseded_first", "turns_by_tokens" }
local OTHERS = {
  ["keeps some"] = { keep = function(node) return node.parent_gap > 4 or node.session ~= "a" end },
  ["by priority"] = {
    checkpoints = function(r) return { r.prompt_end, r.junction } end,
    keep = function(node) return node.tokens % 12 end,
    worth = function(nodes, n, values)
      for i = 1, n do values[i] = nodes[i].priority end
    end,
  },
  ["by number alone"] = { keep = function(node) return node.tokens % 12 end },
  ["by sessions"] = {
    checkpoints = function(r, _, _, ctx)
      local list = ctx.every(2 * ctx.block_size)
      list[#list + 1] = r.prompt_end -- an engine knows a prompt up to its last state
      return list
    end,
    worth = function(nodes, n, values)
      for i = 1, n do
        local node = nodes[i]
        values[i] = (node.session == "a" and 100 or 0) + node.state_hits - node.age + node.hits
                    + node.children + (node.user == "x" and 50 or 0) + node.session_requests
      end
    end,
  },
}

-- Prompts that go on from earlier ones, with a tail of less than a block: one that ends with a block leaves
-- its state in the slot of its seat, which is one more than the lab has.
local function random_requests(seed, n)
  local random, texts, list = workload.random(seed), {}, { block_size = SIZE }
  local number, known = {}, 0
  for i = 1, n do
    local text = texts[math.max(1, math.floor(random() * i))] or ""
    text = text:sub(1, math.floor(random() * (#text + 2)))
    for _ = 1, math.floor(random() * 6) do text = text .. string.char(97 + math.floor(random() * 3)) end
    texts[i] = text:sub(1, 14)
    local blocks = {}
    for k = 1, #texts[i] do
      local path = texts[i]:sub(1, k)
      if not number[path] then known, number[path] = known + 1, known end
      blocks[k] = number[path]
    end
    list[i] = { arrival = i / 4, prompt = #blocks * SIZE + 1 + math.floor(random() * (SIZE - 1)), output = 1,
                blocks = blocks, session = ({ "a", "b", nil })[1 + math.floor(random() * 3)],
                user = random() < 0.5 and "x" or "y" }
  end
  return list
end

-- Cached tokens of each prompt in an engine that has slots for so many states beside those of one request.
local function by_engine(requests, cache, slots)
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 1, max_num_batched_tokens = 64,
                                       num_groups = 2, num_slots = slots + 2, max_blocks_per_row = 2 })
  local engine = assert(gdn.engine { builder = builder, max_model_len = 4096, hash_block_size = SIZE,
                                     cache = cache })
  local cached, before = {}, 0
  for i, r in ipairs(requests) do
    assert(engine:submit { id = i, prompt_tokens = r.prompt, max_tokens = 1, blocks = r.blocks,
                           session = r.session, user = r.user })
    while not engine:idle() do
      assert(engine:complete(assert(engine:step(r.arrival)), r.arrival))
    end
    cached[i], before = engine.stats.cached_tokens - before, engine.stats.cached_tokens
  end
  assert.are.same({}, engine:failures())
  engine:close()
  return cached
end

local function compare(name, load)
  for seed = 1, 3 do
    local requests, evictions = random_requests(seed, 100), 0
    for _, slots in ipairs { 2, 5, 12 } do
      local run = gdn.sim.lab.replay(requests, load(), { slots = slots, state_bytes = 1, kv_bytes = 0 })
      for i, cached in ipairs(by_engine(requests, load(), slots)) do
        assert.are.equal(cached, run.cached[i],
          ("%s, seed %d, %d slots, request %d"):format(name, seed, slots, i))
      end
      evictions = evictions + run.evictions
    end
    assert.is_true(evictions > 50)
  end
end

describe("The lab and an engine agree on every hit while states are evicted #lua", function()
  for _, name in ipairs(NAMES) do
    it(name, function() compare(name, function() return assert(gdn.cache(name)) end) end)
  end
  for name, hooks in pairs(OTHERS) do
    it(name, function() compare(name, function() return gdn.cache(hooks, { name = name }) end) end)
  end
end)
