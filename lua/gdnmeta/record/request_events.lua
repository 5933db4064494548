-- Requests in a recording: which arrived, started, were preempted and left, and why
-- those that wait do. Each line has what is new since the line before.
local observers = require "gdnmeta.engine.observers"
local waiting_reasons = require "gdnmeta.record.waiting_reasons"

local LONGEST = 200 -- bytes of an id or of a reason
local EXACT = 1e14 -- numbers below it are written with all their digits

local M = { LONGEST = LONGEST }

--- An id as a file has it: a number, or a string of at most LONGEST bytes.
---@param id number|string
---@return number|string
function M.id(id)
  if type(id) == "number" then return math.abs(id) < EXACT and id % 1 == 0 and id or ("%.17g"):format(id) end
  return #id > LONGEST and id:sub(1, LONGEST - 3) .. "..." or id
end

local Requests = {}
Requests.__index = Requests

-- Events in order, as two lists: the request, and its event.
local function note(self, id, did)
  local n = #self.who + 1
  self.who[n], self.did[n] = M.id(id), did:sub(1, LONGEST)
end

-- The engine's side.
local Observer = {}
Observer.__index = Observer
function Observer:arrived(i) note(self.book, self.book.engine.requests.id[i], "came") end
function Observer.refused() end
function Observer:cancelled(i) note(self.book, self.book.engine.requests.id[i], "cancelled") end
function Observer:rejected(i)
  local e = self.book.engine
  local plan, why = e.plan, nil
  for n = 1, plan.num_rejects do
    if plan.rejects[n] == i then why = plan.reasons[n] end
  end
  note(self.book, e.requests.id[i], "rejected: " .. tostring(why))
end

function Observer:planned(step)
  if step.num_rows == 0 then self.book:empty(step) end
end

local ENDS = { "stop", "length" }

function Observer:completed(step)
  for row = 0, step.num_rows - 1 do
    local how = ENDS[step.finish[row]]
    if how then note(self.book, step.ids[row + 1], how) end
  end
end

-- Reasons that changed since the line before.
local function waits(self)
  local e, ids, why, seen = self.engine, {}, {}, {}
  local r, i = e.requests, e.fifo.head
  while i >= 0 do
    local because = waiting_reasons.of(e, i)
    seen[r.tie[i]] = because
    if self.reasons[r.tie[i]] ~= because then
      ids[#ids + 1], why[#why + 1] = M.id(r.id[i]), because
    end
    i = r.next[i]
  end
  self.reasons = seen
  return ids, why
end

-- Rows whose states the host copies back, 1 each; nil: none.
local function restored(step)
  local back, list = step.restored, {}
  if back.n == 0 then return nil end
  for row = 1, step.num_rows do list[row] = 0 end
  for k = 0, back.n - 1 do list[back.row[k] + 1] = 1 end
  return list
end

local function given(list) return #list > 0 and list or nil end

-- Tokens with which rows' requests began, of states that others left; nil: none did.
local function cached(self, step)
  local r, began, list, any = self.engine.requests, {}, {}, false
  for _, id in ipairs(step.admitted) do began[id] = true end
  for row = 1, step.num_rows do
    local i = step.request[row - 1]
    list[row] = began[step.ids[row]] and not r.checkpoint[i] and r.cached[i] or 0
    any = any or list[row] > 0
  end
  return any and list or nil
end

--- Add to a step's document what is new.
---@param document table
---@param step table that was just built
function Requests:add(document, step)
  local ids = {}
  for row = 1, step.num_rows do ids[row] = M.id(step.ids[row]) end
  document.ids = ids
  if step.in_flight then return end -- it was built again, as nothing but its rows has changed
  document.cached, document.restored = cached(self, step), restored(step)
  for _, id in ipairs(step.preempted) do note(self, id, "preempted") end
  for _, id in ipairs(step.admitted) do note(self, id, "started") end
  local waiting, why = waits(self)
  document.waiting, document.waits, document.why = self.engine.fifo.size, given(waiting), given(why)
  self:rest(document)
end

--- A step in which nothing ran has a line of its own if there are events.
---@param step table
function Requests:empty(step)
  for _, id in ipairs(step.preempted) do note(self, id, "preempted") end
  local waiting, why = waits(self)
  if #waiting == 0 and #self.who == 0 then return end
  local document = { empty = step.number, now = step.now, waiting = self.engine.fifo.size,
                     waits = given(waiting), why = given(why) }
  self:rest(document)
  self.write(document)
end

--- Add what happened since the last step's line.
---@return boolean any
function Requests:rest(document)
  document.who, document.did = given(self.who), given(self.did)
  self.who, self.did = {}, {}
  return document.who ~= nil
end

--- Look no longer.
function Requests:close() observers.remove(self.engine, self.observer) end

--- Look at what happens to an engine's requests from now on.
---@param engine table
---@param write function takes the document of a step in which nothing ran
function M.new(engine, write)
  local self = setmetatable({ engine = engine, write = write, reasons = {}, who = {}, did = {} }, Requests)
  local i = engine.fifo.head
  while i >= 0 do
    note(self, engine.requests.id[i], "came")
    i = engine.requests.next[i]
  end
  self.observer = setmetatable({ book = self }, Observer)
  observers.add(engine, self.observer)
  return self
end

return M
