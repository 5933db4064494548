-- Every figure of a run with a state cache, small ones and large, with preemptions, a host tier, answers and
-- requests without identity, against spec/goldens/texts.
local noted = require "spec.support.noted"
local sim = require("gdnmeta").sim
local workload = require "gdnmeta.sim.workload"

local notes = noted.new "sim-"

local function requests_of(n, seed)
  local random, requests = workload.random(seed), { block_size = 16 }
  local lists = {}
  for i = 1, n do
    local from, list = lists[1 + math.floor(random() * i)] or {}, {}
    for k = 1, #from do list[k] = from[k] end
    for k = #list + 1, math.min(#list + 1 + math.floor(random() * 3), 9) do list[k] = 100 * i + k end
    lists[i] = list
    requests[i] = { arrival = i / 10, prompt = 16 * #list + 1 + math.floor(random() * 15),
                    output = 1 + math.floor(random() * 30), session = i % 3, class = "c" .. i % 2,
                    blocks = random() < 0.9 and list or nil }
  end
  return requests
end

local function run(requests, options)
  local o = { requests = requests, preset = "constant-20ms", measure = false, num_groups = 1, kv_headroom = 0,
              max_num_seqs = 4, max_num_batched_tokens = 64, cache = "fork_and_last" }
  for name, value in pairs(options) do o[name] = value end
  return assert(sim.run(o))
end

describe("Figures of a run with a state cache #lua", function()
  before_each(notes.clear)

  it("are these", function()
    for _, n in ipairs { 1, 2, 40 } do
      for _, o in ipairs { {}, { cache_slots = 2, kv_tokens = 320, max_num_seqs = 6 },
                           { cache_slots = 1, host_slots = 6, max_num_seqs = 3,
                             preset = "h100-qwen3.6-27b-fp8" },
                           { cache_replies = n > 2, cache_slots = 20, kv_tokens = 400 },
                           { async = true, cache_slots = 3 } } do
        local r = run(requests_of(n, n), o)
        local c = r.cache
        local tokens = {}
        assert.is_nil(r.per_request.cached[0])
        for i, cached in ipairs(r.per_request.cached) do tokens[i] = tostring(cached) end
        notes.note(n, o, c, r.conservation.cached, r.preemptions, table.concat(tokens, " "))
        if n == 40 and o.kv_tokens == 320 then assert.is_true(r.preemptions > 0 and c.resumed_tokens > 0) end
      end
    end
    notes.check "cache-figures"
  end)
end)
