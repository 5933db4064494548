-- Pools of states that a host passes: pointers, arrays and DLPack tensors as C wants them, and long enough
-- where their length is known. A pointer's is not.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local array_of = require "gdnmeta.array_of"

local MOST = tonumber(lib.GDN_MAX_POOLS)

local pools_t, void_p, char_p = array_of "void *", ffi.typeof "void *", ffi.typeof "char *"
local EXPORTS = { ffi.typeof "gdn_dlpack *", ffi.typeof "gdn_dlpack_unversioned *" }
local tensor_p, tensor_t = ffi.typeof "gdn_dl_tensor *", ffi.typeof "gdn_dl_tensor"

local M = {}

local function dl_tensor(value)
  for _, export in ipairs(EXPORTS) do
    if ffi.istype(export, value) then return value.dl_tensor end
  end
  if ffi.istype(tensor_p, value) or ffi.istype(tensor_t, value) then return value end
end

-- Bytes that a tensor spans from its first element on.
local function tensor_bytes(t)
  local last, dense = 0, 1
  for i = t.ndim - 1, 0, -1 do
    local n = tonumber(t.shape[i])
    if n == 0 then return 0 end
    last = last + (n - 1) * (t.strides ~= nil and tonumber(t.strides[i]) or dense)
    dense = dense * n
  end
  return (last + 1) * math.ceil(t.bits * t.lanes / 8)
end

-- An array's size; a pointer, also one to arrays, has none.
local function array_bytes(value)
  local name = tostring(ffi.typeof(value))
  return name:find "%[" and not name:find "%*" and ffi.sizeof(value) or math.huge
end

-- A pool's first byte and its bytes, or what is wrong with it. A tensor by DLPack says which device it is on.
local function memory(name, value, on_device)
  if value == nil or not args.pointer(value) then
    return nil, args.wrong(name, value, "a pointer or a DLPack tensor")
  end
  local tensor = dl_tensor(value)
  if not tensor then
    return ffi.cast(void_p, value), type(value) == "cdata" and array_bytes(value) or math.huge
  end
  local wanted = on_device and lib.GDN_DL_CUDA or lib.GDN_DL_CPU
  if tensor.device_type ~= wanted then
    return nil, ("%s is a tensor on device type %d, want %d (%s)"):format(name, tensor.device_type, wanted,
      on_device and "CUDA" or "the CPU")
  end
  return ffi.cast(void_p, ffi.cast(char_p, tensor.data) + tensor.byte_offset), tensor_bytes(tensor)
end

--- One pool or a list of them.
---@param given any
---@param on_device boolean the builder's
---@param slots integer of the pool
---@param stride number bytes from a slot to the next
---@param span number bytes that the elements of a slot span
---@return ffi.cdata*|nil pools void *[n]
---@return integer|string n or what is wrong
function M.read(given, on_device, slots, stride, span)
  local list, named, n = given, "pool[%d]", 1
  if type(given) == "table" then n = args.length(given) else list, named = { given }, "pool" end
  if n < 1 or n > MOST then return nil, ("pool has %d elements, want 1 .. %d"):format(n, MOST) end
  local pools, least = pools_t(n), (slots - 1) * stride + span
  for i = 1, n do
    local name = named:format(i)
    local at, bytes = memory(name, rawget(list, i), on_device)
    if not at then return nil, bytes end
    if bytes < least then
      return nil, ("%s has %.15g bytes, want at least %.15g, those of num_slots = %d slots"):format(
        name, bytes, least, slots)
    end
    pools[i - 1] = at
  end
  return pools, n
end

return M
