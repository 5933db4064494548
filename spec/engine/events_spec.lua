-- What policies hear of requests: on_admit once per admission, however it was planned, and how many of the
-- request's user wait and are here.
local serve = require "spec.support.run_engine"

describe("A policy", function()
  local heard, engine
  local function note(name)
    return function(r)
      heard[#heard + 1] = ("%s %s %d/%d"):format(name, r.id, r.user_waiting, r.user_requests)
    end
  end
  local function policy(fields)
    local p = { victim = "last" }
    for _, name in ipairs { "arrival", "admit", "preempt", "finish" } do p["on_" .. name] = note(name) end
    for name, value in pairs(fields or {}) do p[name] = value end
    return p
  end
  before_each(function() heard = {} end)
  after_each(function() engine:close() end)

  local function submit(id, fields) assert(engine:submit(serve.request(id, fields))) end
  local function run(now) engine:complete(engine:step(now), now) end

  it("hears of arrivals, admissions, preemptions and ends, with its user's requests", function()
    engine = serve.engine(policy(), { kv_tokens = 32, kv_block_size = 4 }, { max_num_seqs = 2 })
    submit("a", { user = "ada", prompt_tokens = 14, max_tokens = 4 })
    submit("b", { user = "ada", prompt_tokens = 12, max_tokens = 9 })
    submit("c", { user = "bob" })
    submit("d", { user = "ada" })
    for now = 1, 4 do run(now) end
    engine:cancel "d"
    assert.are.same({
      "arrival a 0/1", "arrival b 1/2", "arrival c 0/1", "arrival d 2/3",
      "admit a 1/3", "admit b 1/3", "preempt b 2/3", "finish a 2/3", "finish d 1/2",
    }, heard)
  end)

  it("hears of admissions that the built-in policy planned for it", function()
    engine = serve.engine(policy { chunk = function() error "oh" end })
    submit("a")
    run(1)
    assert.are.equal(1, engine.stats.fallbacks)
    assert.are.same({ "arrival a 0/1", "admit a 0/1" }, heard)
  end)

  it("that is set later hears of running requests as admitted, and of none twice", function()
    engine = serve.engine("fcfs", nil, { max_num_seqs = 1 })
    submit("a")
    submit("b")
    run(1)
    engine:set_policy(policy())
    run(2)
    assert.are.same({ "arrival a 1/2", "admit a 1/2", "arrival b 1/2" }, heard)
  end)

  it("hears who is sent back when the states are lost, in the order in which they ran", function()
    engine = serve.engine(policy(), nil, { max_num_seqs = 3 })
    for _, id in ipairs { "a", "b", "c", "d" } do submit(id) end
    run(1)
    heard = {}
    assert.are.same({ "a", "b", "c" }, engine:lose_states())
    assert.are.same({ "preempt a 4/4", "preempt b 4/4", "preempt c 4/4" }, heard)
    run(2)
    assert.are.same({ "admit a 1/4", "admit b 1/4", "admit c 1/4" }, { unpack(heard, 4) })
  end)
end)
