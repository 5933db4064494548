-- How evenly users are served, seen from outside of any policy. Service is counted as in VTC: a token
-- of prompt 1, a token of output 2, divided by the user's weight. A user is backlogged while one of
-- his requests waits: only then can he have been wronged.
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
    u = { weight = weight or 1, counter = 0, waiting = 0, since = 0, place = 0, time = 0, service = 0 }
    self.users[name] = u
    self.names[#self.names + 1] = name
  end
  return u
end

-- The least counter of the backlogged; of nobody, that of the last one who was.
local function least(self)
  local list = self.backlogged
  if #list == 0 then return self.last and self.last.counter or 0 end
  local counter = math.huge
  for i = 1, #list do counter = math.min(counter, list[i].counter) end
  return counter
end

--- A request of the user starts to wait, by arrival or after preemption. Who was not backlogged is
--- lifted to the least counter of those who are: nobody saves up credit while away.
---@param u table account
---@param now number
function Fairness:wait(u, now)
  if u.waiting == 0 then
    u.counter = math.max(u.counter, least(self))
    u.since = now
    self.backlogged[#self.backlogged + 1] = u
    u.place = #self.backlogged
  end
  u.waiting = u.waiting + 1
end

--- One of the user's requests waits no longer.
---@param u table
---@param now number
function Fairness:leave(u, now)
  u.waiting = u.waiting - 1
  if u.waiting == 0 then
    u.time = u.time + now - u.since
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
function M.serve(u, tokens, price)
  local service = tokens * price / u.weight
  u.counter = u.counter + service
  if u.waiting > 0 then u.service = u.service + service end
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
--- jain: Jain's index of the users' service a second while backlogged, 1 when all were served alike;
--- nil when fewer than two users ever had to wait.
---@param seconds number how many of the times' unit make a second
---@return table figures
function Fairness:figures(seconds)
  local n, sum, squares = 0, 0, 0
  for _, name in ipairs(self.names) do
    local u = self.users[name]
    if u.time > 0 then
      local rate = u.service / (u.time / seconds)
      n, sum, squares = n + 1, sum + rate, squares + rate^2
    end
  end
  return { users = #self.names, backlogged_users = n, max_gap = self.gap,
           jain = n >= 2 and squares > 0 and sum^2 / (n * squares) or nil }
end

return M
