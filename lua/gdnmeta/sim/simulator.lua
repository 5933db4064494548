-- Runs a workload through the real engine, the real policy and real metadata builds; only the model's
-- time is made up. The clock counts whole nanoseconds and jumps over idle time. What is drawn at
-- random is drawn per request, so that a seed gives the same run, and the same luck under any policy.
local answer_ids = require "gdnmeta.sim.answer_ids"
local arrivals = require "gdnmeta.sim.arrivals"
local by_class = require "gdnmeta.sim.by_class"
local wall_clock = require "gdnmeta.sim.wall_clock"
local token_accounting = require "gdnmeta.sim.token_accounting"
local summary = require "gdnmeta.sim.summary"
local hits = require "gdnmeta.sim.hits"
local scenario = require "gdnmeta.sim.scenario"
local counters = require "gdnmeta.sim.counters"
local array_of = require "gdnmeta.array_of"

local integers, joint = array_of "int32_t", require("gdnmeta.native.trace_cuts").joint
local have_begun, is_measured, are_filled, are_counted = joint(), joint(), joint(), joint()

local M = {}

local function new(s)
  local n = #s.requests
  return {
    o = s.o, name = s.name, held = 0, requests = s.requests, engine = s.engine, cost = s.cost,
    draw = s.draw, draws = {}, ids = s.identity and s.identity.ids or {}, cached = integers(n + 1),
    replies = s.identity and s.identity.replies or false, said = {},
    block_size = s.identity and s.identity.hash_block_size,
    hits = s.identity and hits.new(s.engine.cache, n) or false, copy_ms = s.copy_ms or 0,
    max_tokens = s.max_tokens, max_model_len = s.max_model_len,
    counters = counters.new(n, by_class.of(s.requests), s.identity),
    facts = { {}, {} }, ordinal = {}, -- by the engine's request index
    left = integers(n + 1), prompt = integers(n + 1), arrivals = arrivals.new(s.requests), now = 0,
  }
end

-- Hand a request to the engine. Without known_lengths a policy does not see the answer's length. A
-- request that the engine would cut short is turned away.
local function submit(self, i, r, arrival)
  local most = self.max_model_len
  if r.prompt < most and r.prompt + r.output > most then
    return nil, ("request %d: prompt + output = %d, want at most %d (max_model_len)"):format(i,
      r.prompt + r.output, most)
  end
  return self.engine:submit {
    id = i, prompt_tokens = r.prompt, arrival = arrival,
    max_tokens = r.prompt < most and not self.o.known_lengths
      and math.min(self.max_tokens, most - r.prompt) or r.output,
    user = r.user, weight = r.weight, class = r.class, priority = r.priority, ttft = r.ttft, tpot = r.tpot,
    blocks = self.ids[i] or nil, session = self.ids[i] and r.session or nil,
    deadline = r.deadline and arrival + r.deadline - r.arrival,
  }
end

-- Requests that have arrived by now.
local function deliver(self)
  local requests = self.requests
  local i, at = self.arrivals:take(self.now)
  while i do
    local r = requests[i]
    self.left[i], self.prompt[i] = r.output, r.prompt
    self.draws[i] = self.draw and self.draw(i)
    self.counters:arrive(i, r, at)
    local ok, why = submit(self, i, r, r.after and at / 1e9 or r.arrival)
    if not ok then
      self.counters:reject(i, self.now, why)
      self.arrivals:ended(i, self.now)
    end
    i, at = self.arrivals:take(self.now)
  end
end

-- What became of requests when the step was planned.
local function note_plan(self, step)
  local t, requests, now = self.counters, self.requests, self.now
  for _, id in ipairs(step.preempted) do t:preempt(id, now) end
  for _, id in ipairs(step.admitted) do t:admit(id, requests[id], now) end
  for _, id in ipairs(step.rejected) do
    t:reject(id, now, ("request %d: %s"):format(id, step.reasons[id]))
    self.arrivals:ended(id, now)
  end
  if self.o.measure then
    t.policy_us:add(math.floor(step.policy_seconds * 1e8 + 0.5) / 100)
    if step.num_rows > 0 then t.build_us:add(math.floor(step.build_seconds * 1e8 + 0.5) / 100) end
  end
end

-- Requests of the step that began in it, and what they found in the cache.
local function begin(self, step)
  local began = {}
  for _, id in ipairs(step.admitted) do began[id] = true end
  for row = 0, step.num_rows - 1 do
    local id = step:id(row)
    if began[id] then
      local before = step.seq_len[row] - step.query_len[row]
      self.ordinal[step.request[row]], self.cached[id] = id, before
      if self.hits then self.hits:began(id, self.requests[id].prompt, before) end
    end
  end
  have_begun()
end

-- Copies between device and host, in the order of the step's stream: the kernels wait for them. What is
-- restored, in tokens.
local function copies_ms(self, step)
  local back = step.restored
  for k = 0, back.n - 1 do
    self.hits:restored(self.cached[self.ordinal[step.request[back.row[k]]]])
  end
  return self.copy_ms * (step.demoted.n + back.n)
end

-- The step's size for the cost model and the counters. Attention of a prefix that was cached is read in every
-- chunk of the prompt; that of earlier chunks is in the pairs.
local function measure(self, step)
  if #step.admitted > 0 then begin(self, step) end
  local context, attention, drafts, drafted = 0, 0, 0, 0
  for row = 0, step.num_rows - 1 do
    local query, seq = step.query_len[row], step.seq_len[row]
    local before, index = seq - query, step.request[row]
    local i = self.ordinal[index]
    if before >= self.prompt[i] then
      context = context + before
    else
      context = context + self.cached[i]
      attention = attention + query * before + query * query / 2
    end
    local d = math.max(step.drafts[row], 0)
    drafts, drafted = math.max(drafts, d), drafted + d
  end
  is_measured()
  local facts = self.facts[step.number % 2 + 1]
  facts.kind, facts.rows = step.graph, step.num_rows
  facts.tokens, facts.padded = step.num_tokens, step.padded_tokens
  facts.prefill, facts.decode = step.prefill_tokens, step.decode_tokens
  facts.waiting, facts.running = self.engine.stats.waiting, self.engine.stats.running
  facts.slots = self.engine:slots().used
  if self.hits then self.hits:step(facts) end
  local ms = self.cost:ms(step.padded_tokens, step.prefill_tokens, step.num_rows, context, attention, drafts,
    step.graph == "eager", drafted)
  facts.duration = math.floor(1e6 * (ms + copies_ms(self, step)) + 0.5)
  return facts
end

-- Write down the model's results: accepted drafts, and where an answer ends. A request that
-- stopped while the step was under way gets nothing.
local function fill_results(self, step)
  for row = 0, step.num_rows - 1 do
    local i = self.ordinal[step.request[row]]
    if step.samples[row] == 1 and self.left[i] > 0 then
      local drafts, accepted = step.drafts[row], 0
      if drafts > 0 then accepted = self.draws[i](drafts, step.seq_len[row]) end
      if drafts >= 0 then self.counters:speculate(drafts, accepted) end
      step.accepted_drafts[row] = accepted
      if self.left[i] <= accepted + 1 then step.stop[row] = self.left[i] end
    end
  end
  are_filled()
end

local function finish(self, step, facts)
  local t, now, o, requests = self.counters, self.now, self.o, self.requests
  fill_results(self, step)
  self.engine:complete(step, now / 1e9, self.replies and answer_ids.results(self, step) or nil)
  for row = 0, step.num_rows - 1 do
    local emitted = step.emitted[row]
    if emitted > 0 then
      local i = self.ordinal[step.request[row]]
      self.left[i] = self.left[i] - emitted
      t:emit(i, emitted, now)
    end
  end
  are_counted()
  local gap = o.gap_ms and o.gap_ms * 1e6
  for _, id in ipairs(step.finished) do
    local r = requests[id]
    t:finish(id, now, r.ttft and r.ttft * 1e9 or o.ttft_ms * 1e6, r.tpot and r.tpot * 1e9 or o.tpot_ms * 1e6,
      gap)
    self.arrivals:ended(id, now)
  end
  t:step(facts, now, facts.duration)
  if o.progress then o.progress(t, now / 1e9) end
end

-- A policy that holds every request is called again every 10 ms, a limited number of times without arrivals.
local ASKED_AGAIN, TIMES = 1e7, 1e5

-- Nothing runs: on to the next arrival. An engine with waiting requests runs one, unless its policy
-- only rejected or preempted: then it is called again. Returns what ends the run.
local function idle(self, step)
  if #step.rejected + #step.preempted > 0 then return nil end
  local stats, coming = self.engine.stats, self.arrivals:next()
  if stats.waiting == 0 then
    self.now = coming or self.now
    return nil
  end
  -- A fault of ours, which must not pass for a wait: no policy holds them.
  if stats.held == 0 then error(("nothing runs, and %d requests wait"):format(stats.waiting), 0) end
  self.held = coming and 0 or self.held + 1
  self.now = math.min(coming or math.huge, self.now + ASKED_AGAIN)
  if self.held < TIMES then return nil end
  return ("policy %s holds %d requests, and nothing else runs or arrives"):format(self.name, stats.waiting)
end

-- In order, a step is planned when the one before has ended. A step ahead (async), it is planned when
-- the one before starts, and waits for its end.
local function loop(self)
  local engine, running, running_facts = self.engine, nil, nil
  while running or self.arrivals.left > 0 or engine.stats.waiting + engine.stats.running > 0 do
    deliver(self)
    local step = assert(engine:step(self.now / 1e9))
    note_plan(self, step)
    local facts = step.num_rows > 0 and measure(self, step) or nil
    if running then
      self.now = running_facts.ends
      finish(self, running, running_facts)
      running = nil
    elseif not facts then
      local message = idle(self, step)
      if message then return nil, message end
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
    end
  end
  return true
end

-- The engine and its builders.
local function close(s)
  s.engine:close()
  for _, builder in ipairs(s.builders) do builder:close() end
end

-- Arrival of each request in seconds; first step, first and last token in ms after it, false where it had
-- none.
local function per_request(requests, t, hits_of)
  local arrivals_of, queue, ttft, e2e = {}, {}, {}, {}
  for i = 1, t.n do
    local arrival, done = t.arrival[i], t.got[i] > 0
    arrivals_of[i] = arrival / 1e9
    queue[i] = t.start[i] >= 0 and (t.start[i] - arrival) / 1e6
    ttft[i] = done and (t.first[i] - arrival) / 1e6
    e2e[i] = done and (t.last[i] - arrival) / 1e6
  end
  return { requests = requests, arrival = arrivals_of, queue = queue, ttft = ttft, e2e = e2e,
           cached = hits_of and hits_of.cached or nil }
end

-- The earliest failure of the policy that the engine still remembers, and the hooks that never answered.
local function failure_of(engine)
  local records, never = engine:failures()
  local failure, hooks
  for _, record in ipairs(records) do
    if not failure and not record.cache then failure = record end
  end
  hooks = {}
  for hook in pairs(never) do hooks[#hooks + 1] = hook end
  table.sort(hooks)
  return failure and { step = failure.step, hook = failure.hook, message = tostring(failure.message),
                       never = #hooks > 0 and table.concat(hooks, ", ") or nil }
end

--- Run to the end.
---@param opts table see scenario.OPTIONS
---@return table|nil run figures of summary.lua; policy and setup say what was run
---@return string? message
function M.run(opts)
  local s, message = scenario.new(opts)
  if not s then return nil, message end
  local self, start = new(s), wall_clock()
  local ended
  ended, message = loop(self)
  if not ended then
    close(s)
    return nil, message
  end
  self.counters:close(self.now, s.o.ttft_ms * 1e6)
  local slots = s.engine:slots()
  local run = summary.figures(self.counters, {
    budget = s.o.max_num_batched_tokens, slots = slots.free + slots.used, stats = s.engine.stats,
    ttft_ms = s.o.ttft_ms, tpot_ms = s.o.tpot_ms, gap_ms = s.o.gap_ms or counters.STALL * s.o.tpot_ms,
  })
  run.conservation = token_accounting.check(s.requests, self.counters, s.engine.stats, self.cached)
  run.policy, run.setup = s.name, scenario.describe(s)
  run.per_request = per_request(s.requests, self.counters, self.hits)
  run.cache = self.hits and self.hits:figures(s) or nil
  run.classes = by_class.figures(self.counters)
  run.failure, run.switched_off = failure_of(s.engine), not s.engine.policy_enabled
  run.wall.seconds = (wall_clock() - start) / 1e9
  close(s)
  return run
end

return M
