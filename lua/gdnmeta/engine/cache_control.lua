--- The state cache of a running engine: other hooks for it, and what it holds. These are methods of the
--- engine.
local lib = require "gdnmeta.native"
local cache_hooks = require "gdnmeta.engine.hooks.cache_hooks"
local change_rules = require "gdnmeta.engine.change_rules"
local cache_option = require "gdnmeta.engine.cache_option"
local printed = require "gdnmeta.native.printed"

local EINVAL = tonumber(lib.GDN_EINVAL)
local CACHED = printed.figures("Cached", { "name", "states", "slots", "host_states", "kv_blocks", "evicted",
                                           "unused" })

local Engine = {}

--- Another cache decides from now on which states are left, kept and evicted. What is kept stays.
---@param what string|table|nil as the option `cache`; nil: the built-in one
---@return boolean|nil ok
---@return string? message
---@return integer? code
function Engine:set_cache(what)
  self = change_rules.change(self, "set_cache")
  if not self.prefix then return nil, "set_cache wants the option hash_block_size", EINVAL end
  local made, message
  if type(what) ~= "nil" then
    made, message = cache_option.load(what, self.options.host_slots > 0)
    if not made then return nil, message, EINVAL end
    change_rules.again(self, "set_cache") -- a metamethod of the cache may have closed it
  end
  local o, r = self.options, self.requests
  self.prefix.hooks = made and cache_hooks.new(self, made, o, o.hash_block_size) or false
  for _, i in pairs(r.index) do
    r.cuts[i], r.asked_to[i], r.matched[i] = nil, -1, -1
  end
  return true
end

--- What the state cache holds now, and what left it.
---@return table|nil cache { states (on the device), slots, host_states, kv_blocks, evicted,
--- unused (states that left and were never read), name }; nil without hash_block_size
function Engine:cached()
  self = change_rules.look(self, "cached")
  local prefix = self.prefix
  if not prefix then return nil end
  local index = prefix.index:stats()
  return setmetatable({
    states = index.states, host_states = index.host_states, slots = index.states * prefix.groups,
    kv_blocks = index.blocks * prefix.per_block, evicted = index.states_used + index.states_unused,
    unused = index.states_unused, name = prefix.hooks and prefix.hooks.cache.name or "built in",
  }, CACHED)
end

return Engine
