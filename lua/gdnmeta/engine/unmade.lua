-- An engine whose arrays cannot be made: LuaJIT raises what gdn.engine is to return.
local lib = require "gdnmeta.native"

local ENOMEM = tonumber(lib.GDN_ENOMEM)

-- What LuaJIT says where there is no memory, and of an array of 2 GiB or more.
local UNMADE = { "not enough memory", "size of C type is unknown or too large" }

-- Options that arrays are sized by, beside the builder's.
local SIZES = { "max_model_len", "kv_blocks", "kv_block_size", "hash_block_size", "host_slots" }

local function is_of_memory(raised)
  for _, words in ipairs(UNMADE) do
    if type(raised) == "string" and raised:find(words, 1, true) then return true end
  end
  return false
end

local M = {}

--- What `make(o)` returns, or in place of an error that is about memory what gdn.engine returns then. Other
--- errors are raised once more, after `undo(o)` as after any failure.
---@return table|nil made, string? message, integer? code
function M.call(make, undo, o)
  local ok, made, message, code = pcall(make, o)
  if ok and made then return made end
  undo(o)
  if ok then return nil, message, code end
  if not is_of_memory(made) then error(made, 0) end
  local sizes = { ("max_requests = %d"):format(o.config.max_requests) }
  for _, name in ipairs(SIZES) do
    if o[name] then sizes[#sizes + 1] = ("%s = %d"):format(name, o[name]) end
  end
  return nil, "no memory for an engine of " .. table.concat(sizes, ", "), ENOMEM
end

return M
