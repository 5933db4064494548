-- A layer of layer_kernel.lua under an engine whose accepted counts lie on the device: it runs a step before
-- the results of the one before are known to the host, and leaves what it accepted at each row's table row.
local layer_kernel = require "spec.support.layer_kernel"

local M = {}

-- The row as it comes to the device, where the step before has been: its drafts are rejected by now.
local function on_device(self, row)
  local copy = {}
  for name, value in pairs(row) do copy[name] = value end
  local before = self.last[row.id]
  if before and before.number > self.complete and before.epoch == row.epoch then
    copy.computed = row.computed - before.rejected
    copy.accepted = self.accepts(copy)
  end
  return copy
end

local function run(self, step, rows, where)
  local seen, counts = {}, self.driver:read(self.counts, self.num_counts)
  for n, row in ipairs(rows) do
    local copy = on_device(self, row)
    seen[n] = copy
    counts[row.table_row + 1] = row.drafts >= 0 and copy.accepted + 1 or 1
    self.last[row.id] = { number = step.number, epoch = row.epoch, rejected = copy.used - copy.accepted }
  end
  self.layers_run(self, step, seen, where)
  self.driver:write(self.counts, counts)
end

--- Memory of n counts that nobody has written yet: any counts of a builder with so many drafts.
function M.memory(driver, n, num_spec)
  local counts, memory = {}, driver:int32(n)
  for k = 1, n do counts[k] = 1 + math.random(0, num_spec) end
  driver:write(memory, counts)
  return memory
end

--- A kernel for the engine. accepts(row): how many drafts of a row are right.
---@return table kernel
function M.new(engine, tokens, driver, counts, n, accepts)
  local self = layer_kernel.new(engine, tokens, {})
  self.driver, self.counts, self.num_counts, self.accepts = driver, counts, n, accepts
  self.last, self.complete, self.layers_run = {}, 0, self.run
  self.run = run
  return self
end

return M
