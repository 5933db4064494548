-- What a method was called on: where it is no object of the class, somebody wrote a dot for the colon. That,
-- and a closed object, raise at the line of the method's caller; methods themselves call these functions.
local Builder, Batch = {}, {}

-- Metatables stand here because the methods of a class stand in several files.
local M = { Builder = Builder, Batch = Batch }

--- That a method was called with a dot.
---@param class string
---@param method string
---@param level integer|nil of the method's caller, as for error; default 3
function M.colon(class, method, level)
  error(("gdnmeta.%s:%s: call it with a colon"):format(class, method), level or 3)
end

---@param method string who is called, for the message
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
