-- The bytes of one answer, from the step loop to the request's handler.
local semaphore = require "ngx.semaphore"

local Stream = {}
Stream.__index = Stream

--- More bytes; reason: why they are the last ones. Called by the step loop, which never waits for a client.
---@param bytes string
---@param reason string|nil
---@param tokens integer|nil that the bytes are
function Stream:put(bytes, reason, tokens)
  self.count = self.count + (tokens or 0)
  self.pending[#self.pending + 1] = bytes
  self.finished = reason or self.finished
  if self.ready:count() < 1 then self.ready:post() end
end

--- There will be no more bytes, for a reason that is none of the model's.
---@param problem string
---@param status integer HTTP
function Stream:fail(problem, status)
  self.problem, self.status = problem, status
  if self.ready:count() < 1 then self.ready:post() end
end

--- All bytes since the last call, once there are any.
---@param seconds number to wait at most
---@return string|nil bytes
---@return string|nil reason why they are the last ones; without bytes, what went wrong, or nil: nothing yet
---@return integer|nil status HTTP, when something went wrong
function Stream:wait(seconds)
  if #self.pending == 0 and not self.finished and not self.problem then self.ready:wait(seconds) end
  if #self.pending == 0 and not self.finished then return nil, self.problem, self.status end
  local bytes = table.concat(self.pending)
  self.pending = {}
  return bytes, self.finished
end

--- Tokens of the prompt whose state was there.
---@return integer
function Stream:cached() return self.record and self.record.cached or 0 end

local M = {}

function M.new(id)
  return setmetatable({ id = id, pending = {}, count = 0, ready = semaphore.new() }, Stream)
end

return M
