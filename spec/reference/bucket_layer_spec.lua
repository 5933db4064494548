-- The reference layer over buckets, as a captured graph runs it: every request gets what it gets alone, bit
-- for bit, while padding tokens are NaN and the null slot is poisoned.   GDN_SEED=N replays a run
local corruptions = require "spec.support.wrong_elements"
local layer_play = require "spec.support.layer_play"
local play = require "spec.support.random_traffic"
local until_met = require "spec.support.until_met"
local wrong_element = require "spec.support.wrong_element"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 40)
local run, each_case, any_policy = layer_play.run, layer_play.each_case, layer_play.any_policy

setup(layer_play.more_traces)
teardown(layer_play.usual_traces)

describe("A layer over buckets #lua", function()
  it("gives every request what it gets alone, whatever a policy schedules", function()
    layer_play.all_right(CASES, { "finished", "preemptions", "rejected_drafts", "padding", "cached" },
      function(c, where)
        play.in_buckets(c)
        return run(c, where, any_policy())
      end)
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
    local wanted = { steps = 1000 }
    for _, kind in ipairs { "speculative", "prefill", "speculative+decode", "speculative+prefill",
                            "decode+prefill", "speculative+decode+prefill" } do wanted[kind] = 1 end
    -- The step's metadata, if it has the bucket's sizes and lies where it lay.
    local function of_the_bucket(addresses, met)
      return function(step)
        assert.are.same({ "full", 8, 96 }, { step.graph, step.padded_rows, step.padded_tokens })
        for _, name in ipairs { "chunk_indices", "spec_token_indx", "prefill_state_indices" } do
          local address = tostring(step.metadata[name].data)
          addresses[name] = addresses[name] or address
          assert.are.equal(addresses[name], address, name)
        end
        met.steps, met[step.branches] = met.steps + 1, (met[step.branches] or 0) + 1
        return step.metadata
      end
    end
    until_met(layer_play.first_seed(), 1, wanted, function(seed, met)
      math.randomseed(seed)
      local c = { align = false, num_spec = 3, num_groups = 2, seqs = 6, block = 16, threshold = 0,
                  max_model_len = 160, budget = 90, num_slots = 60, full_cuda_graph = "mixed", kv_block = 1,
                  kv_watermark = 0, buckets = { { rows = 8, tokens = 96 } } }
      assert(run(c, ("GDN_SEED=%d"):format(seed), any_policy(),
                 { requests = play.requests(c, 40), metadata = of_the_bucket({}, met) }))
    end)
  end)
end)

local BUCKET = { full_cuda_graph = "mixed", num_spec = 2, buckets = { { rows = 9, tokens = 100 } } }

describe("A wrong element of a bucket #lua", function()
  for n, entry in ipairs(corruptions.SEEN_BUCKET) do
    it(("shows: %s, %d"):format(entry[1], n), function()
      wrong_element.try(entry, 3, BUCKET, wrong_element.assert_shown)
    end)
  end

  for _, entry in ipairs(corruptions.UNSEEN_BUCKET) do
    it(("does not show: %s, for %s"):format(entry[1], entry.why), function()
      wrong_element.try(entry, 3, BUCKET, wrong_element.assert_unseen)
    end)
  end
end)
