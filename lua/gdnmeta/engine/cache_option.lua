-- The engine's options `cache` and `host_slots`.
local caches = require "gdnmeta.cache"

local M = {}

--- The hooks of a state cache.
---@param what string|table
---@param has_host boolean is there a host tier?
---@return gdnmeta.Cache|nil cache, string? message
function M.load(what, has_host)
  local ok, made, message = pcall(caches, what)
  if not ok then return nil, (tostring(made):gsub("^.-gdnmeta%.cache: ", "cache: ")) end
  if made and made.demote and not has_host then
    return nil, ("cache %s has demote, which wants the option host_slots"):format(made.name)
  end
  return made, message
end

--- `cache` becomes the hooks that it names.
---@param o table options
---@return string|nil problem
function M.problem(o)
  local is_given = type(o.cache) ~= "nil"
  local user = is_given and "cache" or o.host_slots > 0 and "host_slots"
  if user and not o.hash_block_size then return user .. " wants hash_block_size" end
  if not is_given then return nil end
  local made, message = M.load(o.cache, o.host_slots > 0)
  o.cache = made
  return message
end

return M
