-- `fair` keeps what virtual token counters promise, for random mixes of users: those who have something
-- waiting are never further apart than U.
local gdn = require "gdnmeta"
local mixes = require "spec.support.mixes"
local serve = require "spec.support.run_engine"

local random = math.random
local function chance(p) return random() < p end
describe("fair", function()
  it("keeps users who wait within U of each other, whatever they and others send", function()
    local preemptions, cancelled, backlogged = 0, 0, 0
    local cases = tonumber(os.getenv "GDN_CASES") and 20 or 100
    for case = 1, cases do
      math.randomseed(case)
      local books, stats = mixes.play(200)
      local bound, figures = books:bound(), books.observer:figures(1, 200)
      assert.is_true(figures.max_gap <= bound, ("case %d: counters %g apart, U = %g"):format(
        case, figures.max_gap, bound))
      assert.is_true(books.apart <= 2 * bound, ("case %d: service %g apart, 2U = %g"):format(
        case, books.apart, 2 * bound))
      preemptions, cancelled = preemptions + stats.preemptions, cancelled + stats.cancelled
      backlogged = backlogged + figures.backlogged_users
    end
    assert.is_true(preemptions > cases and cancelled > 5 * cases and backlogged > cases,
                   ("%d, %d, %d"):format(preemptions, cancelled, backlogged))
  end)

  -- ada has one long answer under way and nothing waiting; bob always has; cid comes back late. What ada was
  -- not given while she waited for nothing is no credit, for her or for cid.
  it("lets no user who comes back starve those who wait, whatever else runs", function()
    local engine = serve.engine("fair", { max_model_len = 10000 }, { max_num_seqs = 3 })
    local served, waiting, next_id = { ada = 0, bob = 0, cid = 0 }, { bob = 0, cid = 0 }, 0
    local user_of = {}
    local function submit(user, output)
      next_id = next_id + 1
      user_of[next_id] = user
      engine:submit { id = next_id, user = user, prompt_tokens = 1, max_tokens = output, arrival = next_id }
    end
    submit("ada", 9000)
    local at_return, U = nil, 2 * 2 * 10 -- output price, two seats, ten tokens
    for now = 1, 3000 do
      while waiting.bob < 3 do submit("bob", 9) waiting.bob = waiting.bob + 1 end
      if now == 1000 then at_return = { bob = served.bob, cid = served.cid } end
      while now >= 1000 and waiting.cid < 3 do submit("cid", 9) waiting.cid = waiting.cid + 1 end
      local step = engine:step(now)
      for _, id in ipairs(step.admitted) do
        local user = user_of[id]
        served[user] = served[user] + 1
        if waiting[user] then waiting[user] = waiting[user] - 1 end
      end
      engine:complete(step, now)
      for row = 0, step.num_rows - 1 do
        local user = user_of[step:id(row)]
        served[user] = served[user] + 2 * step.emitted[row]
      end
      if now > 1000 then
        local bob, cid = served.bob - at_return.bob, served.cid - at_return.cid
        assert.is_true(math.abs(bob - cid) <= 2 * U, ("bob %d, cid %d"):format(bob, cid))
      end
    end
    engine:close()
  end)

  it("begins with empty books where its object is set again, or in another engine", function()
    for _, policy in ipairs { gdn.policy "fair", gdn.policy { order = "fair", name = "mine" } } do
      local engine = serve.engine(policy, nil, { max_num_seqs = 1 })
      for n = 1, 5 do
        engine:submit { id = n, user = "u" .. n, prompt_tokens = 5, max_tokens = 2, arrival = 0 }
      end
      assert(engine:set_policy "fcfs")
      for n = 1, 5 do assert(engine:cancel(n)) end
      assert(engine:set_policy(policy))
      -- ada is served alone; bob comes while nothing of hers waits, and is lifted to where she is.
      engine:submit { id = "ada", user = "ada", prompt_tokens = 40, max_tokens = 30, arrival = 1 }
      local first, admitted = 40, { a = 0, b = 0 }
      for now = 1, first + 60 do
        if now == first then
          for n = 1, 20 do
            for _, user in ipairs { "a", "b" } do
              engine:submit { id = user .. n, user = user == "a" and "ada" or "bob", prompt_tokens = 5,
                              max_tokens = 3, arrival = now }
            end
          end
        end
        local step = assert(engine:step(now))
        if now > first then
          for _, id in ipairs(step.admitted) do
            local user = id:sub(1, 1)
            admitted[user] = admitted[user] + 1
          end
        end
        assert(engine:complete(step, now))
      end
      assert.is_true(math.abs(admitted.a - admitted.b) <= 2, ("%d, %d"):format(admitted.a, admitted.b))
      assert.are.same({}, engine:failures())
      engine:close()
    end
  end)

  it("charges a prompt before it chooses the next of the same step", function()
    local engine = serve.engine("fair", nil, { max_num_seqs = 4 })
    for id = 1, 8 do
      local user = id <= 4 and "ada" or "bob"
      engine:submit { id = id, user = user, prompt_tokens = 3, max_tokens = 9, arrival = id }
    end
    assert.are.same({ 1, 5, 2, 6 }, engine:step(1).admitted)
    engine:close()
  end)

  describe("has", function()
    local policy, ctx
    before_each(function() policy, ctx = gdn.policy "fair", { step = 1 } end)

    local function request(user, fields)
      local r = { user = user, prompt_tokens = 10, cached_prefix = 0, weight = 1, preemptions = 0,
                  user_waiting = 0,
                  user_requests = 1 }
      for name, value in pairs(fields or {}) do r[name] = value end
      return r
    end
    local function counter(user) return policy.key(request(user), ctx) end

    it("prices: a prompt 1 a token that no cache had, an output token 2, over the weight, once", function()
      local r = request("ada", { weight = 4, cached_prefix = 2 })
      policy.on_arrival(r, ctx)
      policy.on_admit(r, ctx)
      assert.are.equal(2, counter "ada")
      policy.on_emit(r, 6, ctx)
      assert.are.equal(5, counter "ada")
      r.preemptions = 1
      policy.on_preempt(r, ctx)
      policy.on_admit(r, ctx)
      assert.are.equal(5, counter "ada")
    end)

    it("no charge left of a plan that was thrown away", function()
      local r = request "ada"
      policy.on_arrival(r, ctx)
      policy.admit(r, ctx)
      assert.are.equal(10, counter "ada")
      ctx.step = 2
      assert.are.equal(0, counter "ada")
      policy.admit(r, ctx)
      policy.on_admit(r, ctx)
      assert.are.equal(10, counter "ada")
    end)

    it("the preempted among the active: a newcomer starts where they are", function()
      local ada, bob = request "ada", request "bob"
      policy.on_arrival(ada, ctx)
      policy.on_admit(ada, ctx) -- 10
      policy.on_arrival(bob, ctx) -- no user is active: 10
      policy.on_admit(bob, ctx)
      policy.on_emit(bob, 100, ctx) -- 220
      policy.on_preempt(ada, ctx) -- no user is active: lifted to bob's, who was last
      assert.are.equal(220, counter "ada")
      policy.on_emit(bob, 100, ctx) -- 420
      policy.on_arrival(request "cid", ctx) -- ada is
      assert.are.equal(220, counter "cid")
    end)

    it("the least counter of many, in whatever order they are served, come and go", function()
      math.randomseed(7)
      local users, level = {}, 0
      for n = 1, 40 do users[n] = { name = "user " .. n, active = false } end
      for _ = 1, 5000 do
        local user = users[random(#users)]
        local r = request(user.name)
        if user.active and chance(0.3) then
          policy.on_admit(r, ctx)
          user.active = false
        elseif not user.active and chance(0.5) then
          local least = math.huge
          for _, other in ipairs(users) do
            if other.active then least = math.min(least, counter(other.name)) end
          end
          local before = counter(user.name)
          policy.on_arrival(r, ctx)
          user.active = true
          if least < math.huge then
            assert.is_true(least >= level)
            level = least
            assert.are.equal(math.max(before, least), counter(user.name))
          end
        else
          policy.on_emit(r, random(50), ctx)
        end
      end
    end)

    it("finite counters that still tell small charges, after any weights that a request may have", function()
      local function serve_once(user, weight)
        local r = request(user, { weight = weight })
        policy.on_arrival(r, ctx)
        policy.on_admit(r, ctx)
        policy.on_emit(r, 1000, ctx)
        policy.on_finish(r, ctx)
      end
      for n = 1, 5000 do
        serve_once("tiny", 1e-6)
        serve_once("huge " .. n % 7, 1e6)
      end
      local r = request("ada", { weight = 1e6 })
      policy.on_arrival(r, ctx)
      local before = counter "ada"
      for _ = 1, 1000 do policy.on_emit(r, 1, ctx) end
      local charged = counter "ada" - before
      assert.is_true(charged > 0.0005 and charged < 0.008, charged) -- 0.002 but for rounding
    end)
  end)

  it("forgets users: 120,000 who come once leave no more memory in use than a thousand", function()
    local engine, id = serve.engine("fair", nil, { max_num_seqs = 16, max_requests = 16 }), 0
    local function visit(users)
      local last = id + users
      while id < last or not engine:idle() do
        while id < last and engine.stats.waiting < 40 do
          id = id + 1
          engine:submit { id = id, user = "user " .. id, prompt_tokens = 1 + id % 3, max_tokens = 1,
                          arrival = id }
        end
        engine:complete(engine:step(id), id)
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    visit(5000)
    local before = visit(5000)
    local grown = visit(110000) - before
    assert.is_true(grown < 100, ("%.0f KB more"):format(grown))
    engine:close()
  end)
end)
