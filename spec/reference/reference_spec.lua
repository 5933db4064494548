-- The reference layer under the engine: for every schedule that a policy makes, outputs and final states
-- are those of each request alone, bit for bit.   GDN_SEED=N replays a run
local drivers = require "spec.support.driver"
local layer_play = require "spec.support.layer_play"

setup(layer_play.more_traces)
teardown(layer_play.usual_traces)

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 40)
local run, each_case, any_policy = layer_play.run, layer_play.each_case, layer_play.any_policy

describe("A layer on an engine's metadata #lua", function()
  it("gives every request what it gets alone, whatever a policy schedules", function()
    layer_play.all_right(CASES, { "finished", "preemptions", "rejected_drafts", "padding", "cached" },
      function(c, where) return run(c, where, any_policy()) end)
  end)

  it("does so with two steps in flight", function()
    each_case(CASES, function(c, where)
      c.async = true
      assert(run(c, where, any_policy()))
    end)
  end)

  it("computes in chunks what it computes token by token, to 12 digits", function()
    each_case(CASES, function(c, where)
      layer_play.lengthen(c)
      assert(run(c, where, any_policy(), { form = "chunked", tolerance = 1e-12 }))
    end)
  end)
end)

describe("A layer on metadata in device memory #lua", function()
  local driver
  setup(function() driver = drivers.open(os.getenv "GDN_CUDA_SPECS" or "fake") end)
  teardown(function() driver:close() end)

  it("gives every request what it gets alone", function()
    each_case(math.ceil(CASES / 5), function(c, where)
      c.device = "cuda"
      assert(run(c, where, "decode_first"))
    end)
  end)
end)

for _, rules in ipairs { "vllm-2026-04", "vllm-2026-08" } do
  describe("A layer under " .. rules .. " #lua", function()
    it("gives what a request gets alone up to a first B3, B8 or moved window, and there not", function()
      local kinds = { B3 = 1, B8 = 1, moved = 1, free = 1 }
      layer_play.until_met(2 * CASES, kinds, function(c, where, met)
        if math.random(2) == 1 then c.num_spec = 0 end
        local seen = {}
        local ok, message = run(c, where, any_policy(), layer_play.upstream(rules, seen))
        met[seen.situation or "free"] = met[seen.situation or "free"] + 1
        if not seen.situation then
          assert(ok, message)
        else
          local at = ("%s step %d: "):format(where, seen.step)
          assert.are.equal(at, tostring(message):sub(1, #at), seen.situation)
          assert.matches("alone", message, 1, true)
        end
      end)
    end)
  end)
end
