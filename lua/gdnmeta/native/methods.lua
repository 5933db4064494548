-- The object of a method call. If it is not of the class, the call had `.` instead of `:`. That,
-- and a closed object, raise at the line of the method's caller; methods themselves call these functions.
local args = require "gdnmeta.native.args"
local old_names = require "gdnmeta.native.old_names"

local Builder, Batch, Engine, Step = {}, {}, {}, {}

-- Metatables stand here because the methods of a class stand in several files.
local M = { Builder = Builder, Batch = Batch, Engine = Engine, Step = Step }

-- What an object has no field for: a mistake at the line that reads or sets it. A field that may be nil is in
-- `optional`, and is set without asking.
---@param class string
---@param metatable table of the class, whose methods it holds
---@param optional table|nil name -> true
---@param old table|nil name of the release before -> { what to write instead, function(self) value }
---@param public table|nil name -> true: what may be read of an object whose fields are in `private`
function M.strict(class, metatable, optional, old, public)
  optional = optional or {}
  local function missing(_, name)
    if not optional[name] then error(("gdnmeta.%s: no field %s"):format(class, args.show(name)), 2) end
  end
  if old then
    function metatable.__index(self, name)
      local value = rawget(metatable, name)
      if value ~= nil then return value end
      if public and public[name] then return self.private[name] end
      local found = old[name]
      if not found then return missing(self, name) end
      old_names.once(("%s.%s"):format(class:lower(), name), ("%s.%s"):format(class:lower(), found[1]))
      return found[2](self)
    end
  else -- methods are then found without a call
    metatable.__index = setmetatable(metatable, { __index = missing })
  end
  function metatable.__newindex(self, name, value)
    if not optional[name] and rawget(metatable, name) == nil then -- a method may be set over for one object
      error((public and public[name] and "gdnmeta.%s: %s is read-only"
             or "gdnmeta.%s: no field %s to set"):format(class, args.show(name)), 2)
    end
    rawset(self, name, value)
  end
end

--- That a method was called with a dot.
---@param class string
---@param method string
---@param level integer|nil of the method's caller, as for error; default 3
function M.colon(class, method, level)
  error(("gdnmeta.%s:%s: call it with a colon"):format(class, method), level or 3)
end

local OF_A_CACHE = { checkpoints = true, keep = true, worth = true, demote = true }

--- Whose callback runs, in the words of a refusal.
---@param hook string view.lua's cursor.hook
function M.caller(hook)
  if hook == "stopwatch" then return "the stopwatch" end
  return (OF_A_CACHE[hook] and "the cache's hook " or "the policy's hook ") .. hook
end

---@param method string the one called, for the message
---@return ffi.cdata* handle gdn_builder
function M.builder(self, method)
  if getmetatable(self) ~= Builder then M.colon("Builder", method, 4) end
  return self.handle or error("gdnmeta.Builder: closed", 3)
end

---@param method string
---@return ffi.cdata* rows gdn_batch
function M.batch(self, method)
  if getmetatable(self) ~= Batch then M.colon("Batch", method, 4) end
  return rawget(self, "rows") or error("gdnmeta.Batch: closed", 3)
end

return M
