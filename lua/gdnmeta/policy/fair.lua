-- Equal shares between users, by virtual token counters (Sheng et al., OSDI '24): the user who was served
-- least goes first, and within a user it is first come, first served. A prompt token costs 1 when the request
-- is admitted, an output token 2 when it comes out, over the request's weight.
--
-- A user is active while one of the user's requests waits. A returning user's counter is raised to the least
-- one of the active users, so that a pause earns no credit; without active users, to that of the last active
-- one. The smallest active counter never falls, and a larger one comes from requests that ran at the user's
-- last admission. So counters of active users never differ by more than U, see docs/policy.md.
local PROMPT, OUTPUT = 1, 2
local KEPT = 1024 -- users with nothing here whose counters are kept; others come back at the least one
local LARGEST = 2 ^ 32 -- of the least counter: above that small charges would be lost in rounding

local floor = math.floor
local served, level, last = {}, 0, nil -- level: the least counter of the active, never less than before

-- Active users, as a heap: the smallest counter first as far as `mark` knows, which lags where one was
-- served since. Counters only grow, so it is enough to look again at the first one.
local heap, size, at, mark = {}, 0, {}, {}

local function place(user, n)
  heap[n], at[user] = user, n
end

local function up(user, n)
  while n > 1 and mark[heap[floor(n / 2)]] > mark[user] do
    place(heap[floor(n / 2)], n)
    n = floor(n / 2)
  end
  place(user, n)
end

local function down(user, n)
  while 2 * n <= size do
    local child = 2 * n
    if child < size and mark[heap[child + 1]] < mark[heap[child]] then child = child + 1 end
    if mark[heap[child]] >= mark[user] then break end
    place(heap[child], n)
    n = child
  end
  place(user, n)
end

local function least()
  if size == 0 then return last and served[last] or level end
  while mark[heap[1]] ~= served[heap[1]] do
    local user = heap[1]
    mark[user] = served[user]
    down(user, 1)
  end
  return mark[heap[1]]
end

-- The same amount less for every user: only differences count.
local function sink()
  for user, counter in pairs(served) do served[user] = math.max(counter - level, 0) end
  for user in pairs(mark) do mark[user] = served[user] end
  level = 0
end

local function join(user)
  if at[user] then return end
  level = math.max(level, least())
  if level > LARGEST then sink() end
  served[user] = math.max(served[user] or level, level)
  size, mark[user] = size + 1, served[user]
  up(user, size)
end

local function leave(user)
  local n, tail = at[user], heap[size]
  if size == 1 then level = math.max(level, served[user]) end
  heap[size], at[user], mark[user] = nil, nil, nil
  size, last = size - 1, user
  if tail ~= user then
    down(tail, n)
    up(tail, at[tail])
  end
end

-- Users with nothing here, in a ring: the first to leave is forgotten first.
local ring, next_in_ring, ring_place = {}, 1, {}

local function forget(user)
  if user == last and size == 0 then level = math.max(level, served[user]) end
  served[user], ring_place[user] = nil, nil
end

local function rest(user)
  local old = ring[next_in_ring]
  if old ~= nil and ring_place[old] == next_in_ring then forget(old) end
  ring[next_in_ring], ring_place[user] = user, next_in_ring
  next_in_ring = next_in_ring % KEPT + 1
  if served[user] <= level then forget(user) end
end

-- What the plan under way will charge, so that the next of the queue is chosen knowing it. The plan may
-- still be thrown away: what is charged for good is charged on admission.
local planned, users, num_users = {}, {}, 0
local step -- that it is of

local function plan_step(number)
  if step == number then return end
  for n = 1, num_users do planned[users[n]] = nil end
  num_users, step = 0, number
end

local function price(r)
  return r.preemptions == 0 and PROMPT * (r.prompt_tokens - r.cached_prefix) / r.weight or 0
end

local function charge(user, cost)
  served[user] = (served[user] or level) + cost
end

return {
  group = "user",
  key = function(r, ctx)
    local user = r.user
    local counter = served[user] or level
    return step == ctx.step and planned[user] and counter + planned[user] or counter
  end,
  admit = function(r, ctx)
    plan_step(ctx.step)
    local user = r.user
    if not planned[user] then
      num_users = num_users + 1
      users[num_users] = user
    end
    planned[user] = (planned[user] or 0) + price(r)
    return true
  end,

  on_arrival = function(r)
    ring_place[r.user] = nil
    join(r.user)
  end,
  on_preempt = function(r) join(r.user) end,
  on_admit = function(r)
    step = -1 -- the plan stands: from here on what is charged counts
    local user = r.user
    charge(user, price(r))
    if at[user] and r.user_waiting == 0 then leave(user) end
  end,
  on_emit = function(r, n) charge(r.user, OUTPUT * n / r.weight) end,
  on_finish = function(r)
    local user = r.user
    if at[user] and r.user_waiting == 0 then leave(user) end
    if r.user_requests == 1 then rest(user) end
  end,
}
