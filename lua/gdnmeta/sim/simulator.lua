-- Runs a workload through the real engine, the real policy and real metadata builds; only the model's
-- time is made up. The clock counts whole nanoseconds and jumps over idle time. What is drawn at
-- random is drawn a request, so that a seed gives the same run, and the same luck under any policy.
local ffi = require "ffi"
local clock = require "gdnmeta.sim.clock"
local metrics = require "gdnmeta.sim.metrics"
local setup = require "gdnmeta.sim.setup"
local tally = require "gdnmeta.sim.tally"

local integers = ffi.typeof "int32_t[?]"

local HOLD = 5e6 -- ns: how long nothing happens when a policy holds everybody back
local STARVED = 600e9 -- ns of that in a row, and the policy is stuck

local Simulator = {}
Simulator.__index = Simulator

local M = {}

local function new(s)
  local n, rows = #s.requests, s.o.max_num_seqs
  return setmetatable({
    o = s.o, requests = s.requests, engine = s.engine, cost = s.cost, draw = s.draw, draws = {},
    max_tokens = s.max_tokens, max_model_len = s.max_model_len, tally = tally.new(n),
    facts = { {}, {} }, ordinal = integers(4 * rows + 1), -- by the engine's request index
    left = integers(n + 1), prompt = integers(n + 1), computed = 0, next = 1, now = 0, held = 0,
    scheduled = 0,
  }, Simulator)
end

local function ns(seconds) return math.floor(seconds * 1e9 + 0.5) end

-- Requests that have arrived by now. A policy is not told how long an answer will be.
local function deliver(self)
  local requests = self.requests
  while self.next <= #requests and ns(requests[self.next].arrival) <= self.now do
    local i = self.next
    local r = requests[i]
    self.next = i + 1
    self.left[i], self.prompt[i] = r.output, r.prompt
    self.draws[i] = self.draw and self.draw(i)
    self.tally:arrive(i, r, ns(r.arrival))
    local fits = r.prompt + r.output <= self.max_model_len
    local ok = self.engine:submit {
      id = i, prompt_tokens = r.prompt, arrival = r.arrival,
      max_tokens = fits and math.min(self.max_tokens, self.max_model_len - r.prompt) or r.output,
      user = r.user, weight = r.weight, class = r.class, priority = r.priority,
    }
    if not ok then self.tally:reject(i, self.now) end
  end
end

-- What became of requests when the step was planned.
local function note_plan(self, step)
  local t, requests, now = self.tally, self.requests, self.now
  for _, id in ipairs(step.preempted) do t:preempt(id, requests[id], now) end
  for _, id in ipairs(step.admitted) do t:admit(id, requests[id], now) end
  for _, id in ipairs(step.rejected) do t:reject(id, now) end
  if self.o.measure then
    t.policy_us:add(math.floor(step.policy_seconds * 1e8 + 0.5) / 100)
    t.build_us:add(math.floor(step.build_seconds * 1e8 + 0.5) / 100)
  end
end

-- The step's size for the cost model and the tally; learns which request a new row is of.
local function measure(self, step)
  local context, attention, drafts = 0, 0, 0
  for row = 0, step.num_rows - 1 do
    local query, seq = step.query_len[row], step.seq_len[row]
    local before, index = seq - query, step.request[row]
    if before == 0 then self.ordinal[index] = step:id(row) end
    if before >= self.prompt[self.ordinal[index]] then
      context = context + before
    else
      attention = attention + query * before + query * query / 2
    end
    drafts = math.max(drafts, step.drafts[row])
  end
  local facts = self.facts[step.number % 2 + 1]
  facts.kind, facts.rows = step.graph, step.num_rows
  facts.tokens, facts.padded = step.num_tokens, step.padded_tokens
  facts.prefill, facts.decode = step.prefill_tokens, step.decode_tokens
  facts.waiting, facts.running = self.engine.stats.waiting, self.engine.stats.running
  facts.slots = self.engine:slots().used
  facts.duration = math.floor(1e6 * self.cost:ms(step.padded_tokens, step.prefill_tokens, step.num_rows, context,
    attention, drafts, step.graph == "eager") + 0.5)
  return facts
end

-- Write down what the model's step gave: accepted drafts, and where an answer ends.
local function fill_results(self, step)
  for row = 0, step.num_rows - 1 do
    if step.samples[row] == 1 then
      local i, drafts, accepted = self.ordinal[step.request[row]], step.drafts[row], 0
      if drafts > 0 and self.draws[i] then accepted = self.draws[i](drafts, step.seq_len[row]) end
      if drafts >= 0 then self.tally:speculate(drafts, accepted) end
      step.accepted[row] = accepted
      if self.left[i] <= accepted + 1 then step.stop[row] = math.max(self.left[i], 1) end
    end
  end
end

local function finish(self, step, facts)
  local t, now, o = self.tally, self.now, self.o
  fill_results(self, step)
  self.engine:complete(step, nil, now / 1e9)
  for row = 0, step.num_rows - 1 do
    local emitted = step.emitted[row]
    if emitted > 0 then
      local i = self.ordinal[step.request[row]]
      self.left[i] = self.left[i] - emitted
      t:emit(i, emitted, now)
    end
  end
  for _, id in ipairs(step.finished) do t:finish(id, now, o.ttft_ms * 1e6, o.tpot_ms * 1e6) end
  t:step(facts, now, facts.duration)
  if o.progress then o.progress(t, now / 1e9) end
end

-- Nothing runs: on to the next arrival, or a little further when somebody is held back.
local function idle(self)
  local waiting = self.engine.stats.waiting
  local arrival = self.next <= #self.requests and ns(self.requests[self.next].arrival) or math.huge
  if waiting == 0 then
    self.now = arrival
    return
  end
  self.now = math.min(arrival, self.now + HOLD)
  self.held = self.held + HOLD
  if self.held > STARVED then
    error(("policy %s runs nobody, and %d requests wait"):format(tostring(self.o.policy), waiting), 0)
  end
end

-- In order, a step is planned when the one before has ended. A step ahead (async), it is planned when
-- the one before starts, and waits for its end.
local function loop(self)
  local engine, running, running_facts = self.engine, nil, nil
  while running or self.next <= #self.requests or engine.stats.waiting + engine.stats.running > 0 do
    deliver(self)
    local step = assert(engine:step(self.now / 1e9))
    note_plan(self, step)
    local facts = step.num_rows > 0 and measure(self, step) or nil
    if running then
      self.now = running_facts.ends
      finish(self, running, running_facts)
      running = nil
    end
    if facts then
      self.held = 0
      facts.ends = self.now + facts.duration
      if self.o.async then
        running, running_facts = step, facts
      else
        self.now = facts.ends
        finish(self, step, facts)
      end
    elseif not running then
      idle(self)
    end
  end
end

--- Run to the end.
---@param opts table see setup.OPTIONS
---@return table|nil run figures of metrics.figures, and setup: what was run
---@return string? message
function M.run(opts)
  local s, message = setup.new(opts)
  if not s then return nil, message end
  local self, start = new(s), clock()
  loop(self)
  self.tally:close(self.now)
  local slots = s.engine:slots()
  local run = metrics.figures(self.tally, {
    budget = s.o.max_num_batched_tokens, slots = slots.size, stats = s.engine.stats,
    ttft_ms = s.o.ttft_ms, tpot_ms = s.o.tpot_ms,
  })
  run.wall.seconds = (clock() - start) / 1e9
  s.engine:close()
  for _, builder in ipairs(s.builders) do builder:close() end
  return run, self
end

return M
