-- The text of an answer from its bytes, as they come: cut before a stop text, and UTF-8.
local stop = require "examples.nginx.stop"
local utf8 = require "examples.nginx.utf8"

local Text = {}
Text.__index = Text

--- The text that is certain now and was not returned yet.
---@param bytes string
---@param reason string|nil why the bytes are the last ones
---@return string
function Text:feed(bytes, reason)
  local kept, cut = self.cutter:feed(bytes, reason ~= nil)
  return self.decoder:feed(kept, cut or reason ~= nil)
end

local M = {}

---@param stops string[]
function M.new(stops)
  return setmetatable({ cutter = stop.cutter(stops), decoder = utf8.decoder() }, Text)
end

return M
