-- The policy or the state cache of an engine, from a file that is read again when its text changes. The last
-- text that was good outlives the worker: one that begins while the file is broken goes on with it.
local gdn = require "gdnmeta"
local read = require("examples.nginx.regular_file").read

-- How hooks are loaded and taken up, and what decides without them: nil, the built-in cache.
local KINDS = {
  policy = { load = gdn.policy, change = "set_policy", default = "fcfs" },
  cache = { load = gdn.cache, change = "set_cache" },
}

local HooksFile = {}
HooksFile.__index = HooksFile

local M = {}

local function is_file(what) return what:find "[/\\]" ~= nil or what:find "%.lua$" ~= nil end

-- What hooks raised, as a piece of one line of the log.
local function quoted(message) return (tostring(message):sub(1, 500):gsub("%c", " ")) end

local function memory() return ngx.shared.serve end

local function remember(kind, path, text)
  local ok, problem = memory():set(kind .. " " .. path, text)
  if not ok then ngx.log(ngx.WARN, kind, " ", path, " will not outlive this worker: ", problem) end
end

-- The text that was read is checked: the file itself may have changed since, or be unreadable.
local function made_of(kind, path, text) return KINDS[kind].load(path, { source = text }) end

--- What an engine begins with: the file's hooks, else the last good ones of it, else the default.
---@param kind string "policy" or "cache"
---@param what string a path, or the name of a shipped one
---@return table first { hooks, text and problem of the reading, refused: why they are not the file's }
function M.first(kind, what)
  local first, default = {}, KINDS[kind].default
  if not is_file(what) then
    first.hooks, first.refused = KINDS[kind].load(what)
    first.hooks = first.hooks or default
    return first
  end
  first.text, first.problem = read(what)
  first.refused = first.problem
  if first.text then first.hooks, first.refused = made_of(kind, what, first.text) end
  if first.hooks then
    remember(kind, what, first.text)
  else
    local good = memory():get(kind .. " " .. what)
    first.hooks = good and made_of(kind, what, good) or default
  end
  return first
end

--- Take up the file if it has changed. A file that is refused leaves the hooks as they were.
function HooksFile:look()
  if not self.watched then return end
  local text, problem = read(self.path)
  if text == self.text and problem == self.problem then return end
  self.text, self.problem = text, problem
  local hooks
  if text then hooks, problem = made_of(self.kind, self.path, text) end
  if hooks then hooks, problem = self.engine[KINDS[self.kind].change](self.engine, hooks) end
  if hooks then
    self.loads, self.refused = self.loads + 1, nil
    remember(self.kind, self.path, text)
    ngx.log(ngx.NOTICE, self.kind, " ", self.path, " loaded")
  else
    self:refuse(problem)
  end
end

function HooksFile:refuse(problem)
  self.refusals, self.refused = self.refusals + 1, problem
  ngx.log(ngx.ERR, self.kind, " ", self.path, " refused, the old one stays: ", quoted(problem))
end

--- engine: runs the hooks of `first`, which first() gave for the same kind and `what`.
function M.new(kind, engine, what, first)
  local self = setmetatable({
    kind = kind, engine = engine, path = what, watched = is_file(what), text = first.text,
    problem = first.problem, loads = first.refused and 0 or 1, refusals = 0,
  }, HooksFile)
  if first.refused then self:refuse(first.refused) end
  return self
end

--- Log what went wrong in hooks since `reported` failures, the latest of it.
---@param engine table
---@param reported integer
---@return integer failures so far
function M.report(engine, reported)
  local failed = engine.stats.failures
  if failed == reported then return failed end
  local latest
  for _, record in ipairs((engine:failures())) do
    if not latest or record.step >= latest.step then latest = record end
  end
  local whose = latest.policy:find "^cache " and latest.policy or "policy " .. latest.policy
  ngx.log(ngx.ERR, whose, " failed ", failed - reported, " times, at last in ", latest.hook, ": ",
    quoted(latest.message))
  return failed
end

return M
