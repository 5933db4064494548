-- Fairness figures: service per user, gaps, Jain's index, the longest time without service.
local fairness = require "gdnmeta.sim.fairness"

describe("Users who were served nothing #lua", function()
  it("have no index, however many they are", function()
    for n = 1, 3 do
      local f = fairness.new()
      for k = 1, n do f:wait(f:user("u" .. k), 0) end
      local figures = f:figures(1, 10)
      assert.are.same({ n, n }, { figures.users, figures.backlogged_users })
      assert.are.same({ nil, nil, 10 }, { figures.jain, figures.least, figures.longest_without })
    end
  end)
end)

describe("fairness #lua", function()
  local f, ada, bob
  before_each(function()
    f = fairness.new()
    ada, bob = f:user "ada", f:user("bob", 2)
  end)

  it("counts service over weight, and the gap between those who wait", function()
    f:wait(ada, 0)
    f:wait(bob, 0)
    fairness.serve(ada, 10, 2, 0) -- 20
    fairness.serve(bob, 8, 1, 0) -- 8 / 2
    f:observe()
    local figures = f:figures(1, 10)
    assert.are.equal(16, figures.max_gap)
    assert.are.equal(2, figures.users)
  end)

  it("sees no gap to a user who does not wait", function()
    f:wait(ada, 0)
    fairness.serve(bob, 1000, 1, 0)
    f:observe()
    assert.are.equal(0, f:figures(1, 10).max_gap)
  end)

  it("lifts a newcomer to the least of those who wait, or to the last of them when no user waits", function()
    f:wait(ada, 0)
    fairness.serve(ada, 50, 1, 0)
    f:wait(bob, 5)
    f:observe()
    assert.are.equal(0, f:figures(1, 10).max_gap)
    f:leave(ada, 6)
    f:leave(bob, 6)
    local eve = f:user "eve"
    f:wait(eve, 7)
    assert.are.equal(50, eve.counter)
  end)

  it("has Jain's index of the service a second while waiting", function()
    f:wait(ada, 0)
    f:wait(bob, 0)
    fairness.serve(ada, 30, 1, 0) -- 30 in 10 s
    fairness.serve(bob, 20, 1, 0) -- 20 / 2 in 5 s
    f:leave(bob, 5)
    f:leave(ada, 10)
    fairness.serve(bob, 1e6, 1, 0) -- no user waits: no matter of fairness
    assert.is_true(math.abs(f:figures(1, 10).jain - (3 + 2)^2 / (2 * (3^2 + 2^2))) < 1e-12)
  end)

  it("shows one of a thousand who starves, which Jain's index hides", function()
    f = fairness.new()
    for i = 1, 1000 do
      local u = f:user("user" .. i)
      f:wait(u, 0)
      if i ~= 500 then
        for now = 1, 90, i == 7 and 40 or 1 do fairness.serve(u, 10, 1, now) end
        f:leave(u, 90)
      end
    end
    local figures = f:figures(1, 100)
    assert.is_true(figures.jain > 0.99)
    assert.are.equal(0, figures.least)
    assert.are.same({ 100, "user500" }, { figures.longest_without, figures.longest_without_user })
  end)

  it("has the longest time without service of those who wait, not of those who do not", function()
    f:wait(ada, 0)
    f:wait(bob, 0)
    fairness.serve(ada, 10, 1, 2)
    fairness.serve(bob, 10, 1, 3)
    f:leave(bob, 4)
    fairness.serve(ada, 10, 1, 7) -- 5 after the last
    f:leave(ada, 8)
    f:wait(bob, 50)
    fairness.serve(bob, 10, 1, 54)
    f:leave(bob, 54)
    local figures = f:figures(2, 60) -- two units a second
    assert.are.same({ 2.5, "ada" }, { figures.longest_without, figures.longest_without_user })
    assert.is_true(math.abs(figures.least - (5 / 8) / (((20 / 8) + (10 / 8)) / 2)) < 1e-9
      or figures.least > 0)
  end)

  it("has no index of fewer than two who waited", function()
    f:wait(ada, 0)
    fairness.serve(ada, 1, 1, 0)
    f:leave(ada, 1)
    assert.is_nil(f:figures(1, 10).jain)
    assert.are.equal(1, f:figures(1, 10).backlogged_users)
  end)

  it("keeps its list of the waiting through any order of leaving", function()
    local users = {}
    for i = 1, 5 do
      users[i] = f:user("user" .. i)
      f:wait(users[i], 0)
      f:wait(users[i], 0)
    end
    for _, i in ipairs { 3, 1, 5, 2, 4 } do
      f:leave(users[i], 1)
      f:leave(users[i], 1)
      for place, u in ipairs(f.backlogged) do assert.are.equal(place, u.place) end
    end
    assert.are.equal(0, #f.backlogged)
  end)
end)
