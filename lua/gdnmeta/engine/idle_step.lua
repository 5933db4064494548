-- What a data-parallel rank runs that has nothing to do while others have: a bucket without rows. A method of
-- the engine.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local builders = require "gdnmeta.builder"
local buckets = require "gdnmeta.engine.decide.buckets"
local change_rules = require "gdnmeta.engine.change_rules"

local EINVAL, ECAP = tonumber(lib.GDN_EINVAL), tonumber(lib.GDN_ECAP)

local Engine = {}

local function check_size(name, value)
  if not args.integer(value, 1, args.INT32_MAX) then
    error("gdnmeta.Engine:idle_step: " .. args.wrong_integer(name, value, 1, args.INT32_MAX), 3)
  end
end

--- Build the empty step of a bucket: each row is padding, each slot the null slot, whatever the state tables
--- hold. Requests, slots and counters stay as they are; the step has no rows, and needs no `complete`.
---@param rows integer R of one of mixed_capture_sizes
---@param tokens integer T of the same one
---@param stream ffi.cdata*|lightuserdata|nil CUDA stream
---@return gdnmeta.Step|nil step reused: valid until the next step; nil when no step is free, or there is
--- no such bucket
---@return string? message
---@return integer? code
function Engine:idle_step(rows, tokens, stream)
  self = change_rules.change(self, "idle_step")
  check_size("rows", rows)
  check_size("tokens", tokens)
  if stream ~= nil and not args.pointer(stream) then
    error("gdnmeta.Engine:idle_step: " .. args.wrong("stream", stream, "nil or a pointer"), 2)
  end
  if not buckets.has(self.buckets, rows, tokens) then
    return nil, ("idle_step: rows = %d and tokens = %d, want a bucket of mixed_capture_sizes"):format(
      rows, tokens), EINVAL
  elseif self.in_flight > (self.second_builder and 1 or 0) then -- its outputs would be overwritten
    return nil, ("step %d is in flight, complete it first"):format(self.oldest.number), ECAP
  end
  -- By the builder of the next step: outputs of a step in flight are another builder's.
  local builder = self.turn == 2 and self.second_builder or self.builder -- steps may have a recorder's
  local metadata, message, code = builders.capture_bucket(builder, rows, tokens, stream)
  if not metadata then return nil, message, code end
  local step = self.rowless -- an object of its own: the next step's has news that are not told yet
  step:begin(self.step_number, self.now)
  step.builder = builder
  step.padded_rows, step.padded_tokens, step.graph = rows, tokens, "full"
  rawset(step, "metadata", metadata)
  if self.kv_blocks then
    local ok
    ok, message, code = self.kv_blocks:place(step, stream)
    if not ok then return nil, message, code end
  end
  return step
end

return Engine
