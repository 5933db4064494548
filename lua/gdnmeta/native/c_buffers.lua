-- Growing C memory, one block a name, for arrays that are handed to the core. It comes from malloc,
-- where sanitizers and valgrind can see a read past its end; memory of the VM hides that.
local ffi = require "ffi"
local libc = require "gdnmeta.native.libc"
local owned = require "gdnmeta.native.owned"

local int32_t = ffi.typeof "int32_t *"

local function free(block) libc.libc_free(block) end

local function forget(self, dead)
  for name, block in pairs(self.blocks) do
    if block == dead then self.blocks[name] = nil end
  end
end

local CBuffers = {}
CBuffers.__index = CBuffers

--- A block of at least `bytes` bytes; what it held before is lost when it has to grow.
---@return ffi.cdata* pointer void *, valid until the name's block grows or the buffers are closed
function CBuffers:bytes(name, bytes)
  local block = self.blocks[name]
  if block and self.sizes[name] >= bytes then return block end
  local grown = libc.libc_malloc(math.max(bytes, 1))
  if grown == nil then error(("gdnmeta: no memory for %d bytes of %s"):format(bytes, name), 0) end
  if block then self.releases[name](block) end
  self.blocks[name], self.releases[name] = owned.new(grown, free, self, forget)
  self.sizes[name] = bytes
  return grown
end

---@return ffi.cdata* pointer int32_t *
function CBuffers:int32(name, length)
  return ffi.cast(int32_t, self:bytes(name, 4 * length))
end

function CBuffers:close()
  for name, block in pairs(self.blocks) do
    self.releases[name](block)
  end
end

local M = {}

function M.new()
  return setmetatable({ blocks = {}, sizes = {}, releases = {} }, CBuffers)
end

return M
