-- A builder and its batch at a time, for the `it` of a describe.
local gdn = require "gdnmeta"

---@param after_each function of busted
---@return function open (options): closes the pair before; returns builder, batch
---@return function close
return function(after_each)
  local builder, batch
  local function close()
    if batch then batch:close() end
    if builder then builder:close() end
    builder, batch = nil, nil
  end
  after_each(close)
  return function(options)
    close()
    builder = assert(gdn.builder(options))
    batch = assert(builder:batch())
    return builder, batch
  end, close
end
