-- A step's batch, and the metadata that the builder makes of it.
local main_thread = require "gdnmeta.policy.contained.main_thread"
local complete_step = require "gdnmeta.engine.complete_step"
local lib = require "gdnmeta.native"
local pad_step = require "gdnmeta.engine.pad_step"
local plan_to_rows = require "gdnmeta.engine.plan_to_rows"
local watch = require "gdnmeta.engine.stopwatch"

local are_padded = require("gdnmeta.native.trace_cuts").joint()
local EGUARD = tonumber(lib.GDN_EGUARD)

local M = {}

-- Build a step. Where something wrote outside its batch, the next step has another one.
local function ask_builder(self, step, stream)
  local metadata, message, code = step.builder:build(step.batch, stream)
  if code == EGUARD then
    local builder = step == self.steps[2] and self.second_builder or self.builder
    local batch = builder:batch()
    if batch then step:renew(batch) end
  end
  return metadata, message, code
end

--- Write the committed plan into the step, and build it. Where that is refused, requests stand where they
--- stood.
---@return table|nil step, string? message, integer? code
function M.build(self, step, stream)
  local stopwatch = self.stopwatch
  local bare = stopwatch and main_thread.is_bare(self)
  local before = stopwatch and watch.read(stopwatch, self.view.cursor, bare)
  plan_to_rows.write(self, step)
  are_padded()
  local blocks, ok, metadata, message, code = self.kv_blocks, true, nil, nil, nil
  if blocks then ok, message, code = blocks:place(step, stream) end
  if ok then metadata, message, code = ask_builder(self, step, stream) end
  if not metadata then
    plan_to_rows.undo(self, step)
    step.untold = true
    return nil, message, code
  end
  if self.prefix and self.prefix.host then self.prefix.host:tell(step) end
  if stopwatch then step.build_seconds = watch.since(stopwatch, self.view.cursor, before, bare) end
  rawset(step, "metadata", metadata)
  step.in_flight, step.branches = true, pad_step.branches(metadata)
  self.in_flight, self.newest = self.in_flight + 1, step
  if self.in_flight == 1 then self.oldest = step end
  self.turn = self.turn % #self.steps + 1
  local stats = self.stats
  stats.scheduled = stats.scheduled + step.num_tokens
  stats.padding = stats.padding + step.padded_tokens - step.num_tokens
  return step
end

--- A later step in flight was built on drafts that were then rejected: build it again, before it runs.
---@return boolean|nil ok, string? message, integer? code
function M.correct(self, step)
  complete_step.correct(self, step)
  if self.device_accepted then return true end
  if self.kv_blocks then self.kv_blocks:map(step) end
  local metadata, message, code = ask_builder(self, step)
  if code == EGUARD then ask_builder(self, step) end -- on the fresh batch: what it read from the old is stale
  if not metadata then return nil, message, code end
  return true
end

return M
