-- A server that is fair between tenants: acme sends forty requests at once, bob four just after.
--   luajit examples/tenants.lua
local gdn = require "gdnmeta"

local STEP = 0.05 -- seconds that a step takes; a model would run here

local function submit(engine, user, n)
  for i = 1, n do
    assert(engine:submit { id = user .. i, prompt_tokens = 100, max_tokens = 20, user = user, arrival = 0 })
  end
end

--- When the last answer of each tenant was complete, in seconds.
local function serve(policy)
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 256 })
  local engine = assert(gdn.engine { builder = builder, policy = policy })
  submit(engine, "acme", 40)
  submit(engine, "bob", 4)
  local now, last = 0, {}
  repeat
    local step = assert(engine:step(now))
    now = now + STEP -- step.metadata is what the model's kernels read
    engine:complete(step, now)
    for _, id in ipairs(step.finished) do last[id:match "%a+"] = now end
  until engine:idle()
  return last
end

for _, policy in ipairs { "fcfs", "fair" } do
  local last = serve(policy)
  print(("%-5s bob has all answers after %5.2f s, acme after %5.2f s"):format(policy, last.bob, last.acme))
end
