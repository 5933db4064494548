-- Small scenes of rules that only random comparison would cover: looks at one request, what a claim counts.
local server = require("spec.support.queueing").server

describe("A request that is held", function()
  it("is looked at once per step, also where a later one of its queue is admitted", function()
    local asked = {}
    local s = server({ name = "holds", key = function(r) return r.arrival end,
                       admit = function(r)
                         asked[r.id] = (asked[r.id] or 0) + 1
                         return r.id ~= "held"
                       end }, nil, { max_num_seqs = 4 })
    s.submit("held", { arrival = 0 })
    for n = 1, 3 do s.submit(n, { arrival = n, max_tokens = 50 }) end
    s.step()
    assert.are.same({ held = 1, 1, 1, 1 }, asked)
    s.step()
    assert.are.equal(2, asked.held)
    s.close()
  end)
end)

describe("Those who leave for a more important request", function()
  it("leave what the step had taken for them, too: no more leave than have to", function()
    local left = 0
    for steps = 1, 16 do
      for need = 1, 14 do
        local s = server("priority", { kv_tokens = 64, kv_block_size = 4, max_model_len = 60 },
                         { max_num_seqs = 8, max_requests = 8 })
        for n = 1, 3 do s.submit(n, { priority = n, prompt_tokens = 8, max_tokens = 30 }) end
        s.run(steps)
        s.submit("vip", { priority = -9, prompt_tokens = 4 * need, max_tokens = 1 })
        local held, free = {}, 16
        for n = 1, 3 do
          held[n] = math.ceil((s.engine:request(n).computed_tokens + 1) / 4) -- with what this step takes
          free = free - held[n]
        end
        local step = s.step()
        local leave = step.preempted
        for n = 1, #leave - 1 do free = free + held[leave[n]] end
        left = left + #leave
        local where = ("%d steps, %d blocks: %d leave"):format(steps, need, #leave)
        assert.is_true(#leave == 0 or need > free, where)
        s.engine:close()
      end
    end
    assert.is_true(left > 20)
  end)
end)

describe("A chunk of less than a block", function()
  it("is asked for again, as of a step that has given nothing, for one request a step", function()
    local asked = {}
    local s = server({ name = "small", chunk = function(r, want, ctx)
      asked[#asked + 1] = r.id .. " " .. ctx.prefill_taken
      if r.id == "a" then return 8 end
      return r.id == "b" and ctx.prefill_taken == 0 and want or 3
    end }, { max_model_len = 60 }, { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 8,
                                     num_slots = 40 })
    for _, id in ipairs { "a", "b", "c" } do s.submit(id, { prompt_tokens = 20 }) end
    assert.are.same({ "a" }, s.step().admitted)
    assert.are.same({ "a 0", "b 8", "b 0", "c 8" }, asked) -- that c would get 3 is not known yet
    assert.are.equal(0, #s.engine:failures())
    s.close()
  end)
end)

describe("A policy of whole steps that has held a request", function()
  it("holds it still in a step of which it says nothing, and has not failed", function()
    local s = server(function(view, plan)
      if view.step > 2 then return plan:fill() end
      for i in view:waiting() do
        if view.step == 1 then plan:skip(i) end
      end
    end)
    s.submit("held")
    for _ = 1, 2 do
      local step = s.step()
      assert.are.same({ 0, false }, { step.num_rows, step.fallback })
    end
    assert.are.same({ 1, false }, { s.step().num_rows, s.engine.stats.fallbacks > 0 })
    s.close()
  end)
end)
