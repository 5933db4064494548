-- C objects that Lua frees, by close() or by the collector: exactly once, and the owner drops its pointer.
-- When a VM ends, the finalizers of all cdata run first; a __gc that comes after them may still call methods
-- of a builder, and must find it closed.
local ffi = require "ffi"

local WEAK = { __mode = "v" }

local M = {}

--- A pointer that the collector frees once it is unreachable.
---@param pointer ffi.cdata*
---@param free function takes the pointer
---@param owner table holds the pointer; not kept alive
---@param forget function takes the owner and the pointer; leads to no owner itself
---@return ffi.cdata* pointer
---@return function release takes the pointer, frees it at once; later calls do nothing
function M.new(pointer, free, owner, forget)
  -- The finalizer must not lead to the pointer, or the pointer would live forever.
  local weak, freed = setmetatable({ owner }, WEAK), false
  local function finalize(dead)
    if freed then return end
    freed = true
    if weak[1] then forget(weak[1], dead) end
    free(dead)
  end
  local function release(live)
    finalize(ffi.gc(live, nil)) -- a VM that ends has no finalizers to take away, hence `freed`
  end
  return ffi.gc(pointer, finalize), release
end

return M
