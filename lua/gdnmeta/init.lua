--- Metadata of Gated-DeltaNet layers, step by step: the face of the library.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local old_names = require "gdnmeta.native.old_names"

local M = {
  _VERSION = require "gdnmeta.native.version",
  builder = require("gdnmeta.builder").new,
  builder_bytes = require("gdnmeta.builder").bytes,
  bucket = require("gdnmeta.builder").bucket,
  reorder = require("gdnmeta.reorder"),
  hash_blocks = require("gdnmeta.identity").hash_blocks,
  hash_chain = require("gdnmeta.identity").hash_chain,
  array_of = require("gdnmeta.array_of"),
  STOP = 1, LENGTH = 2, -- step.finish: why an answer ended
}

-- The codes that follow nil and a message; gdnmeta.h documents them.
for _, name in ipairs { "EINVAL", "ENOMEM", "ECAP", "EGUARD", "EDEVICE" } do
  M[name] = tonumber(lib["GDN_" .. name])
end

-- Modules that most hosts never use are loaded on first use.
local LAZY = { cache = true, engine = true, metrics = true, worker = true,
               policy = true, record = true, reference = true, sim = true }

return setmetatable(M, {
  __tostring = function(self) return "gdnmeta " .. self._VERSION end,
  __index = function(self, name)
    if LAZY[name] then
      local module = require("gdnmeta." .. name)
      rawset(self, name, module)
      return module
    end
    if name == "on_deprecated" then return old_names.handler or nil end
    error("gdnmeta: no field " .. args.show(name), 2)
  end,
  -- on_deprecated = f(message, old, new) takes the warnings about old names, one each, instead of stderr.
  __newindex = function(self, name, value)
    if name ~= "on_deprecated" then return rawset(self, name, value) end
    if value ~= nil and type(value) ~= "function" then
      error("gdnmeta.on_deprecated = " .. args.show(value) .. ", want a function or nil", 2)
    end
    old_names.handler = value or false
  end,
})
