-- What happens in a run, added up as it happens. Times are whole nanoseconds of the simulated clock;
-- requests are known by their number in the workload, 1 .. n.
local fairness = require "gdnmeta.sim.fairness"
local histogram = require "gdnmeta.sim.histogram"
local timeline = require "gdnmeta.sim.timeline"
local are_flushed = require("gdnmeta.native.trace_cuts").joint()
local array_of = require "gdnmeta.array_of"

local doubles = array_of "double"
local integers = array_of "int32_t"

local BURST = 65 -- most tokens that a request emits per step: 64 drafts and the verified one
local STALL = 10 -- times the target of the mean gap that a single one may take
local STARVED = 10 -- times the target of the first token, in the queue
local PROMPT, OUTPUT = 1, 2 -- prices of a token, as VTC has them

local Counters = {}
Counters.__index = Counters

local M = { STALL = STALL, KINDS = { "full", "piecewise", "eager" } }

local CHANNELS = { "decode", "prefill", "padding", "waiting", "running", "slots" }
local WITH_CACHE = { "decode", "prefill", "padding", "waiting", "running", "slots", "asked", "hit" }
local SUMS = { "steps", "arrived", "finished", "rejected", "emitted", "prefill", "decode", "rows", "tokens",
               "padded", "preemptions", "slots", "most_rows", "most_tokens", "most_slots", "busy",
               "spec_rows", "drafts", "accepted" }

---@param n integer requests
---@param classes table|nil by_class.of: gaps are then counted by class as well
---@param has_cache boolean|nil facts of steps then have `asked` and `hit`
function M.new(n, classes, has_cache)
  local self = {
    n = n, arrival = doubles(n + 1), first = doubles(n + 1), last = doubles(n + 1), start = doubles(n + 1),
    got = integers(n + 1), done = integers(n + 1), waits = integers(n + 1), user = {},
    stall = doubles(n + 1), attained = integers(n + 1), -- longest gap; 1: met its targets
    queue = histogram.new(), ttft = histogram.new(), tpot = histogram.new(), e2e = histogram.new(),
    normalised = histogram.new(), itl = histogram.new(), itl_token = histogram.new(),
    gap_of = integers(BURST + 1), fairness = fairness.new(),
    timeline = timeline.new(has_cache and WITH_CACHE or CHANNELS),
    kinds = {}, met = 0, longest_wait = 0, starved = 0, stalled = 0,
    policy_us = histogram.new(), build_us = histogram.new(),
    classes = classes, class_gaps = integers(classes and #classes.names + 1 or 1), class_itl = {},
  }
  for k in ipairs(classes and classes.names or {}) do self.class_itl[k] = histogram.new() end
  for _, sum in ipairs(SUMS) do self[sum] = 0 end
  for _, kind in ipairs(M.KINDS) do self.kinds[kind] = { steps = 0, tokens = 0, padded = 0 } end
  return setmetatable(self, Counters)
end

-- Request i waited until `now` for its first step.
local function waited(self, i, now)
  local wait = now - self.arrival[i]
  if wait > self.patience then self.starved = self.starved + 1 end
  if wait > self.longest_wait then self.longest_wait, self.longest_waiter = wait, i end
end

--- Request i joins the waiting ones.
function Counters:arrive(i, request, now)
  self.arrived = self.arrived + 1
  self.arrival[i], self.first[i], self.start[i], self.got[i] = now, -1, -1, 0
  self.user[i], self.waits[i] = self.fairness:user(request.user or "nobody", request.weight), 1
  self.fairness:wait(self.user[i], now)
end

--- It was scheduled while it waited: it runs from `now` on.
function Counters:admit(i, request, now)
  local user = self.user[i]
  if self.start[i] < 0 then
    self.start[i] = now
    self.queue:add(now - self.arrival[i])
    fairness.serve(user, request.prompt, PROMPT, now)
  end
  self.waits[i] = 0
  self.fairness:leave(user, now)
end

--- It was sent back to wait, and what it had computed is lost.
function Counters:preempt(i, now)
  self.preemptions, self.waits[i] = self.preemptions + 1, 1
  self.fairness:wait(self.user[i], now)
end

-- Gaps between tokens come in runs: all rows that emitted in two steps in a row have the same.
local function flush(self)
  for m = 1, BURST do
    local count = self.gap_of[m]
    if count > 0 then
      self.itl:add(self.gap, count)
      self.itl_token:add(self.gap / m, count * m)
      self.gap_of[m] = 0
    end
  end
  for k, samples in ipairs(self.class_itl) do
    local count = self.class_gaps[k]
    if count > 0 then
      samples:add(self.gap, count)
      self.class_gaps[k] = 0
    end
  end
  are_flushed()
end

--- It was given m tokens.
function Counters:emit(i, m, now)
  self.emitted = self.emitted + m
  fairness.serve(self.user[i], m, OUTPUT, now)
  if self.got[i] == 0 then
    self.first[i] = now
    self.ttft:add(now - self.arrival[i])
  else
    local gap = now - self.last[i]
    if gap > self.stall[i] then self.stall[i] = gap end
    if gap ~= self.gap then
      flush(self)
      self.gap = gap
    end
    self.gap_of[m] = self.gap_of[m] + 1
    local classes = self.classes
    if classes then
      local k = classes.of[i]
      self.class_gaps[k] = self.class_gaps[k] + 1
    end
  end
  self.got[i], self.last[i] = self.got[i] + m, now
end

--- Its last token is out. All targets in ns; a request of one token has no time per token. However good the
--- mean, a request with too long a gap between tokens has missed its targets.
---@param gap_target number|nil longest gap between tokens; default: STALL times the mean one
function Counters:finish(i, now, ttft_target, tpot_target, gap_target)
  local got, first, arrival = self.got[i], self.first[i], self.arrival[i]
  local tpot = 0
  self.finished, self.done[i] = self.finished + 1, 1
  if got > 1 then
    tpot = (now - first) / (got - 1)
    self.tpot:add(tpot)
  end
  self.e2e:add(now - arrival)
  self.normalised:add((now - arrival) / got)
  local stalled = self.stall[i] > (gap_target or STALL * tpot_target)
  if stalled then self.stalled = self.stalled + 1 end
  if first - arrival <= ttft_target and tpot <= tpot_target and not stalled then
    self.met, self.attained[i] = self.met + 1, 1
  end
end

--- It was turned away; the first reason is kept.
function Counters:reject(i, now, why)
  self.rejected, self.rejection = self.rejected + 1, self.rejection or why
  if self.start[i] < 0 then self.last[i] = now end -- for close
  if self.waits[i] == 1 then
    self.waits[i] = 0
    self.fairness:leave(self.user[i], now)
  end
end

--- Of a speculative row's drafts, `accepted` were.
function Counters:speculate(drafts, accepted)
  self.spec_rows, self.drafts = self.spec_rows + 1, self.drafts + drafts
  self.accepted = self.accepted + accepted
end

--- A step ran: facts has kind, rows, tokens, padded, prefill, decode, waiting, running, slots; `asked` and
--- `hit`: prompt tokens of requests that began in it, and those of them that were cached.
function Counters:step(facts, now, duration)
  local kind, padding = self.kinds[facts.kind], facts.padded - facts.tokens
  kind.steps = kind.steps + 1
  kind.tokens, kind.padded = kind.tokens + facts.tokens, kind.padded + facts.padded
  self.steps, self.busy = self.steps + 1, self.busy + duration
  self.rows, self.tokens = self.rows + facts.rows, self.tokens + facts.tokens
  self.padded, self.slots = self.padded + facts.padded, self.slots + facts.slots
  self.prefill, self.decode = self.prefill + facts.prefill, self.decode + facts.decode
  self.most_rows = math.max(self.most_rows, facts.rows)
  self.most_tokens = math.max(self.most_tokens, facts.tokens)
  self.most_slots = math.max(self.most_slots, facts.slots)
  local bin, sums = self.timeline:step(now / 1e9), self.timeline.sums
  sums.decode[bin] = sums.decode[bin] + facts.decode
  sums.prefill[bin] = sums.prefill[bin] + facts.prefill
  sums.padding[bin] = sums.padding[bin] + padding
  sums.waiting[bin] = sums.waiting[bin] + facts.waiting
  sums.running[bin] = sums.running[bin] + facts.running
  sums.slots[bin] = sums.slots[bin] + facts.slots
  if facts.asked then
    sums.asked[bin], sums.hit[bin] = sums.asked[bin] + facts.asked, sums.hit[bin] + facts.hit
  end
  self.fairness:observe()
end

--- The run is over. Requests that waited for STARVED times `ttft_target` (ns) are counted as starved.
---@param now number
---@param ttft_target number|nil
function Counters:close(now, ttft_target)
  flush(self)
  self.ended, self.patience = now, STARVED * (ttft_target or math.huge)
  for i = 1, self.n do
    if self.user[i] then
      local left = self.waits[i] == 1 and now or self.last[i]
      waited(self, i, self.start[i] >= 0 and self.start[i] or left)
    end
  end
end

return M
