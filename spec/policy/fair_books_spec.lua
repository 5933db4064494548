-- The books of `fair`, user by user, as thousands come, are served, and leave: against
-- spec/goldens/texts/fair-books.txt. Its hooks are called as an engine does, without one.
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local texts = require "spec.support.step_texts"

local random = math.random

-- Requests of one user at a time in each state: what an engine would count.
local function books(users, busiest)
  local policy, ctx = gdn.policy "fair", { step = 0 }
  local waiting, running, here = {}, {}, {}
  local self = { policy = policy }
  local function view(user, preemptions)
    return { user = user, user_waiting = waiting[user] or 0, user_requests = here[user] or 0,
             preemptions = preemptions,
             prompt_tokens = 1 + user % 7, cached_prefix = user % 2, weight = user % 3 == 0 and 2 or 1 }
  end
  local function add(counts, user, n)
    local sum = (counts[user] or 0) + n
    counts[user] = sum > 0 and sum or nil
  end
  function self.counter(user) return policy.key(view(user, 0), ctx) end
  local acts = {
    function(user)
      add(waiting, user, 1)
      add(here, user, 1)
      policy.on_arrival(view(user, 0), ctx)
    end,
    function(user) -- planned, and most of the time admitted
      if not waiting[user] then return end
      local preemptions = random(4) == 1 and 1 or 0
      policy.admit(view(user, preemptions), ctx)
      if random(4) == 1 then return end
      add(waiting, user, -1)
      add(running, user, 1)
      policy.on_admit(view(user, preemptions), ctx)
    end,
    function(user)
      if running[user] then policy.on_emit(view(user, 0), random(3), ctx) end
    end,
    function(user)
      if not running[user] or random(5) > 1 then return end
      add(running, user, -1)
      add(waiting, user, 1)
      policy.on_preempt(view(user, 1), ctx)
    end,
    function(user) -- finished, or cancelled while it waits
      local from = running[user] and running or waiting[user] and waiting
      if not from then return end
      add(from, user, -1)
      policy.on_finish(view(user, 0), ctx)
      add(here, user, -1)
    end,
  }
  function self.act()
    if random(3) == 1 then ctx.step = ctx.step + 1 end
    acts[random(#acts)](random(busiest()) % users)
  end
  return self
end

describe("The books of fair #lua", function()
  it("are what they were, for few users and for more than it remembers", function()
    local lines = {}
    for _, users in ipairs { 1, 2, 3, 7, 40, 3000 } do
      math.randomseed(users)
      local from = 1
      local b = books(users, function() return from + math.min(users, 200) end)
      for round = 1, users > 100 and 60 or 20 do
        for _ = 1, users > 100 and 1500 or 100 do b.act() end
        from = round * users / 40
        local sum, low, high = 7, math.huge, -math.huge
        for user = 0, users - 1 do
          local counter = b.counter(user)
          sum, low, high = texts.sum(sum, counter), math.min(low, counter), math.max(high, counter)
        end
        lines[#lines + 1] = ("%d users, round %d: %.14g .. %.14g, %08x"):format(users, round, low, high, sum)
      end
    end
    golden("fair-books", table.concat(lines, "\n") .. "\n")
  end)

  -- A user alone, from arrival to end: r is what the hooks see.
  local function user_of(policy, name, weight)
    local ctx, r = { step = 0 }, { user = name, user_waiting = 1, user_requests = 1, preemptions = 0,
                                   prompt_tokens = 1, cached_prefix = 0, weight = weight or 1 }
    local self = {}
    function self.arrive() policy.on_arrival(r, ctx) end
    function self.admit()
      r.user_waiting = 0
      policy.on_admit(r, ctx)
      r.user_waiting = 1
    end
    function self.emit(n) policy.on_emit(r, n, ctx) end
    function self.finish()
      r.user_waiting = 0
      policy.on_finish(r, ctx)
      r.user_waiting = 1
    end
    function self.counter() return policy.key(r, ctx) end
    return self
  end

  it("keep those who left until 1,024 others have", function()
    for others, want in pairs { [1022] = 201, [1023] = 201, [1024] = 1, [1025] = 1 } do
      local policy = gdn.policy "fair"
      local waits, rich = user_of(policy, "waits"), user_of(policy, "rich")
      waits.arrive()
      rich.arrive()
      rich.admit()
      rich.emit(100)
      rich.finish()
      for n = 1, others do
        local guest = user_of(policy, n)
        guest.arrive()
        guest.admit()
        guest.finish()
      end
      waits.admit()
      assert.are.equal(want, rich.counter(), others)
    end
  end)

  it("lift who comes to the last who waited, even where that one is forgotten", function()
    for _, others in ipairs { 1023, 1024, 1200 } do
      local policy, guests = gdn.policy "fair", {}
      for n = 1, others do
        guests[n] = user_of(policy, n)
        guests[n].arrive()
      end
      for n = 1, others do guests[n].admit() end
      local last, new = user_of(policy, "last"), user_of(policy, "new")
      last.arrive()
      last.admit()
      last.emit(100)
      last.finish()
      for n = 1, others do guests[n].finish() end
      new.arrive()
      assert.are.equal(202, new.counter(), others)
    end
  end)

  it("begin again at 0 where the least counter is above 2^32", function()
    local policy, seen = gdn.policy "fair", {}
    local rich = user_of(policy, "rich", 2 ^ -19) -- a prompt token costs 2^19
    for n = 1, 2 ^ 5 + 1 do
      rich.arrive()
      seen[n] = rich.counter()
      rich.admit()
      rich.emit(2 ^ 7 - 0.5) -- with the prompt 2^27
    end
    for n, counter in ipairs(seen) do assert.are.equal((n - 1) * 2 ^ 27, counter) end
    rich.arrive()
    assert.are.equal(0, rich.counter())
  end)
  teardown(function() math.randomseed(os.time()) end)
end)
