-- The policy of an engine, from a file that is read again when its text changes.
local MOST = 2 ^ 20 -- bytes; nothing longer is a policy

local PolicyFile = {}
PolicyFile.__index = PolicyFile

local function read(path)
  local file, problem = io.open(path, "rb")
  if not file then return nil, problem end
  local text
  text, problem = file:read(MOST)
  file:close()
  return text or "", problem
end

-- What a policy raised, as a piece of one line of the log.
local function quoted(message) return (tostring(message):sub(1, 500):gsub("%c", " ")) end

--- Take up the file if it has changed. A file that is refused leaves the policy as it was, and is not
--- tried again before it changes.
function PolicyFile:look()
  if not self.watched then return end
  local text, problem = read(self.path)
  if text == self.text then return end
  self.text = text
  local ok
  if text then ok, problem = self.engine:set_policy(self.path) end
  if ok then
    self.loads, self.refused = self.loads + 1, nil
    ngx.log(ngx.NOTICE, "policy ", self.path, " loaded")
  else
    self.refusals, self.refused = self.refusals + 1, problem
    ngx.log(ngx.ERR, "policy ", self.path, " refused, the old one stays: ", quoted(problem))
  end
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

local M = {}

--- engine: runs `what` already, a path or the name of a shipped policy, which no file can change.
function M.new(engine, what)
  local watched = what:find "[/\\]" ~= nil or what:find "%.lua$" ~= nil
  return setmetatable({
    engine = engine, path = what, watched = watched, text = watched and read(what) or nil,
    loads = 1, refusals = 0, reported = 0,
  }, PolicyFile)
end

return M
