-- Memory of a CUDA device as bring_steps.lua wants it: an address, and how to write and read it.
local ffi = require "ffi"
local array_of = require "gdnmeta.array_of"

local byte_array = array_of "uint8_t"

--- size bytes, until the driver frees all.
return function(driver, stream, size)
  local address = driver:int32(math.ceil(size / 4))
  local number = ffi.cast("uint64_t", address)
  return {
    address = address,
    write = function(bytes, n)
      driver:call("cuMemcpyHtoDAsync_v2", number, bytes, n, stream)
      driver:call("cuStreamSynchronize", stream)
    end,
    read = function(n)
      local bytes = byte_array(n)
      driver:call("cuMemcpyDtoHAsync_v2", bytes, number, n, stream)
      driver:call("cuStreamSynchronize", stream)
      return bytes
    end,
  }
end
