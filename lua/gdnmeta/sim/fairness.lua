-- How evenly users are served, measured outside any policy. Service is counted as in VTC: a token
-- of prompt 1, a token of output 2, divided by the user's weight. A user is backlogged while one of
-- the user's requests waits: only then can service be unfair. Jain's index covers all users, and one of a
-- thousand without service hardly changes it. So the least served user and the longest time without service
-- are reported, too.
local Fairness = {}
Fairness.__index = Fairness

local M = {}

function M.new()
  return setmetatable({ users = {}, names = {}, backlogged = {}, last = nil, gap = 0 }, Fairness)
end

--- The account of a user.
---@param name string
---@param weight? number default 1; that of the first call counts
---@return table account for the other methods
function Fairness:user(name, weight)
  local u = self.users[name]
  if not u then
    u = { weight = weight or 1, counter = 0, waiting = 0, since = 0, place = 0, time = 0, service = 0,
          mark = 0, without = 0 }
    self.users[name] = u
    self.names[#self.names + 1] = name
  end
  return u
end

-- The least counter of backlogged users; without any, that of the last one.
local function least(self)
  local list = self.backlogged
  if #list == 0 then return self.last and self.last.counter or 0 end
  local counter = math.huge
  for i = 1, #list do counter = math.min(counter, list[i].counter) end
  return counter
end

--- A request of the user starts to wait, by arrival or after preemption. Who was not backlogged is
--- lifted to the least counter of those who are: no credit is saved while inactive.
---@param u table account
---@param now number
function Fairness:wait(u, now)
  if u.waiting == 0 then
    u.counter = math.max(u.counter, least(self))
    u.since, u.mark = now, now
    self.backlogged[#self.backlogged + 1] = u
    u.place = #self.backlogged
  end
  u.waiting = u.waiting + 1
end

-- While it was backlogged, the user was served nothing since `mark`.
local function unserved_until(u, now)
  u.without, u.mark = math.max(u.without, now - u.mark), now
end

--- One of the user's requests waits no longer.
---@param u table
---@param now number
function Fairness:leave(u, now)
  u.waiting = u.waiting - 1
  if u.waiting == 0 then
    u.time = u.time + now - u.since
    unserved_until(u, now)
    local list = self.backlogged
    local last = list[#list]
    list[u.place], last.place = last, u.place
    list[#list] = nil
    self.last = u
  end
end

--- The user was served `tokens` of the given price.
---@param u table
---@param tokens integer
---@param price number
---@param now number
function M.serve(u, tokens, price, now)
  local service = tokens * price / u.weight
  u.counter = u.counter + service
  if u.waiting > 0 then
    u.service = u.service + service
    unserved_until(u, now)
  end
end

--- Note how far the backlogged are apart now. O(backlogged users).
function Fairness:observe()
  local list = self.backlogged
  if #list < 2 then return end
  local low, high = math.huge, -math.huge
  for i = 1, #list do
    local c = list[i].counter
    low, high = math.min(low, c), math.max(high, c)
  end
  if high - low > self.gap then self.gap = high - low end
end

--- max_gap: the largest difference of service between two backlogged users, in weighted tokens.
--- jain: Jain's index of the users' service per second while backlogged, 1 when all are equal; least:
--- that service of the least served user as a share of the mean, 0: one got nothing; both nil when fewer than
--- two users ever had to wait. longest_without: seconds that a backlogged user was served nothing at a
--- stretch, and whose they were.
---@param seconds number how many of the times' unit make a second
---@param now number end of the run
---@return table figures
function Fairness:figures(seconds, now)
  local n, sum, squares, least_rate, longest, whose = 0, 0, 0, math.huge, 0, nil
  for _, name in ipairs(self.names) do
    local u = self.users[name]
    local time, without = u.time, u.without
    if u.waiting > 0 then time, without = time + now - u.since, math.max(without, now - u.mark) end
    if time > 0 then
      local rate = u.service / time
      n, sum, squares, least_rate = n + 1, sum + rate, squares + rate^2, math.min(least_rate, rate)
      if without > longest then longest, whose = without, name end
    end
  end
  local several = n >= 2 and squares > 0
  return { users = #self.names, backlogged_users = n, max_gap = self.gap,
           jain = several and sum^2 / (n * squares) or nil, least = several and least_rate * n / sum or nil,
           longest_without = longest / seconds, longest_without_user = whose }
end

return M
