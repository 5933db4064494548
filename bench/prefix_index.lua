-- The index of a prefix cache: what a prompt of 126,000 tokens costs, the last of a chat whose blocks lie all
-- over the memory after many evictions; what a whole step of an engine takes that finds and admits such a
-- prompt, blocks of attention cache and all, beside a prompt of two blocks; and what it costs to choose and
-- evict one node of 100,000, with a few valued in Lua before each.
--   make bench                (ROUNDS=2000 for a quick look)
local ffi = require "ffi"
local gdn = require "gdnmeta"
local Index = require "gdnmeta.engine.prefix.index"

ffi.cdef [[ int gdn_bench_cache_clock(int clock, int64_t *time) __asm__("clock_gettime"); ]]

local ROUNDS = tonumber(os.getenv "ROUNDS") or 20000
local BLOCK, PROMPT, NODES = 16, 126000, 100000
local PROMPT_BLOCKS = math.floor(PROMPT / BLOCK)

local time = ffi.new "int64_t[2]"
local function now()
  ffi.C.gdn_bench_cache_clock(1, time)
  return tonumber(time[0]) * 1e9 + tonumber(time[1])
end

local function median(samples)
  table.sort(samples)
  return samples[math.floor(#samples / 2) + 1]
end

local state = 1
local function draw(n)
  state = (state * 16807) % 2147483647
  return state % n
end

local ids, kv = ffi.new "int64_t[8192]", ffi.new "int32_t[8192]"
local slots = ffi.new("int32_t[3]", 1, 2, 3)

local function new_index()
  return assert(Index.new { num_groups = 3, block_size = BLOCK, kv_per_block = 1, max_nodes = 2 * NODES,
                            max_blocks = 2 ^ 21, kv_bytes = 4096, state_bytes = 2 ^ 20 })
end

-- Leaves of 1 to 8 blocks, half of them behind 1000 shared beginnings, each with a state.
local function fill(index, nodes)
  while index:stats().nodes < nodes do
    for _ = 1, 100 do
      local shared, n = draw(2) == 0 and 4 or 0, 1 + draw(8)
      local start = draw(1000)
      for k = 0, shared - 1 do ids[k] = start * 4 + k end
      for k = shared, shared + n - 1 do ids[k] = 10000 + draw(2 ^ 30) end
      assert(index:publish(ids, shared + n, kv, slots))
    end
    index:advance(index.now + 1)
  end
end

-- Turns of 500 blocks, a state behind each; between them other requests come and go.
local function chat(index)
  for k = 0, PROMPT_BLOCKS - 1 do ids[k] = 2 ^ 40 + k end
  local turns = ffi.new("int64_t[8192]")
  ffi.copy(turns, ids, 8 * PROMPT_BLOCKS)
  for n = 500, PROMPT_BLOCKS + 499, 500 do
    fill(index, index:stats().nodes + 500)
    assert(index:publish(turns, math.min(n, PROMPT_BLOCKS), kv, slots))
    index:advance(index.now + 1)
    for _ = 1, 400 do index:evict(index:first(Index.LEAVES), 64, kv) end
  end
  return turns
end

-- Every value is asked anew, as a policy would that rates by age, hits and size.
local function worth(nodes, n, values)
  for k = 1, n do
    local node = nodes[k]
    values[k] = (1 + node.hits) * node.parent_gap / (node.age + 1) / (node.state_bytes + node.kv_bytes)
  end
end

local function evict_one(index, kind)
  local nodes, n, values = index:candidates(kind)
  worth(nodes, n, values)
  assert(not index:rate(kind, n, values))
  local node = index:first(kind)
  if kind == Index.LEAVES then index:evict(node, 64, kv) else index:drop_state(node) end
end

local function sampled(rounds, run)
  local samples = {}
  for n = 1, rounds do
    local start = now()
    run()
    samples[n] = now() - start
  end
  return median(samples)
end

local function bench_match()
  local index = new_index()
  fill(index, 20000)
  local prompt = chat(index)
  local function once()
    local hit = index:match(prompt, PROMPT_BLOCKS, PROMPT - 1)
    index:lock()
    index:unlock_state(hit.state_node)
    index:unlock(hit.node)
  end
  local ns = sampled(ROUNDS, once)
  local hit = index:match(prompt, PROMPT_BLOCKS, PROMPT - 1)
  local line = "bench cache-match lua %.0f ns tokens %d blocks %d hit %d nodes %d"
  print(line:format(ns, PROMPT, PROMPT_BLOCKS, hit.state_tokens, hit.num_nodes))
  index:close()
end

-- ns of steps that admit a prompt of so many tokens, which was there before; tokens of the hit.
local function admissions(tokens)
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 2 ^ 17,
                                       num_groups = 3, num_slots = 16, max_blocks_per_row = 2 })
  local engine = assert(gdn.engine { builder = builder, max_model_len = 2 ^ 17, kv_blocks = 2 ^ 14,
                                     kv_block_size = BLOCK, hash_block_size = BLOCK })
  local blocks, samples = {}, {}
  for k = 1, math.floor(tokens / BLOCK) do blocks[k] = k end
  for n = 0, math.ceil(ROUNDS / 10) do
    assert(engine:submit { id = n, prompt_tokens = tokens, max_tokens = 1, blocks = blocks })
    local ns
    repeat
      local start = now()
      local step = assert(engine:step(n))
      ns = now() - start
      engine:complete(step, n)
    until engine:idle()
    if n > 0 then samples[n] = ns end
  end
  local hit = engine.stats.cached_tokens / engine.stats.hits
  engine:close()
  return median(samples), hit
end

local function bench_admit()
  local short = admissions(2 * BLOCK)
  local long, hit = admissions(PROMPT)
  print(("bench cache-admit lua %.0f ns tokens %d blocks %d hit %d short %.0f ns"):format(long, PROMPT,
    PROMPT_BLOCKS, hit, short))
end

-- As many come as go. A sample is of several, so that a clock's own time is small.
local function bench_evict(name, kind)
  local index = new_index()
  fill(index, NODES)
  local function come()
    local n = 1 + draw(8)
    for k = 0, n - 1 do ids[k] = 10000 + draw(2 ^ 30) end
    assert(index:publish(ids, n, kv, slots))
  end
  local samples = {}
  for n = 1, math.ceil(ROUNDS / 8) + 100 do
    for _ = 1, 8 do come() end
    index:advance(index.now + 1)
    local start = now()
    for _ = 1, 8 do evict_one(index, kind) end
    samples[n] = (now() - start) / 8
  end
  local stats = index:stats()
  print(("bench %s lua %.0f ns nodes %d states %d"):format(name, median(samples), stats.nodes, stats.states))
  index:close()
end

bench_match()
bench_admit()
bench_evict("cache-evict-state", Index.STATES)
bench_evict("cache-evict-leaf", Index.LEAVES)
