-- The policy of an engine, from a file that is read again when its text changes. The last text that was good
-- outlives the worker: one that begins while the file is broken goes on with it.
local gdn = require "gdnmeta"
local read = require("examples.nginx.regular_file").read

local PolicyFile = {}
PolicyFile.__index = PolicyFile

local M = {}

local function is_file(what) return what:find "[/\\]" ~= nil or what:find "%.lua$" ~= nil end

-- What a policy raised, as a piece of one line of the log.
local function quoted(message) return (tostring(message):sub(1, 500):gsub("%c", " ")) end

local function memory() return ngx.shared.serve end

local function remember(path, text)
  local ok, problem = memory():set("policy " .. path, text)
  if not ok then ngx.log(ngx.WARN, "policy ", path, " will not outlive this worker: ", problem) end
end

-- The text that was read is checked: the file itself may have changed since, or be unreadable.
local function policy_of(path, text) return gdn.policy(path, { source = text }) end

--- What an engine begins with: the file's policy, else the last good one of it, else fcfs.
---@param what string a path, or the name of a shipped policy
---@return table first { policy, text and problem of the reading, refused: why it is not the file's }
function M.first(what)
  local first = {}
  if not is_file(what) then
    first.policy, first.refused = gdn.policy(what)
    first.policy = first.policy or "fcfs"
    return first
  end
  first.text, first.problem = read(what)
  first.refused = first.problem
  if first.text then first.policy, first.refused = policy_of(what, first.text) end
  if first.policy then
    remember(what, first.text)
  else
    local good = memory():get("policy " .. what)
    first.policy = good and policy_of(what, good) or "fcfs"
  end
  return first
end

--- Take up the file if it has changed. A file that is refused leaves the policy as it was.
function PolicyFile:look()
  if not self.watched then return end
  local text, problem = read(self.path)
  if text == self.text and problem == self.problem then return end
  self.text, self.problem = text, problem
  local policy
  if text then policy, problem = policy_of(self.path, text) end
  if policy then policy, problem = self.engine:set_policy(policy) end
  if policy then
    self.loads, self.refused = self.loads + 1, nil
    remember(self.path, text)
    ngx.log(ngx.NOTICE, "policy ", self.path, " loaded")
  else
    self:refuse(problem)
  end
end

function PolicyFile:refuse(problem)
  self.refusals, self.refused = self.refusals + 1, problem
  ngx.log(ngx.ERR, "policy ", self.path, " refused, the old one stays: ", quoted(problem))
end

--- Log what went wrong in the policy since the last call, the latest of it.
function PolicyFile:report()
  local failed = self.engine.stats.failures
  if failed == self.reported then return end
  local failures = self.engine:failures()
  local latest = failures[#failures]
  ngx.log(ngx.ERR, "policy ", latest.policy, " failed ", failed - self.reported, " times, at last in ",
    latest.hook, ": ", quoted(latest.message))
  self.reported = failed
end

--- engine: runs the policy of `first`, which first() gave for `what`.
function M.new(engine, what, first)
  local self = setmetatable({
    engine = engine, path = what, watched = is_file(what), text = first.text, problem = first.problem,
    loads = first.refused and 0 or 1, refusals = 0, reported = 0,
  }, PolicyFile)
  if first.refused then self:refuse(first.refused) end
  return self
end

return M
