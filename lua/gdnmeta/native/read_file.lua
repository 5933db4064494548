-- All of a file, unless it is longer than it may be: what comes from a device has no end.
local foreign_text = require "gdnmeta.native.foreign_text"

local BLOCK = 65536
local LONGEST = 2^28 -- bytes of a file of data

---@param path string
---@param most integer|nil bytes, default 256 MiB
---@return string|nil text, string? message names the path
return function(path, most)
  most = most or LONGEST
  local file, why = io.open(path, "rb")
  if not file then return nil, foreign_text.message(why) end
  local parts, length, block = {}, 0, ""
  while block and length <= most do
    block, why = file:read(BLOCK)
    parts[#parts + 1], length = block, length + #(block or "")
  end
  file:close()
  local name = foreign_text.long(path)
  if why then return nil, name .. ": " .. why end
  if length > most then return nil, ("%s: longer than the %d bytes that it may have"):format(name, most) end
  return table.concat(parts)
end
