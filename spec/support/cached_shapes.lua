-- luajit spec/support/cached_shapes.lua <cache> <steps>: a busy engine with a state cache that owns its
-- blocks of attention cache, in a process of its own. Prints how often LuaJIT threw machine code away, and
-- bytes of garbage of a step: those of the second half, when the code is there.
local gdn = require "gdnmeta"

local cache, steps = arg[1], tonumber(arg[2])
local RUNNING, WAITING, BLOCK = 256, 60, 16

local flushes = 0
jit.attach(function(what)
  if what == "flush" then flushes = flushes + 1 end
end, "trace")

local state = 1
local function length(most)
  state = (state * 16807) % 2147483647
  return 1 + math.floor(math.exp(state / 2147483647 * math.log(most)))
end

local engine = assert(gdn.engine {
  builder = assert(gdn.builder { device = "cpu", max_num_seqs = RUNNING, max_rows = RUNNING,
                                 max_requests = RUNNING, max_num_batched_tokens = 8192, num_groups = 3,
                                 num_slots = 4 * RUNNING, max_blocks_per_row = 2 }),
  policy = "fcfs", max_model_len = 16384, kv_blocks = 2 ^ 16, kv_block_size = BLOCK, hash_block_size = BLOCK,
  cache = cache,
})

local id = 0
local function feed()
  while engine.stats.running + engine.stats.waiting < RUNNING + WAITING do
    id = id + 1
    local blocks, prompt = {}, length(4000)
    for k = 1, math.floor(prompt / BLOCK) do blocks[k] = id * 2 ^ 20 + k end
    assert(engine:submit { id = id, prompt_tokens = prompt, max_tokens = length(1600), blocks = blocks })
  end
end

local bytes = 0
collectgarbage "stop"
for now = 1, steps do
  feed()
  if now % 100 == 0 then collectgarbage() end
  local before = collectgarbage "count"
  engine:complete(assert(engine:step(now)), now)
  if now > steps / 2 then bytes = bytes + 1024 * (collectgarbage "count" - before) end
end
assert(#engine:failures() == 0 and engine.stats.finished > steps / 2)
print(flushes, math.ceil(bytes / (steps / 2)))
