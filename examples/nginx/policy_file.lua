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

-- The policy of a text that is not in its file any more.
local function from_text(text, name)
  local path = os.tmpname()
  local file = io.open(path, "wb")
  local ok = file and file:write(text)
  if file then file:close() end
  local policy = ok and gdn.policy(path, { name = name })
  os.remove(path)
  return policy
end

--- What an engine begins with: the file's policy, else the last good one of it, else fcfs.
---@param what string a path, or the name of a shipped policy
---@return table|string|nil policy
---@return string? problem the file's; also the first worker's, which has nothing else
function M.first(what)
  if not is_file(what) then return gdn.policy(what) end
  local text, problem = read(what)
  local policy
  if text then policy, problem = gdn.policy(what) end
  if policy then
    remember(what, text)
    return policy
  end
  local good = memory():get("policy " .. what)
  return good and from_text(good, what) or "fcfs", problem
end

--- Take up the file if it has changed. A file that is refused leaves the policy as it was.
function PolicyFile:look()
  if not self.watched then return end
  local text, problem = read(self.path)
  if text == self.text and problem == self.problem then return end
  self.text, self.problem = text, problem
  local ok
  if text then ok, problem = self.engine:set_policy(self.path) end
  if ok then
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

--- engine: runs what first() gave for `what`, with the problem that it gave.
function M.new(engine, what, problem)
  local self = setmetatable({
    engine = engine, path = what, watched = is_file(what), loads = problem and 0 or 1,
    refusals = 0, reported = 0,
  }, PolicyFile)
  if self.watched then self.text, self.problem = read(what) end
  if problem then self:refuse(problem) end
  return self
end

return M
