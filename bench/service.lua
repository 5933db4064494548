-- What users are given in a simulated run, watched from outside: for the scenarios about fairness. Service is
-- counted as virtual token counters do, a prompt token 1 at admission, an output token 2; weights are 1.
local M = {}

local WINDOW = 30 -- seconds to either side, as the published comparison has it

local Service = {}
Service.__index = Service

-- Requests from `low` on may still change; counts what each got since last time.
local function count(self, counters, seconds)
  local second = math.floor(seconds)
  local given = self.given[second] or {}
  self.given[second] = given
  for u = 1, #self.names do self.busy[u] = 0 end
  for i = self.low, counters.arrived do
    local request, u = self.requests[i], self.user[i]
    local tokens = 0
    if counters.start[i] >= 0 and not self.started[i] then
      self.started[i], tokens = true, request.prompt
    end
    tokens = tokens + 2 * (counters.got[i] - (self.got[i] or 0))
    self.got[i] = counters.got[i]
    self.total[u], given[u] = self.total[u] + tokens, (given[u] or 0) + tokens
    local is_running = counters.start[i] >= 0 and counters.waits[i] == 0 and counters.done[i] == 0
    if is_running then self.busy[u] = self.busy[u] + request.prompt + request.output end
    if i == self.low and counters.done[i] == 1 then self.low = i + 1 end
  end
  for u = 1, #self.names do self.busiest = math.max(self.busiest, self.busy[u]) end
end

-- While a waiting user is given nothing: what the most served of the others takes.
local function look_for_the_unserved(self, counters, seconds)
  for u, name in ipairs(self.names) do
    local account, since = counters.fairness.users[name], self.since[u]
    if not account or account.waiting == 0 or not since or self.total[u] ~= since.own then
      if not since then
        since = { others = {} }
        self.since[u] = since
      end
      since.own, since.seconds = self.total[u], seconds
      for v = 1, #self.names do since.others[v] = self.total[v] end
    else
      self.longest_unserved = math.max(self.longest_unserved, seconds - since.seconds)
      for v = 1, #self.names do
        self.unserved = math.max(self.unserved, self.total[v] - since.others[v])
      end
    end
  end
end

--- To be called after every step.
function Service:observe(counters, seconds)
  count(self, counters, seconds)
  look_for_the_unserved(self, counters, seconds)
end

--- U of docs/policy.md: how far counters may be apart.
---@return number tokens
function Service:bound() return math.max(self.longest_prompt, 2 * self.busiest) end

-- Per second and user: what was asked for.
local function asked(self)
  local list = {}
  for i, request in ipairs(self.requests) do
    local second, u = math.floor(request.arrival), self.user[i]
    list[second] = list[second] or {}
    list[second][u] = (list[second][u] or 0) + request.prompt + 2 * request.output
  end
  return list
end

local function sum(by_second, u, from, to)
  local total = 0
  for second = from, to do total = total + (by_second[second] and by_second[second][u] or 0) end
  return total
end

--- The published comparison: over all users, how much less each was given around a second than the most
--- served one, or than it asked for, in tokens per second; the largest while requests came.
---@return number
function Service:difference()
  local ask, largest = asked(self), 0
  local last = math.floor(self.requests[#self.requests].arrival)
  for second = 0, last do
    local given, most, total = {}, 0, 0
    for u = 1, #self.names do
      given[u] = sum(self.given, u, second - WINDOW, second + WINDOW - 1)
      most = math.max(most, given[u])
    end
    for u = 1, #self.names do
      local lacks = sum(ask, u, second - WINDOW, second + WINDOW - 1) - given[u]
      total = total + math.min(most - given[u], math.max(lacks, 0))
    end
    largest = math.max(largest, total / (2 * WINDOW))
  end
  return largest
end

---@param requests table each with a user
function M.new(requests)
  local self = setmetatable({ requests = requests, names = {}, user = {}, started = {}, got = {}, given = {},
                              total = {}, busy = {}, since = {}, low = 1, busiest = 0, unserved = 0,
                              longest_unserved = 0, longest_prompt = 0 }, Service)
  local number = {}
  for i, request in ipairs(requests) do
    if not number[request.user] then
      self.names[#self.names + 1] = request.user
      number[request.user], self.total[#self.names] = #self.names, 0
    end
    self.user[i] = number[request.user]
    self.longest_prompt = math.max(self.longest_prompt, request.prompt)
  end
  return self
end

return M
