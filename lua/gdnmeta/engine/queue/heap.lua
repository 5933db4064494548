-- A heap of the core that the collector frees: numbers by key, of equal keys by tie.
local ffi = require "ffi"
local lib = require "gdnmeta.native"

local out_t = ffi.typeof "gdn_heap *[1]"

-- Anchors `lib`: cdata finalizers may run after every other reference to the library is gone.
local function free(heap) lib.gdn_heap_free(heap) end

--- Keys and ties of the numbers 0 .. capacity - 1 fit without further memory.
---@param capacity integer
---@return ffi.cdata*|nil heap gdn_heap *; nil: no memory
return function(capacity)
  local out = out_t()
  if lib.gdn_heap_new(capacity, out) ~= 0 then return nil end
  return ffi.gc(out[0], free)
end
