--- Metrics of an engine in Prometheus' text format, for any host.
local args = require "gdnmeta.native.args"
local lib = require "gdnmeta.native"
local observer = require "gdnmeta.metrics.observer"
local observers = require "gdnmeta.engine.observers"
local options = require "gdnmeta.metrics.options"
local page = require "gdnmeta.metrics.page"
local methods = require "gdnmeta.native.methods"

local EINVAL = tonumber(lib.GDN_EINVAL)

---@class gdnmeta.Metrics
---@field content_type string of an HTTP answer with the text
local members = {}
local metatable = {}

local measured = setmetatable({}, { __mode = "kv" }) -- private part of an engine -> its observer

members.content_type = "text/plain; version=0.0.4; charset=utf-8"

local function engine_of(self, method)
  if getmetatable(self) ~= metatable then methods.colon("Metrics", method, 4) end
  local engine = self.observer.engine
  if engine.closed then error("gdnmeta.Engine: closed", 3) end
  return engine
end

--- Everything that was counted so far. Counters of the engine's stats count from its start, the others from
--- gdn.metrics on.
---@return string
function members:text()
  engine_of(self, "text")
  return page(self.engine, self.observer, self.labels)
end

--- Count no more; the engine may get other metrics.
function members:close()
  local engine = engine_of(self, "close")
  observers.remove(engine, self.observer)
  if measured[engine] == self.observer then measured[engine] = nil end
end

function metatable.__index(_, name)
  local method = members[name]
  if method == nil then error("gdnmeta.Metrics: no field " .. args.word(name), 2) end
  return method
end

function metatable.__newindex(_, name)
  error("gdnmeta.Metrics: read-only, cannot set " .. args.word(name), 2)
end

function metatable:__tostring()
  return ("gdnmeta.Metrics(%s)"):format(tostring(self.engine))
end

--- gdn.metrics: count what happens in an engine from now on.
---@param engine table
---@param given table|nil classes: how many have series of their own, the others share "other" (16);
--- labels: of every sample, name -> text
---@return table|nil metrics text(), content_type, close()
---@return string? message
---@return integer? code
---@function metrics
local function metrics(engine, given)
  if type(engine) ~= "table" or getmetatable(engine) ~= methods.Engine then
    error("gdnmeta.metrics: want an engine of gdn.engine", 2)
  end
  local e = engine.private
  local o, problem = options.read(given)
  if not o then error("gdnmeta.metrics: " .. problem, 2) end
  if e.closed then error("gdnmeta.Engine: closed", 2) end -- perhaps by a metamethod of the options
  if measured[e] then return nil, "the engine has metrics already, close those first", EINVAL end
  local self = { engine = engine, observer = observer.new(e, o.classes), labels = o.labels }
  measured[e] = self.observer
  observers.add(e, self.observer)
  return setmetatable(self, metatable)
end

return metrics
