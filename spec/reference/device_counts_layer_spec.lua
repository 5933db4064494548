-- The accepted counts lie on the device, and two steps are in flight: each request equals itself alone, bit
-- for bit, where it moves on from a state that others keep, and where it begins with one that somebody else
-- left, of which the device has no count.
local device_counts = require "spec.support.device_counts"
local drivers = require "spec.support.driver"
local layer_play = require "spec.support.layer_play"
local play = require "spec.support.random_traffic"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 100)
local random = math.random

describe("A layer whose accepted counts lie on the device #lua", function()
  local driver
  setup(function() driver = drivers.open(os.getenv "GDN_CUDA_SPECS" or "fake") end)
  after_each(function() driver:free_all() end)
  teardown(function() driver:close() end)

  local function run(c, where)
    local n = 2 * c.seqs
    c.device, c.async, c.accepted = "cuda", true, device_counts.memory(driver, n, c.num_spec)
    local engine = play.engine(c, layer_play.any_policy())
    local kernel = device_counts.new(engine, c.max_model_len + c.num_spec, driver, c.accepted, n,
                                     play.accepts)
    local books = play.run(c, { engine = engine, where = where, kernel = kernel, forks = c.forks and 0.3,
                                requests = play.requests(c, random(1, 20)),
                                cancel = random(2) == 1 and 0.05 or 0,
                                on_complete = function(step) kernel.complete = step.number end })
    local stats = engine.stats
    engine:close()
    engine.builder:close()
    driver:free_all()
    return books.branches, stats
  end

  local function plays(wanted, change)
    layer_play.until_met(CASES, wanted, function(c, where, met)
      if random(3) == 1 then play.in_buckets(c) end
      change(c)
      local branches, stats = run(c, where)
      for name in pairs(wanted) do met[name] = met[name] + (branches[name] or stats[name]) end
    end)
  end

  it("gives each request what it gives it alone, and each fork", function()
    plays({ forks = CASES / 8, exports = 1 }, function(c)
      c.forks, c.num_slots = true, c.num_slots + random(0, 12)
    end)
  end)

  it("does so with a state cache", function()
    plays({ hits = CASES / 4 }, function(c)
      if c.align then c.kv_block = c.block end
      c.hash_block, c.num_slots = c.kv_block * random(c.align and 2 or 4), c.num_slots + random(4, 12)
      if c.kv_tokens then c.kv_tokens = c.kv_tokens + 2 * c.kv_block end
    end)
  end)
end)
