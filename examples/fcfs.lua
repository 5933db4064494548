-- First come, first served with chunked prefill: every running request gets a token or the next chunk
-- of the prompt, then the queue gets what is left of the budget.
--   make demo     (examples/replay.lua drives it)
local Fcfs = { BUDGET = 8192, ROWS = 256 } -- tokens and requests per step
Fcfs.__index = Fcfs

--- One cache group. Slot 0 is the null slot; slot s is in row s - 1 of the state table.
function Fcfs.new(builder)
  local self = { builder = builder, waiting = {}, first = 1, last = 0, running = {}, free = {} }
  for slot = Fcfs.ROWS, 1, -1 do self.free[#self.free + 1] = slot end
  return setmetatable(self, Fcfs)
end

--- A request has prompt, output, and what the driver keeps up to date: computed, emitted (tokens).
function Fcfs:submit(request)
  self.last = self.last + 1
  self.waiting[self.last] = request
end

local function push(batch, r, left)
  local computed = r.computed
  local take = math.min(r.prompt + r.emitted - computed, left)
  batch:push(r.slot - 1, take, computed + take, computed >= r.prompt)
  r.take = take
  return left - take
end

--- Fill the batch; the requests of its rows are running[1] .. running[n], each with its `take`.
-- No request is admitted past an unfinished prompt, so that at most one prompt is under way and it is
-- the last of `running`: rows come out as decodes, that one, first chunks - the order a build wants.
function Fcfs:schedule(batch)
  local running, free, left, n = self.running, self.free, Fcfs.BUDGET, 0
  for i = 1, #running do
    local r = running[i]
    running[i] = nil
    if r.emitted == r.output then
      free[#free + 1] = r.slot
    else
      n = n + 1
      running[n] = r
      left = push(batch, r, left)
    end
  end
  while left > 0 and self.first <= self.last and #free > 0 do
    local r = self.waiting[self.first]
    self.waiting[self.first] = nil
    self.first = self.first + 1
    r.slot = table.remove(free)
    self.builder:set_blocks(0, r.slot - 1, { r.slot })
    n = n + 1
    running[n] = r
    left = push(batch, r, left)
  end
  return running, n
end

return Fcfs
