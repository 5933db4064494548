-- Runs an engine in made-up time: a step takes a second. For specs about what a policy does.
local gdn = require "gdnmeta"

local M = {}

--- A builder for engines of four requests.
function M.builder(options)
  local b = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64, max_requests = 8 }
  for name, value in pairs(options or {}) do b[name] = value end
  return assert(gdn.builder(b))
end

--- An engine on a builder of its own. builder, engine: options that replace the defaults. Admissions leave
--- no attention cache to answers, so that a small one makes requests leave.
function M.engine(policy, engine, builder)
  local e = { policy = policy, max_model_len = 4096, kv_headroom = 0 }
  for name, value in pairs(engine or {}) do e[name] = value end
  e.builder = M.builder(builder)
  return assert(gdn.engine(e))
end

--- An engine with a state cache of blocks of 4 tokens.
function M.caching_engine(engine, builder)
  local e = { hash_block_size = 4, max_model_len = 200 }
  for name, value in pairs(engine or {}) do e[name] = value end
  local b = { max_blocks_per_row = 2, num_slots = 12 }
  for name, value in pairs(builder or {}) do b[name] = value end
  return M.engine("fcfs", e, b)
end

--- A request of 10 tokens that says 4, at time 0. fields: what replaces that.
function M.request(id, fields)
  local r = { id = id, prompt_tokens = 10, max_tokens = 4, arrival = 0 }
  for name, value in pairs(fields or {}) do r[name] = value end
  return r
end

--- The same that says 2, unless fields say otherwise.
function M.short_request(id, fields)
  local r = M.request(id, fields)
  r.max_tokens = fields.max_tokens or 2
  return r
end

--- Steps until nothing is left, `feed(now)` before each. When each request was admitted and finished, by
--- id, and the number of steps.
function M.run(engine, feed)
  local seen, now = { admitted = {}, finished = {}, steps = 0 }, 0
  while true do
    if feed then feed(now) end
    if engine:idle() then break end
    local step = assert(engine:step(now))
    for _, id in ipairs(step.admitted) do seen.admitted[id] = seen.admitted[id] or now end
    now = now + 1
    engine:complete(step, now)
    for _, id in ipairs(step.finished) do seen.finished[id] = now end
    seen.steps = seen.steps + 1
    if now > 1e5 then error "does not come to an end" end
  end
  assert(#engine:failures() == 0, engine:failures()[1] and engine:failures()[1].traceback)
  return seen
end

--- Serve requests one at a time. Their ids in the order in which they were admitted, and the run.
function M.one_by_one(policy, requests)
  local order = {}
  local engine = M.engine(policy, nil, { max_num_seqs = 1, max_num_batched_tokens = 64 })
  for _, request in ipairs(requests) do assert(engine:submit(request)) end
  local seen = M.run(engine)
  for id in pairs(seen.admitted) do order[#order + 1] = id end
  table.sort(order, function(a, b) return seen.admitted[a] < seen.admitted[b] end)
  engine:close()
  return order, seen
end

return M
