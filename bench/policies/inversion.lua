-- Unimportant requests hold every table row, or all of the attention cache, and an important one comes.
local steps = require "bench.steps"

local function wait(options, of_builder)
  options.policy = "priority"
  local server = steps.new(options, of_builder)
  for n = 1, 2 do server:submit("low" .. n, 100, 200, { priority = 5 }) end
  for _ = 1, 10 do server:step() end
  server:submit("high", 100, 10, { priority = -100 })
  local waited = server:wait_for("high", 1000)
  local evicted = server.engine.stats.preemptions
  server:close()
  return waited, evicted
end

-- Evictions of one request by ever more important ones, each of which would need its table row.
local function most_evictions()
  local server = steps.new({ policy = "priority" }, { max_num_seqs = 1, max_requests = 1 })
  server:submit("low", 10, 50, { priority = 0 })
  server:step()
  local most = 0
  for n = 1, 300 do
    server:submit(n, 10, 3, { priority = -n })
    for _ = 1, 2 do server:step() end
    local low = server.engine:request "low"
    most = math.max(most, low and low.preemptions or 0)
  end
  server:close()
  return most
end

return {
  about = "an important request where less important ones hold the table rows or the attention cache",
  light = true,
  run = function(s)
    local waited, evicted = wait({}, { max_num_seqs = 2, max_requests = 2 })
    s:report("seats_steps", waited, "<=", 3)
    s:report("seats_evicted", evicted, "<=", 1)
    s:report("cache_steps", wait({ kv_tokens = 608, kv_block_size = 16 }), "<=", 3)
    s:report("evictions_of_one", most_evictions(), "<=", 3)
  end,
}
