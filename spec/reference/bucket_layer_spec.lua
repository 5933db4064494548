-- The reference layer over buckets, as a captured graph runs it: every request gets what it gets alone, bit
-- for bit, while padding tokens are NaN and the null slot is poisoned.   GDN_SEED=N replays a run
local corruptions = require "spec.support.wrong_elements"
local layer_play = require "spec.support.layer_play"
local play = require "spec.support.random_traffic"
local wrong_element = require "spec.support.wrong_element"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 40)
local run, each_case, any_policy = layer_play.run, layer_play.each_case, layer_play.any_policy

setup(function() jit.opt.start("maxtrace=20000", "maxmcode=32768") end)
teardown(function()
  jit.opt.start("maxtrace=1000", "maxmcode=512")
  jit.flush()
end)

describe("A layer over buckets #lua", function()
  it("gives every request what it gets alone, whatever a policy schedules", function()
    local sums = { finished = 0, preemptions = 0, rejected_drafts = 0, padding = 0, cached = 0 }
    each_case(CASES, function(c, where)
      play.in_buckets(c)
      local ok, message, stats = run(c, where, any_policy())
      assert(ok, message)
      for name, sum in pairs(sums) do sums[name] = sum + stats[name] end
    end)
    for name, sum in pairs(sums) do assert.is_true(sum > 0 or CASES < 20, name) end
  end)

  it("does so with two steps in flight, and in chunks to 12 digits", function()
    each_case(math.ceil(CASES / 2), function(c, where)
      play.in_buckets(c)
      c.async = true
      assert(run(c, where, any_policy()))
    end)
    each_case(math.ceil(CASES / 2), function(c, where)
      play.in_buckets(c)
      layer_play.lengthen(c)
      assert(run(c, where, any_policy(), { form = "chunked", tolerance = 1e-12 }))
    end)
  end)

  it("serves 1,000 steps of every mix through one bucket", function()
    local steps, kinds, seed = 0, {}, layer_play.first_seed()
    while steps < 1000 do
      math.randomseed(seed)
      local c = { align = false, num_spec = 3, num_groups = 2, seqs = 6, block = 16, threshold = 0,
                  max_model_len = 160, budget = 90, num_slots = 60, full_cuda_graph = "mixed", kv_block = 1,
                  kv_watermark = 0,
                  buckets = { { rows = 8, tokens = 96 } } }
      local addresses = {}
      local ok, message, stats = run(c, ("GDN_SEED=%d"):format(seed), any_policy(), function(_, engine)
        return { requests = play.requests(c, 40), metadata = function(step)
          kinds[step.branches] = true
          assert(step.graph == "full" and step.padded_rows == 8 and step.padded_tokens == 96)
          for _, name in ipairs { "chunk_indices", "spec_token_indx", "prefill_state_indices",
                                  "token_class" } do
            local view = step.metadata[name]
            local address = tostring(view.data)
            assert(addresses[name] == nil or addresses[name] == address, name)
            addresses[name] = address
          end
          steps = steps + (engine and 1)
          return step.metadata
        end }
      end)
      assert(ok, message)
      assert(stats.steps > 0)
      seed = seed + 1
    end
    for _, kind in ipairs { "speculative", "prefill", "speculative+decode", "speculative+prefill",
                            "decode+prefill",
                            "speculative+decode+prefill" } do
      assert.is_true(kinds[kind] or false, kind)
    end
  end)
end)

-- Traffic in which a wrong element cannot be forgiven: no request is evicted or cancelled, no two texts are
-- alike.
local function unforgiving(align)
  local c = { align = align, num_spec = 2, num_groups = 2, seqs = 6, block = align and 8 or 16, threshold = 0,
              max_model_len = 120, budget = 90, num_slots = 60, full_cuda_graph = "mixed", kv_block = 1,
              kv_watermark = 0, buckets = { { rows = 9, tokens = 100 } } }
  local requests = play.requests(c, 14)
  for n, request in ipairs(requests) do request.family = n end
  return c, requests
end

local function try(entry, times, body)
  local seed, done = layer_play.first_seed(), 0
  for attempt = seed, seed + 40 * times do
    math.randomseed(attempt)
    local c, requests = unforgiving(attempt % 2 == 0)
    local where, record = ("GDN_SEED=%d"):format(attempt), nil
    local policy = layer_play.SHIPPED[attempt % #layer_play.SHIPPED + 1]
    local ok, message = layer_play.run(c, where, policy, function(_, engine)
      local corrupt
      corrupt, record = wrong_element.once(engine, entry, math.random(6))
      return { requests = requests, cancel = 0, checkpoints = false, corrupt = corrupt }
    end)
    if record.done then
      body(ok, message, ("%s %s"):format(where, record.what))
      done = done + 1
      if done == times then return end
    else
      assert(ok, message)
    end
  end
  error(("%s was wrong %d times only"):format(entry[1], done))
end

describe("A wrong element of a bucket #lua", function()
  for n, entry in ipairs(corruptions.SEEN_BUCKET) do
    it(("shows: %s, %d"):format(entry[1], n), function()
      try(entry, 3, function(ok, message, what)
        assert.is_false(ok, what)
        assert(message:find("alone", 1, true) or message:find("want", 1, true), what .. ": " .. message)
      end)
    end)
  end

  for _, entry in ipairs(corruptions.UNSEEN_BUCKET) do
    it(("does not show: %s, for %s"):format(entry[1], entry.why), function()
      try(entry, 3, function(ok, message, what) assert.is_true(ok, what .. ": " .. tostring(message)) end)
    end)
  end
end)
