-- luajit spec/support/shapes.lua <policy> <steps> <rates>: steps of ever changing shapes in a process of its
-- own; prints how often LuaJIT threw its machine code away, and how many KB of it there are at the end.
-- Rates, as 0.3,0.9,0.1: chances of an arrival before a step, each for as long as the others.
local gdn = require "gdnmeta"
local util = require "jit.util"

local policy, steps, rates = arg[1], tonumber(arg[2]), {}
for rate in arg[3]:gmatch "[^,]+" do rates[#rates + 1] = tonumber(rate) end

local flushes = 0
jit.attach(function(what)
  if what == "flush" then flushes = flushes + 1 end
end, "trace")

local state = 7
local function draw()
  state = (state * 16807) % 2147483647
  return state / 2147483647
end
local function length(most) return math.ceil(math.exp(draw() * math.log(most))) end

local engine = assert(gdn.engine {
  builder = assert(gdn.builder { device = "cpu", max_num_seqs = 48, max_num_batched_tokens = 4096 }),
  policy = policy, max_model_len = 20000, kv_tokens = 150000, ttft = 5, tpot = 0.1,
})
local id = 0
for now = 1, steps do
  local rate = rates[math.ceil(now * #rates / steps)]
  while draw() < rate and engine.stats.waiting < 100 do
    id = id + 1
    assert(engine:submit { id = id, prompt_tokens = length(10000), max_tokens = length(800), arrival = now,
                           priority = id % 3, user = "user " .. id % 30 })
  end
  engine:complete(assert(engine:step(now)), now)
end
assert(engine.stats.failures == 0 and engine.stats.finished > steps / 50)

local bytes = 0
for trace = 1, 1000 do
  local code = util.tracemc(trace)
  if code then bytes = bytes + #code end
end
print(flushes, math.ceil(bytes / 1024))
