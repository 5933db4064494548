-- What requests begin with: the longest prefix that has a state, looked for while they wait. They hold it
-- until their first step is complete. Parts of the object of prefix_cache.lua.
local lib = require "gdnmeta.native"
local sources = require "gdnmeta.engine.sources"
local array_of = require "gdnmeta.array_of"
local must = require "gdnmeta.engine.must" "hits"

local max = math.max
local int32s = array_of "int32_t"

local LOOKS = 32 -- waiting requests that a step looks for in the index, from the head of the queue on

local PrefixCache = {}

-- The rest of a block is copied for nobody: hits end with whole blocks.
local function blocks_of(self, node, n)
  if self.per_block == 0 then return nil end
  local kv = int32s(max(n * self.per_block, 1))
  must(lib.gdn_index_read(self.index.handle, node, 0, n, nil, kv))
  local list = {}
  for k = 1, n * self.per_block do list[k] = kv[k - 1] end
  return list
end

--- What request i, which waits, begins with: the longest prefix with a state.
function PrefixCache:match(i)
  local e, r = self.engine, self.engine.requests
  r.matched[i] = self.version
  local hit = self.index:match(r.ids[i], r.num_ids[i], r.known[i] - 1)
  r.junction[i] = tonumber(hit.junction)
  if hit.state_node == 0 then return end
  local slots, source = self.index.slots, { tokens = tonumber(hit.state_tokens), slots = {}, generations = {},
                                            accepted = self.accepted[hit.state_node] }
  must(lib.gdn_index_slots(self.index.handle, hit.state_node, slots))
  for group = 1, self.groups do
    source.slots[group] = slots[group - 1]
    source.generations[group] = lib.gdn_slots_generation(e.states.pools, group - 1, slots[group - 1])
  end
  source.kv = blocks_of(self, hit.state_node, hit.state_hit)
  if source.kv then self.need = max(self.need or sources.largest_need(e), sources.need_of(e, i)) end
  local is_pinned = self.index:describe(hit.state_node, self.shown).pinned -- it is counted already
  if sources.crowded(e, is_pinned and 0 or source.slots, is_pinned and 0 or source.kv, self.need) then
    -- not now: in a later step
    r.matched[i] = -1
    return
  end
  hit.node, hit.kv_hit, hit.kv_tokens = hit.state_node, hit.state_hit, hit.state_tokens
  if not self.index:lock() then return end
  source.node = hit.state_node
  sources.give(e, i, source)
end

--- Request i is admitted.
function PrefixCache:admitted(i)
  local e, source = self.engine, self.engine.requests.checkpoint[i]
  if not source or not source.node then return end
  e.stats.hits, e.stats.cached_tokens = e.stats.hits + 1, e.stats.cached_tokens + source.tokens
end

--- A request needs it no longer.
function PrefixCache:unlock(node)
  self.index:unlock_state(node)
  self.index:unlock(node)
end

--- Request i begins with nothing again.
function PrefixCache:let_go(i)
  local e, r = self.engine, self.engine.requests
  local source = r.checkpoint[i]
  if not source or not source.node then return end
  r.checkpoint[i], r.kv_shared[i] = nil, 0
  sources.drop(e.states, source)
end

-- Waiting requests at the head of the queue, where the index has changed since they were looked for.
local function find(self, i)
  local r = self.engine.requests
  self:match(i)
  if not self.hooks or r.cuts[i] and r.cuts_at[i] == r.junction[i] then return end
  r.cuts_at[i] = r.junction[i]
  r.cuts[i] = self.hooks:checkpoints(i, r.computed[i], r.prompt[i])
end

--- Waiting requests look for what has come since they did last.
function PrefixCache:match_waiting()
  local e, r = self.engine, self.engine.requests
  local i, looks = e.fifo.head, 0
  while i >= 0 and looks < LOOKS do
    local following = r.next[i]
    if r.ids[i] and r.flight[i] == 0 and r.matched[i] ~= self.version
      and (not r.checkpoint[i] or r.checkpoint[i].node) then
      self:let_go(i)
      r.cached[i], r.computed[i] = 0, 0
      find(self, i)
    end
    i, looks = following, looks + 1
  end
end

return PrefixCache
