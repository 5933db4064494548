--- What an engine's state cache holds, for hosts to read: its figures, its nodes, and the tree as text.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local change_rules = require "gdnmeta.engine.change_rules"
local draw_cache = require "gdnmeta.engine.draw_cache"
local methods = require "gdnmeta.native.methods"
local printed = require "gdnmeta.native.printed"

local node_t = ffi.typeof "gdn_index_node"
local STATS = printed.figures("CacheStats")
local NODE = printed.figures("Node", { "id", "depth", "tokens", "length", "hits", "refs", "children", "state",
                                       "state_hits", "on_host", "pinned", "age", "created" })

---@class gdnmeta.StateCache
---@field name string of the cache that decides; "built in": none was given
---@field block_size integer tokens of a block
---@field engine gdnmeta.Engine
local StateCache = {}
methods.strict("StateCache", StateCache, nil, {}, nil)

-- The name is that of the moment: engine:set_cache() changes it.
local strict = StateCache.__index
function StateCache.__index(self, name)
  if name ~= "name" then return strict(self, name) end
  local prefix = self.engine.private.prefix
  return prefix.hooks and prefix.hooks.cache.name or "built in"
end

local function index_of(self, method)
  if getmetatable(self) ~= StateCache then methods.colon("StateCache", method, 4) end
  local private = change_rules.open(self.engine, 4)
  return private.prefix.index, private
end

-- Names of the index's own figures.
local OWN = {
  nodes = "nodes", blocks = "blocks", states = "states", host_states = "host_states",
  pinned_states = "pinned_states", states_made = "states_published", states_evicted = "states_evicted",
  states_moved = "states_moved", blocks_evicted = "blocks_evicted", evicted_read = "states_used",
  evicted_unread = "states_unused",
}

--- Figures since the start, and what is there now: nodes, blocks, states, host_states, pinned_states now;
--- states_made, states_evicted (evicted_read: read once at least, evicted_unread: never), states_moved,
--- blocks_evicted; hits (requests that began with a state) and cached_tokens, their tokens; host_slots (the
--- option), and copies that steps told: demoted, restored; without_identity: requests that came with neither
--- blocks nor tokens; untold_text: those that filled blocks of which complete() was not told, and left no
--- state there.
---@param into table|nil filled where it is given
---@return table
function StateCache:stats(into)
  local index, private = index_of(self, "stats")
  local figures, t = index:stats(), into or setmetatable({}, STATS)
  for name, own in pairs(OWN) do t[name] = figures[own] end
  t.hits, t.cached_tokens = private.stats.hits, private.stats.cached_tokens
  local tier = private.prefix.host
  t.host_slots = tier and tier.slots or 0
  t.without_identity, t.untold_text = private.prefix.without_identity, private.prefix.untold_text
  t.demoted, t.restored = tier and tier.demotions or 0, tier and tier.restores or 0
  return t
end

--- Does the cache decide? A hook that fails is contained, and the built-in cache goes on.
---@return boolean enabled false: it failed in several steps in a row, and was switched off
---@return table<string, integer> never hooks that failed at every call, and how often
function StateCache:health()
  local _, private = index_of(self, "health")
  local hooks = private.prefix.hooks
  if not hooks then return true, {} end
  return not hooks.guard.disabled, hooks.guard:never()
end

-- A node as a host sees it.
local function shown(c, node, depth, now, block_size)
  return setmetatable({
    id = node, depth = depth, tokens = c.tokens, length = c.length * block_size, hits = c.hits,
    refs = c.refs, children = c.children, state = c.num_states > 0, state_hits = c.state_hits,
    on_host = c.num_states > 0 and c.place == lib.GDN_INDEX_ON_HOST, pinned = c.pins > 0,
    age = math.max(0, now - c.last_use), created = c.created,
  }, NODE)
end

local MOST_SIBLINGS = 1000 -- that are put in order

-- Children of a node, those that most prompts went through first.
local function children(index, first)
  local list, c, node = {}, node_t(), first
  while node ~= 0 and #list < MOST_SIBLINGS do
    lib.gdn_index_describe(index.handle, node, c)
    list[#list + 1], node = { node, c.hits }, c.next
  end
  table.sort(list, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[1] < b[1]
  end)
  return list
end

--- Nodes of the tree, each before those that go on from it, the one with the most hits first: { id, depth (1:
--- begins a prompt), tokens (from the start to its end), length (its own tokens), hits (prompts that went
--- through it), refs (requests that hold it now), children, state (has one at its end), state_hits (prompts
--- that went on from it), on_host, pinned, age (seconds since it was used), created }.
---@param most integer|nil nodes; default: all
---@return table[]
function StateCache:nodes(most)
  local index = index_of(self, "nodes")
  if most ~= nil and not args.integer(most, 0, args.INT32_MAX) then
    error("gdnmeta.StateCache:nodes: " .. args.wrong_integer("most", most, 0, args.INT32_MAX), 2)
  end
  local c, list, open = node_t(), {}, {}
  local function push(first, depth)
    local below = children(index, first)
    for k = #below, 1, -1 do open[#open + 1] = { below[k][1], depth } end
  end
  lib.gdn_index_describe(index.handle, 0, c)
  push(c.first_child, 1)
  while #open > 0 and #list < (most or math.huge) do
    local node, depth = unpack(table.remove(open))
    lib.gdn_index_describe(index.handle, node, c)
    list[#list + 1] = shown(c, node, depth, index.now, self.block_size)
    push(c.first_child, depth + 1)
  end
  return list
end

--- The tree, its first nodes.
function StateCache:__tostring()
  if self.engine.private.closed then return "gdnmeta.StateCache(closed)" end
  return draw_cache(self)
end

local M = {}

---@param engine gdnmeta.Engine
---@param block_size integer
---@return gdnmeta.StateCache
function M.new(engine, block_size)
  return setmetatable({ engine = engine, block_size = block_size }, StateCache)
end

return M
