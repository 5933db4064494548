-- Requests that the policy holds: skipped, never admitted against it, and never without a word.
local server = require("spec.support.queueing").server

local MANY = { max_num_seqs = 8, max_requests = 8, max_num_batched_tokens = 256 }

-- Policies that hold tenant "a", by admit or by chunk, in every kind of queue.
local function holding(how, kind)
  local policy = { name = "holds" }
  if how == "admit" then
    policy.admit = function(r) return r.user ~= "a" end
  else
    policy.chunk = function(r, want) return r.user == "a" and 0 or want end
  end
  for name, value in pairs(kind) do policy[name] = value end
  return policy
end

local KINDS = {
  ["by arrival"] = {}, ["by a key"] = { key = function(r) return r.arrival end },
  ["by a static key"] = { key = function(r) return r.arrival end, static = true },
  ["by user"] = { key = function() return 0 end, group = "user" },
  ["by class"] = { key = function() return 0 end, group = "class" },
}

describe("Requests that a policy holds", function()
  for kind, fields in pairs(KINDS) do
    for how, per_step in pairs { admit = 64, chunk = 16 } do
      it(("by %s are skipped, %s: the others come in"):format(how, kind), function()
        for _, held in ipairs { 1, 129, 500 } do
          for _, busy in ipairs { false, true } do
            local s = server(holding(how, fields), nil, MANY)
            if busy then
              s.submit("busy", { user = "b", max_tokens = 1000 })
              s.step()
            end
            for n = 1, held do s.submit(n, { user = "a", arrival = n / 1000 }) end
            s.submit("other", { user = "c", arrival = 2, max_tokens = 2 })
            s.run(math.ceil(held / per_step) + 2)
            assert.truthy(s.first.other, ("%d held, %s"):format(held, tostring(busy)))
            assert.are.equal(held, s.engine.stats.waiting)
            s.engine:close()
          end
        end
      end)
    end
  end

  it("come in when the policy lets them, the first of them first", function()
    for _, fields in pairs(KINDS) do
      local open = false
      local policy = holding("admit", fields)
      policy.admit = function() return open end
      local s = server(policy, nil, MANY)
      for n = 1, 40 do s.submit(n, { user = "a", arrival = n }) end
      s.run(2)
      open = true
      assert.are.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, s.step().admitted)
      assert.are.equal(0, s.engine.stats.held)
      s.engine:close()
    end
  end)

  it("can be cancelled, and submitted again, while they are kept apart", function()
    for _, fields in pairs(KINDS) do
      local s = server(holding("admit", fields), nil, MANY)
      for n = 1, 300 do s.submit(n, { user = "a" }) end
      for n = 1, 300 do
        s.step()
        assert.is_true(s.engine:cancel(n))
        if n % 3 == 0 then s.submit(n, { user = "c", max_tokens = 1 }) end
      end
      s.run(40)
      assert.is_true(s.engine:idle())
      s.engine:close()
    end
  end)

  it("are asked about 128 times a step at most", function()
    for _, fields in pairs(KINDS) do
      local asked = 0
      local policy = holding("admit", fields)
      policy.admit = function()
        asked = asked + 1
        return false
      end
      local s = server(policy, nil, MANY)
      for n = 1, 1000 do s.submit(n, { user = n % 7, class = n % 3 }) end
      for _ = 1, 20 do
        asked = 0
        s.step()
        assert.is_true(asked <= 128 and asked >= 64, asked .. " times")
      end
      s.engine:close()
    end
  end)

  it("or rejects are 128 in a step, or 32 whose chunk is 0", function()
    for _, fields in pairs(KINDS) do
      for how, most in pairs { hold = 128, reject = 128, chunk = 32 } do
        local asked = 0
        local policy = holding(how == "chunk" and "chunk" or "admit", fields)
        policy[how == "chunk" and "chunk" or "admit"] = function()
          asked = asked + 1
          if how == "chunk" then return 0 end
          if how == "hold" then return false end
          return nil, "no"
        end
        local s = server(policy, nil, MANY)
        for n = 1, 300 do s.submit(n, { user = n % 7, class = n % 3 }) end
        local rejected = s.step().rejected
        assert.are.same({ most, how == "reject" and most or 0 }, { asked, #rejected }, how)
        s.close()
      end
    end
  end)

  it("are never admitted against it, also where it fails, until it is off", function()
    local broken = false
    local s = server({ name = "holds", admit = function(r) return r.user ~= "a" end, chunk = function(_, want)
      if broken then error "no idea" end
      return want
    end }, nil, MANY)
    s.submit("held", { user = "a" })
    s.submit("free", { user = "b", prompt_tokens = 600 })
    s.step()
    broken = true
    for _ = 1, 3 do
      assert.is_true(s.step().fallback)
      assert.are.equal("waiting", s.engine:request("held").state)
    end
    assert.is_false(s.engine.policy_enabled)
    s.step()
    assert.are.equal("running", s.engine:request("held").state)
    s.engine:close()
  end)

  it("in its last whole step wait where it fails, and those of earlier steps do not", function()
    for _, last in ipairs { 1, 2 } do
      local skips, broken = true, false
      local s = server({ name = "whole", step = function(view, plan)
        if broken then error "no idea" end
        for i in view:running() do plan:take(i) end
        for i in view:waiting() do
          if view:request(i).user == "b" then plan:admit(i) elseif skips then plan:skip(i) end
        end
      end }, nil, MANY)
      s.submit("held", { user = "a" })
      s.submit("free", { user = "b", prompt_tokens = 600 })
      s.step()
      skips = last == 2
      s.step()
      broken = true
      assert.is_true(s.step().fallback)
      assert.are.equal(last == 2 and "waiting" or "running", s.engine:request("held").state)
      s.engine:close()
    end
  end)

  it("are counted, and once nothing else runs a failure says so, once", function()
    local open = false
    local s = server({ name = "stingy", admit = function() return open end }, { on_policy_error = "raise" },
                     MANY)
    for n = 1, 5 do s.submit(n) end
    for n = 1, 10 do
      local step = s.step()
      assert.are.same({ 0, false, 5 }, { step.num_rows, step.fallback, s.engine.stats.held })
      assert.are.equal(n >= 3 and 1 or 0, #s.engine:failures())
    end
    assert.are.equal("I24, progress: nothing is scheduled in 3 steps, the policy holds all 5 requests "
                     .. "that it was asked about", s.engine:failures()[1].message)
    assert.is_true(s.engine.policy_enabled)
    open = true
    assert.are.equal(5, s.step().num_rows)
    s.engine:close()
  end)
end)
