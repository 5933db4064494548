-- Metadata of Gated-DeltaNet layers, step by step: the face of the library.
local M = {
  _VERSION = "0.1.0",
  builder = require("gdnmeta.builder").new,
  reorder = require("gdnmeta.reorder"),
}

-- Rooms that a host may never enter are opened on first use.
local LAZY = { engine = true, policy = true, sim = true }

return setmetatable(M, {
  __index = function(self, name)
    if LAZY[name] then
      local room = require("gdnmeta." .. name)
      rawset(self, name, room)
      return room
    end
  end,
})
