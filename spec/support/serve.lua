-- Runs an engine in made-up time: a step takes a second. For specs about what a policy does.
local gdn = require "gdnmeta"

local M = {}

--- An engine on a builder of its own. builder, engine: options that replace the defaults.
function M.engine(policy, engine, builder)
  local b = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64, max_requests = 8 }
  for name, value in pairs(builder or {}) do b[name] = value end
  local e = { policy = policy, max_model_len = 4096 }
  for name, value in pairs(engine or {}) do e[name] = value end
  e.builder = assert(gdn.builder(b))
  return assert(gdn.engine(e))
end

--- Steps until nothing is left, `feed(now, engine)` before each. When each request was admitted, had its
--- first token and was finished, by id; tokens emitted by id.
function M.run(engine, feed, last)
  local seen = { admitted = {}, first = {}, finished = {}, emitted = {}, steps = 0 }
  local now = 0
  while true do
    if feed then feed(now, engine) end
    if engine:idle() and now >= (last or 0) then break end
    local step = assert(engine:step(now))
    for _, id in ipairs(step.admitted) do seen.admitted[id] = seen.admitted[id] or now end
    now = now + 1
    engine:complete(step, nil, now)
    for row = 0, step.num_rows - 1 do
      local id = step:id(row)
      if step.emitted[row] > 0 then seen.first[id] = seen.first[id] or now end
      seen.emitted[id] = (seen.emitted[id] or 0) + step.emitted[row]
    end
    for _, id in ipairs(step.finished) do seen.finished[id] = now end
    seen.steps = seen.steps + 1
    if now > 1e5 then error "does not come to an end" end
    if last and now > last and not feed then break end
  end
  assert(#engine:failures() == 0, engine:failures()[1] and engine:failures()[1].traceback)
  return seen
end

return M
