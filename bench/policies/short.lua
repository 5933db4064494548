-- A prompt of 600,000 tokens runs, and one of 100 comes that goes first by the policy's own key: how many
-- steps until its first token.
local steps = require "bench.steps"

-- What the long one is, and the short one.
local FIELDS = {
  { "priority", {}, { priority = -1 } }, { "fair", { user = "ada" }, { user = "bob" } },
  { "shortest_prefill", {}, {} }, { "deadline", { ttft = 1e6 }, { ttft = 10 } }, { "decode_first", {}, {} },
}

return {
  about = "a short prompt that goes first by the policy's key, after a long one that runs",
  light = true,
  run = function(s)
    for _, case in ipairs(FIELDS) do
      local policy, long, short = unpack(case)
      local server = steps.new { policy = policy }
      server:submit("long", 600000, 10, long)
      for _ = 1, 5 do server:step() end
      server:submit("short", 100, 10, short)
      s:report(policy .. "_steps", server:wait_for("short", 2000), "<=", 2)
      server:close()
    end
  end,
}
