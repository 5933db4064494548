-- One request in a recording: when it arrived, why it waited, what it was given, and how it ended.
-- Steps in which the same happened are one line.
local waiting_reasons = require "gdnmeta.record.waiting_reasons"

local M = {}

local Story = {}
Story.__index = Story

local function tell(self, first, last, now, text)
  local steps = first == last and ("%8.0f"):format(first) or ("%8.0f .. %.0f"):format(first, last)
  self.say(("%-20s %12.3f  %s"):format(steps, now, text))
end

-- Steps that go on as the one before: their last one, and what it comes to.
local function flush(self)
  local run = self.run
  if run then tell(self, run.first, run.last, run.now, run.text(run)) end
  self.run = nil
end

local function extend(self, step, kind, text)
  local run = self.run
  if not run or run.kind ~= kind then
    flush(self)
    run = { kind = kind, first = step.step, now = step.now, tokens = 0, steps = 0, text = text }
    self.run = run
  end
  run.last, run.steps = step.step, run.steps + 1
  return run
end

local function event(self, step, text)
  flush(self)
  tell(self, step.step, step.step, step.now, text)
end

local function matches(self, id)
  return id == self.wanted or type(id) == "number" and ("%.14g"):format(id) == self.wanted
end

local function place_of(self, list)
  for k, id in ipairs(list or {}) do
    if matches(self, id) then return k end
  end
end

-- The queue is kept by arrival, with those that were preempted in front again.
local function leave_queue(self, id)
  for k, other in ipairs(self.queue) do
    if other == id then
      table.remove(self.queue, k)
      return
    end
  end
end

local function plural(n, what) return ("%d %s%s"):format(n, what, n == 1 and "" or "s") end

local HOW = { stop = "finished: the answer stopped", length = "finished: it came to its length",
              cancelled = "cancelled" }

-- What it began with, where others had left a state.
local function began_with(self, step)
  local row = place_of(self, step.ids)
  local n = row and step.cached and step.cached[row] or 0
  if n == 0 then return "" end
  return (" with %s of the state cache%s"):format(plural(n, "token"),
    (step.restored or {})[row] == 1 and ", copied from the host" or "")
end

-- One that is gone may be followed by another of its id.
local function happen(self, step, did)
  if did == "came" then
    self.state, self.found, self.why = "waiting", true, nil
    event(self, step, "came into the queue")
  elseif did == "started" then
    event(self, step, (self.before and "started again" or "started") .. began_with(self, step))
    self.state, self.found, self.before = "running", true, true
  elseif did == "preempted" then
    event(self, step, "preempted: its memory went to others, what was computed is lost")
    self.state, self.found, self.why = "waiting", true, nil
  elseif self.state then
    -- An answer ends with the results of its last step, which come after that step's line.
    event(self, (did == "stop" or did == "length") and self.ran or step, HOW[did] or self.show(did))
    self.state = nil
  end
end

local function news(self, step)
  for k, id in ipairs(step.who or {}) do
    local did = step.did[k]
    if did == "came" then
      self.queue[#self.queue + 1] = id
    elseif did == "preempted" then
      table.insert(self.queue, 1, id)
    else
      leave_queue(self, id)
    end
    if matches(self, id) then happen(self, step, did) end
  end
  local changed = place_of(self, step.waits)
  if changed then self.why = step.why[changed] end
end

local function waited(self, step)
  local run = extend(self, step, "waits " .. tostring(self.why), function(run)
    local places = run.from == run.to and tostring(run.to) or ("%d, then %d"):format(run.from, run.to)
    return ("waited %s: %s; place %s of %d by arrival"):format(plural(run.steps, "step"),
      waiting_reasons.WORDS[run.why] or "for a reason that is not recorded", places, run.of)
  end)
  local place, n = place_of(self, self.queue), #self.queue
  run.why, run.from, run.to, run.of = self.why, run.from or place, place, math.max(run.of or n, n)
end

local function computed(self, step, row)
  local n, ends, drafts = step.query_len[row], step.seq_len[row], step.drafts[row]
  local kind = step.prompt_done[row] == 1 and "decodes" or "prompt"
  local run = extend(self, step, kind, function(run)
    local text = kind == "prompt" and ("%s of text, up to %d"):format(plural(run.tokens, "token"), run.ends)
      or ("%s, up to token %d"):format(plural(run.steps, "decode"), run.ends)
    return run.drafts > 0 and ("%s, %s"):format(text, plural(run.drafts, "draft")) or text
  end)
  run.tokens, run.ends, run.drafts = run.tokens + n, ends, (run.drafts or 0) + math.max(drafts, 0)
end

local function nothing(self, step)
  extend(self, step, "nothing", function(run)
    return ("kept running and was given nothing for %s"):format(plural(run.steps, "step"))
  end)
end

-- Steps without a line: nothing ran in them, and nothing changed.
local function pass(self, number)
  local run, more = self.run, number - (self.last or number) - 1
  if run and more > 0 and self.state == "waiting" then
    run.last, run.steps = run.last + more, run.steps + more
  end
end

--- A step in which nothing ran, in order with the others.
---@param line table as the reader gives it
function Story:empty(line)
  self:step { step = line.empty, now = line.now, ids = {}, who = line.who, did = line.did, waits = line.waits,
              why = line.why }
end

--- A step of the recording, in order.
---@param step table as the reader gives it
function Story:step(step)
  if step.ids == nil then return end
  if step.step == self.last then return end -- it was built again
  pass(self, step.step)
  self.last, self.now = step.step, step.now
  news(self, step)
  local row = place_of(self, step.ids)
  if row then
    self.ran = { step = step.step, now = step.now }
    self.found, self.before, self.state = true, true, "running"
    computed(self, step, row)
  elseif self.state == "waiting" then
    waited(self, step)
  elseif self.state == "running" then
    nothing(self, step)
  end
end

--- The recording is at its end.
---@param after table|nil what happened after the last step
---@return boolean found
function Story:close(after)
  if after then
    pass(self, after.after + 1)
    news(self, { step = self.last or after.after, now = self.now or 0, who = after.who, did = after.did })
  end
  flush(self)
  if self.state then self.say(("%33s  %s when the recording ended"):format("", self.state)) end
  return self.found
end

--- The story of a request.
---@param wanted string its id
---@param say function says a line
---@param show function makes a file's words fit for a terminal
---@return table story step(step), close(after)
function M.new(wanted, say, show)
  return setmetatable({ wanted = wanted, say = say, show = show, queue = {}, found = false }, Story)
end

return M
