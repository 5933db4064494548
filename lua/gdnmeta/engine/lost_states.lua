--- What a device held is gone, its process has died: requests are computed again on another. A method of the
--- engine.
local change_rules = require "gdnmeta.engine.change_rules"
local commit_plan = require "gdnmeta.engine.commit_plan"
local requests = require "gdnmeta.engine.requests"
local sources = require "gdnmeta.engine.sources"

local RUNNING = requests.RUNNING

local Engine = {}

-- A step whose results never come: nothing names its requests any more.
local function drop_step(self, step)
  local r, stats = self.requests, self.stats
  step.in_flight, self.in_flight = false, self.in_flight - 1
  for row = 0, step.num_rows - 1 do
    local i = step.request[row]
    r.flight[i] = r.flight[i] - 1
    if r.state[i] == requests.LEAVING then
      stats.wasted_rows = stats.wasted_rows + 1
      stats.wasted_tokens = stats.wasted_tokens + step.query_len[row]
    end
    if r.epoch[i] ~= step.epoch[row] and r.flight[i] == 0 then
      local had_left = r.state[i] ~= RUNNING and r.state[i] ~= requests.WAITING
      commit_plan.return_slots(self, i)
      if had_left then r:put(i) end
    end
  end
end

-- From the last to the first, each to the head of the queue: there they stand in their order.
local function preempt_all(self)
  for at = self.num_running - 1, 0, -1 do commit_plan.preempt(self, self.running[at]) end
  commit_plan.compact_running(self)
end

-- Requests begin with what is computed, which is nothing.
local function begin_with_nothing(self)
  local r = self.requests
  for _, i in pairs(r.index) do
    local source = r.checkpoint[i]
    if source then
      r.checkpoint[i], r.kv_shared[i] = nil, 0
      sources.drop(self.states, source)
    end
    r.cached[i], r.computed[i], r.matched[i] = 0, 0, -1
  end
end

--- The memory of the device is gone: steps in flight have no results, running requests go back to the head of
--- the queue and are computed again, and no state is left that others could begin with. What a request has
--- said stays. States that checkpoint(), export() or receive() gave are no longer taken by submit();
--- release them.
---@return integer requests that ran
function Engine:states_lost()
  self = change_rules.change(self, "states_lost")
  for _, step in ipairs(self.steps) do
    if step.in_flight then drop_step(self, step) end
  end
  self.oldest, self.num_fixes = false, 0
  local r, ran = self.requests, {}
  for at = 0, self.num_running - 1 do ran[at + 1] = self.running[at] end
  preempt_all(self)
  begin_with_nothing(self)
  for shown in pairs(self.pinned) do self.checkpoints[shown] = nil end
  if self.prefix then self.prefix:empty() end
  self.stats.waiting, self.stats.running = self.fifo.size, self.num_running
  for _, i in ipairs(ran) do
    if r.state[i] == requests.WAITING then self.hooks:event("on_preempt", i) end
  end
  self.hooks.guard:raise_failure()
  return #ran
end

return Engine
