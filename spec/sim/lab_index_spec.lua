-- The lab and the core's index agree: what a prompt finds, of attention and of states.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local Index = require "gdnmeta.engine.prefix.index"

local BLOCKS, SLOT = 4096, ffi.new("int32_t[1]", 1)

-- Cached tokens of each prompt, by the index; states at the junction and at the last full block, none goes.
local function by_index(requests)
  local size, ids, cached = requests.block_size, ffi.new("int64_t[" .. BLOCKS .. "]"), {}
  local room = { num_groups = 1, block_size = size, max_nodes = 60000, max_blocks = 400000 }
  local index = assert(Index.new(room))
  for i, r in ipairs(requests) do
    local n = #r.blocks
    for k = 1, n do ids[k - 1] = r.blocks[k] end
    index:advance(i)
    local hit = index:match(ids, n, r.prompt - 1)
    local state, junction = hit.state_hit, hit.kv_hit
    cached[i] = state * size
    if junction > state and junction < n then index:publish(ids, junction, nil, SLOT) end
    if n > state then index:publish(ids, n, nil, SLOT) end
  end
  index:close()
  return cached
end

describe("The lab and the index #lua", function()
  for _, kind in ipairs { "conversation", "synthetic", "agents" } do
    it("agree on every hit of made-up sessions: " .. kind, function()
      for seed = 1, 3 do
        local requests = gdn.sim.dialogues.generate { kind = kind, seed = seed,
          sessions = kind == "agents" and 6 or 150 }
        local run = gdn.sim.lab.replay(requests, gdn.cache "fork_and_last", { slots = 50000 })
        for i, cached in ipairs(by_index(requests)) do
          assert.are.equal(cached, run.cached[i], ("request %d, seed %d"):format(i, seed))
        end
        assert.is_true(run.hit > 0)
      end
    end)
  end
end)
