-- The engine calls these functions when an event happens; without metrics it calls none. Times are those that
-- were passed to the engine. Nothing here allocates, except columns that grow with the engine's.
local ffi = require "ffi"
local classes = require "gdnmeta.metrics.classes"
local histogram = require "gdnmeta.metrics.histogram"
local requests = require "gdnmeta.engine.requests"
local array_of = require "gdnmeta.array_of"

local RUNNING = requests.RUNNING
local int32s, doubles = array_of "int32_t", array_of "double"

-- Why a request is gone. The first two are the engine's numbers of why it finished.
local OUTCOMES = { "stop", "length", "cancelled", "rejected", "refused" }
local CANCELLED, REJECTED, REFUSED = 3, 4, 5

local Observer = {}
Observer.__index = Observer

-- Columns by the engine's numbers of requests.
local function reserve(self)
  local capacity = self.engine.requests.capacity
  if capacity <= self.capacity then return end
  local series, last, started = int32s(capacity), doubles(capacity), int32s(capacity)
  ffi.copy(series, self.series, ffi.sizeof(self.series))
  ffi.copy(last, self.last, ffi.sizeof(self.last))
  ffi.copy(started, self.started, ffi.sizeof(self.started))
  self.series, self.last, self.started, self.capacity = series, last, started, capacity
end

local function take(self, i)
  local e = self.engine
  reserve(self)
  local series = self.classes:series(e.classes.name[e.requests.class[i]])
  self.series[i], self.last[i], self.started[i] = series, e.requests.last_emit[i], 0
  return series
end

local function leave(self, series, outcome)
  local at = series * #OUTCOMES + outcome - 1
  self.outcomes[at] = self.outcomes[at] + 1
end

--- A request was taken into the queue.
---@param i integer the engine's number of it
function Observer:arrived(i)
  local series = take(self, i)
  self.arrivals[series] = self.arrivals[series] + 1
  self.prompts[series] = self.prompts[series] + self.engine.requests.prompt[i]
end

--- A request was not taken; its class gets no series for that.
---@param class string|number|nil
function Observer:refused(class) leave(self, self.classes:series(class or "", true), REFUSED) end

--- A request goes before its end, by the host or by the policy.
function Observer:cancelled(i) leave(self, self.series[i], CANCELLED) end
function Observer:rejected(i) leave(self, self.series[i], REJECTED) end

--- A step was planned, and built where it has rows.
---@param step table
function Observer:planned(step)
  if step.policy_seconds then self.policy_time:observe(0, step.policy_seconds) end
  if step.num_rows > 0 and step.build_seconds then self.build_time:observe(0, step.build_seconds) end
end

local function emitted(self, step, row, i, series)
  local r, now, n = self.engine.requests, self.engine.now, step.emitted[row]
  self.tokens[series] = self.tokens[series] + n
  if r.known[i] - n == r.prompt[i] then
    self.first_token:observe(series, now - r.arrival[i])
  else
    self.between:observe(series, now - self.last[i])
  end
  self.last[i] = now
  local finish = step.finish[row]
  if finish > 0 then
    leave(self, series, finish)
    self.request_time:observe(series, now - r.arrival[i])
  end
end

--- A step has run: its results stand in its arrays and in the requests.
---@param step table
function Observer:completed(step)
  local r = self.engine.requests
  self.step_time:observe(0, self.engine.now - step.now)
  for row = 0, step.num_rows - 1 do
    local i = step.request[row]
    local series = self.series[i]
    if self.started[i] == 0 then
      self.started[i] = 1
      self.queue_time:observe(series, step.now - r.arrival[i])
    end
    if step.emitted[row] > 0 then emitted(self, step, row, i, series) end
  end
end

local FAST, STEP, SLOW = histogram.bounds(1e-6, 1), histogram.bounds(1e-4, 10), histogram.bounds(1e-3, 1000)

local M = { OUTCOMES = OUTCOMES }

--- An observer of an engine. It knows the requests that are here already, and that some of them ran before.
---@param engine table
---@param most integer classes with series of their own
function M.new(engine, most)
  local n, r = most + 1, engine.requests
  local capacity = r.capacity
  local self = setmetatable({
    engine = engine, classes = classes.new(most), capacity = capacity,
    series = int32s(capacity), last = doubles(capacity), started = int32s(capacity),
    arrivals = doubles(n), prompts = doubles(n), tokens = doubles(n), outcomes = doubles(n * #OUTCOMES),
    step_time = histogram.new(STEP, 1), policy_time = histogram.new(FAST, 1),
    build_time = histogram.new(FAST, 1), queue_time = histogram.new(SLOW, n),
    first_token = histogram.new(SLOW, n), between = histogram.new(STEP, n),
    request_time = histogram.new(SLOW, n),
  }, Observer)
  for _, i in pairs(r.index) do
    take(self, i)
    self.started[i] = (r.state[i] == RUNNING or r.preemptions[i] > 0) and 1 or 0
  end
  return self
end

return M
