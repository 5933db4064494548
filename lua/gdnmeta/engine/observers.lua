-- Observers of an engine's events: none (false), or all of a list, through one object.
-- An observer has the methods of EVENTS. It may read the engine, and must not raise.
local EVENTS = { "arrived", "refused", "cancelled", "rejected", "planned", "completed" }

local Relay = {}
Relay.__index = Relay
for _, event in ipairs(EVENTS) do
  Relay[event] = function(self, what)
    local list = self.list
    for n = 1, #list do
      local observer = list[n]
      observer[event](observer, what)
    end
  end
end

local function set(engine, list)
  engine.observers = list
  engine.observer = next(list) and setmetatable({ list = list }, Relay) or false
end

local M = {}

--- From now on it is called.
function M.add(engine, observer)
  local list = { unpack(engine.observers) }
  list[#list + 1] = observer
  set(engine, list)
end

--- From now on it is not.
function M.remove(engine, observer)
  local list = {}
  for _, other in ipairs(engine.observers) do
    if other ~= observer then list[#list + 1] = other end
  end
  set(engine, list)
end

return M
