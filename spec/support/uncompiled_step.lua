-- luajit spec/support/uncompiled_step.lua <policy> <steps> [cached] [busy]: how many bytecodes LuaJIT
-- interprets of a step of 64 decodes once it is warm; cached: with a state cache; busy: about one request a
-- step comes, and one goes. `steps` steps of ever changing shapes come before, as in a server that begins. In
-- a process of its own, so that only its code is counted.
local gdn = require "gdnmeta"

local RUNNING, WARM_UP, STEPS, WAITING = 64, 2000, 200, 8
local BLOCK, LONGEST = 16, 2 ^ 20
local policy, shapes = arg[1], tonumber(arg[2])
local is_cached, is_busy = arg[3] == "cached" or arg[4] == "cached", arg[3] == "busy" or arg[4] == "busy"

local state = 7
local function length(most)
  state = (state * 16807) % 2147483647
  return math.ceil(math.exp(state / 2147483647 * math.log(most)))
end

local engine = assert(gdn.engine {
  builder = assert(gdn.builder { device = "cpu", max_num_seqs = RUNNING, max_num_batched_tokens = 4096,
                                 num_slots = 4 * RUNNING, max_blocks_per_row = 2 }),
  policy = policy, max_model_len = LONGEST, hash_block_size = is_cached and BLOCK or nil,
})

local now, id = 0, 0
local function run(steps)
  for _ = 1, steps do
    now = now + 1
    engine:complete(engine:step(now), now)
  end
end

local function submit(prompt_tokens, max_tokens)
  id = id + 1
  local blocks = is_cached and {} or nil
  for k = 1, is_cached and math.floor(prompt_tokens / BLOCK) or 0 do blocks[k] = id * LONGEST + k end
  assert(engine:submit { id = id, prompt_tokens = prompt_tokens, max_tokens = max_tokens, arrival = now,
                         blocks = blocks, user = "user " .. id % 30 })
end

for n = 1, shapes do
  if n % 3 == 0 then submit(length(3000), length(400)) end
  run(1)
end
while not engine:idle() do run(1) end
for _ = 1, is_busy and 0 or RUNNING do submit(20, LONGEST / 2) end

local count = 0
local function hook() count = count + 1 end
jit.off(hook)

local function play(steps, is_counted)
  for _ = 1, steps do
    while is_busy and engine.stats.running + engine.stats.waiting < RUNNING + WAITING do
      submit(length(3000), length(400))
    end
    if is_counted then debug.sethook(hook, "", 1) end
    run(1)
    debug.sethook()
  end
end

play(WARM_UP)
play(STEPS, true)
assert(engine.stats.failures == 0 and engine.stats.running >= RUNNING - WAITING)
print(math.ceil(count / STEPS))
