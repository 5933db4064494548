-- Finds libgdnmeta.so wherever package.cpath would find a C module, or where $GDNMETA_LIB says, and
-- refuses a library whose ABI is not the one that cdef.lua was generated from.
local ffi = require "ffi"

-- A module reloader comes here twice in one VM, and LuaJIT refuses to declare a type again.
if not pcall(ffi.typeof, "gdn_config") then require "gdnmeta.native.cdef" end

local FILE = "libgdnmeta.so"

local function candidates()
  local named = os.getenv "GDNMETA_LIB"
  if named then return { named } end
  local paths = {}
  for template in package.cpath:gmatch "[^;]+" do
    local folder = template:match "^(.-)%?"
    if folder then paths[#paths + 1] = folder .. FILE end
  end
  return paths
end

local function open(path)
  local loaded, lib = pcall(ffi.load, path)
  if not loaded then return nil, lib end
  local is_ours, abi = pcall(function() return tonumber(lib.gdn_abi()) end)
  if not is_ours then return nil, path .. ": not a gdnmeta library" end
  local wanted = tonumber(ffi.C.GDN_ABI)
  if abi ~= wanted then
    return nil, ("%s: has ABI %d, these bindings want %d"):format(path, abi, wanted)
  end
  return lib
end

local tried = {}
for _, path in ipairs(candidates()) do
  local lib, why = open(path)
  if lib then return lib end
  tried[#tried + 1] = why
end
error(("gdnmeta: no usable %s; tried\n  %s"):format(FILE, table.concat(tried, "\n  ")), 0)
