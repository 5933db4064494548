-- Requests that are looked at without effect keep their place: for want of tokens, of a policy's budget, or
-- because it holds them, in queues longer than a step looks at.
local server = require("spec.support.queueing").server

local ALIGN = { max_num_batched_tokens = 2048, mamba_cache_mode = "align", mamba_block_size = 544,
                max_blocks_per_row = 64, num_slots = 300, max_num_seqs = 64, max_requests = 64 }
local NONE = { max_num_batched_tokens = 2048, max_num_seqs = 64, max_requests = 64 }

-- Ids in the order of their admission; requests of one size arrive one after the other.
local function admitted(policy, of_builder, prompt, steps)
  local s, order = server(policy, { max_model_len = 8000 }, of_builder), {}
  for n = 1, 600 do
    s.submit(n, { prompt_tokens = prompt, max_tokens = 40, arrival = n / 1000, user = "u" })
  end
  for _ = 1, steps do
    for _, id in ipairs(s.step().admitted) do order[#order + 1] = id end
  end
  s.close()
  return order
end

local function budget(r_key)
  return { name = "budget", key = r_key, chunk = function(_, want, ctx)
    return math.min(want, math.max(ctx.chunk_multiple, 128) - ctx.prefill_taken)
  end }
end

describe("Requests of one size and one rank", function()
  local POLICIES = { fcfs = "fcfs", priority = "priority", decode_first = "decode_first", fair = "fair",
                     ["a budget by key"] = budget(function(r) return r.arrival end),
                     ["a budget by arrival"] = budget(nil) }
  for name, policy in pairs(POLICIES) do
    it("come in as they arrived, however many wait: " .. name, function()
      for _, case in ipairs { { NONE, 100 }, { NONE, 600 }, { ALIGN, 600 }, { ALIGN, 3000 } } do
        local order = admitted(policy, case[1], case[2], 150)
        assert.is_true(#order > 10)
        for n, id in ipairs(order) do assert.are.equal(n, id, name .. " " .. case[2]) end
      end
    end)
  end
end)

describe("A request that the policy holds", function()
  local HOLDS = {
    admit = function(r) return r.user ~= "a" end,
    chunk = function(r, want) return r.user == "a" and 0 or want end,
  }
  local KINDS = { ["by arrival"] = {}, ["by key"] = { key = function(r) return r.arrival end },
                  ["by user"] = { key = function() return 0 end, group = "user" } }
  for how, hook in pairs(HOLDS) do
    for kind, fields in pairs(KINDS) do
      local policy = { name = "holds", [how] = hook }
      for name, value in pairs(fields) do policy[name] = value end

      it(("by %s holds up no other request, %s: memory"):format(how, kind), function()
        local s = server(policy, { kv_tokens = 640, kv_block_size = 16, max_model_len = 600 },
                         { max_num_seqs = 8, max_num_batched_tokens = 256 })
        s.submit("run", { user = "b", prompt_tokens = 200, max_tokens = 300 })
        s.run(3)
        s.submit("held", { user = "a", prompt_tokens = 500, arrival = 3 })
        s.submit("other", { user = "c", arrival = 4 })
        s.run(3)
        assert.is_true((s.first.other or 99) <= 2, tostring(s.first.other))
        s.engine:close()
      end)

      it(("by %s holds up no other request, %s: tokens and table rows"):format(how, kind), function()
        local s = server(policy, { max_model_len = 8000 }, { max_num_batched_tokens = 2048, num_slots = 200,
          mamba_cache_mode = "align", mamba_block_size = 2048, max_blocks_per_row = 8, max_num_seqs = 2,
          max_requests = 2 })
        s.submit("run", { user = "b", prompt_tokens = 20, max_tokens = 1000 })
        s.step()
        s.submit("held", { user = "a", prompt_tokens = 5000 })
        for n = 1, 40 do s.submit(n, { user = "c", max_tokens = 1 }) end
        s.run(45)
        assert.are.equal(40, s.engine.stats.finished)
        s.engine:close()
      end)
    end
  end

  it("in whole steps, by plan:skip, is never admitted against it", function()
    for _, fills in ipairs { true, false } do
      local s = server(function(view, plan)
        for i in view:waiting() do
          if view:request(i).user == "a" then plan:skip(i) elseif not fills then plan:admit(i) end
        end
        if fills then plan:fill() else for i in view:running() do plan:take(i) end end
      end)
      s.submit("held", { user = "a" })
      s.run(5)
      assert.are.equal("waiting", s.engine:request("held").state)
      assert.are.equal(1, s.engine.stats.held)
      assert.truthy(s.engine:failures()[1].message:find "holds all 1 requests")
      assert.is_nil(s.engine:failures()[2])
      s.submit("other", { user = "b", max_tokens = 2 })
      s.run(3)
      assert.are.equal(1, s.engine.stats.finished)
      s.engine:close()
    end
  end)

  it("in whole steps comes in once it is no longer skipped, also by plan:fill", function()
    local mode = "skip"
    local s = server(function(view, plan)
      if mode == "skip" then for i in view:waiting() do plan:skip(i) end end
      if mode == "fail" then error "no idea" end
      plan:fill()
    end)
    s.submit(1, { max_tokens = 3 })
    s.step()
    mode = "fail"
    s.step()
    assert.are.equal("waiting", s.engine:request(1).state)
    mode = "fill"
    assert.are.same({ 1 }, s.step().admitted)
    s.engine:close()
  end)

  it("in whole steps is said to be: who is neither admitted nor skipped could run", function()
    local s = server(function(view, plan)
      for i in view:waiting() do
        if view:request(i).id == 1 then plan:skip(i) end
      end
    end)
    s.submit(1)
    s.submit(2)
    local step = s.step()
    assert.is_true(step.fallback)
    assert.are.same({ 2 }, step.admitted)
    s.engine:close()
  end)
end)
