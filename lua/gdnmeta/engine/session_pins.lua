--- Sessions of the state cache, for hosts. These are methods of the engine.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local change_rules = require "gdnmeta.engine.change_rules"
local printed = require "gdnmeta.native.printed"

local EINVAL = tonumber(lib.GDN_EINVAL)
local SESSION = printed.figures("Session", { "session", "requests", "tokens", "pinned", "age" })

local Engine = {}

local function check(self, method, session)
  if type(session) ~= "string" and not (type(session) == "number" and session == session) then
    error(("gdnmeta.Engine:%s: %s"):format(method, args.wrong("session", session, "a number or a string")), 3)
  end
  if self.prefix then return nil end
  return ("%s wants the engine's option hash_block_size"):format(method)
end

--- Keep the newest state of a session, and whatever newer one takes its place, until unpin(): it is not
--- evicted. A session that has no state yet is promised one.
---@param session any what requests were submitted with
---@return boolean|nil ok nil: there is no such session, or the pin would leave too little to requests
---@return string? message
---@return integer? code
function Engine:pin(session)
  self = change_rules.change(self, "pin")
  local problem = check(self, "pin", session)
  if problem then return nil, problem, EINVAL end
  return self.prefix:pin(session)
end

--- A session's states may be evicted again.
---@param session any
---@return boolean|nil ok nil: it is not pinned
---@return string? message
---@return integer? code
function Engine:unpin(session)
  self = change_rules.change(self, "unpin")
  local problem = check(self, "unpin", session)
  if problem then return nil, problem, EINVAL end
  return self.prefix:unpin(session)
end

--- A session as it stands now: { session, requests (that wait or run), tokens (of its newest state, 0: none),
--- pinned, age (seconds since a request of it came, left a state or left) }.
---@param session any
---@return table|nil snapshot nil: nothing is known of it
function Engine:session(session)
  self = change_rules.look(self, "session")
  if check(self, "session", session) then return nil end
  local shown = self.prefix:session(session)
  return shown and setmetatable(shown, SESSION)
end

return Engine
