-- What the state cache holds, read node by node, and what may be found in it: states of blocks that somebody
-- has computed. Used by invariants.lua.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local check = require("spec.support.step_checks").check

local M = {}

--- Nodes of the index with what they hold: { slots, kv }.
---@return table[]
function M.nodes(prefix)
  local list, handle, c = {}, prefix.index.handle, ffi.new "gdn_index_node"
  local slots, kv = ffi.new "int32_t[64]", ffi.new "int32_t[4096]"
  local function visit(node)
    assert(lib.gdn_index_describe(handle, node, c) == 0)
    local children, next_one = c.first_child, c.next
    local first, n = c.depth - c.length, c.length
    local has_state = c.num_states > 0 and c.place == lib.GDN_INDEX_DEVICE
    local held = { slots = {}, kv = {} }
    if node > 0 and prefix.per_block > 0 then
      assert(n * prefix.per_block <= 4096 and lib.gdn_index_read(handle, node, first, n, nil, kv) == 0)
      for k = 1, n * prefix.per_block do held.kv[k] = kv[k - 1] end
    end
    if has_state then
      assert(lib.gdn_index_slots(handle, node, slots) == 0)
      for group = 1, prefix.groups do held.slots[group] = slots[group - 1] end
    end
    list[#list + 1] = held
    if children > 0 then visit(children) end
    if node > 0 and next_one > 0 then visit(next_one) end
  end
  visit(0)
  return list
end

--- The state of its answer that a request holds until its end, in the same form.
function M.answer(e, i)
  if not i or e.requests.answer_at[i] == 0 then return nil end
  local held, base = { slots = {}, kv = {} }, e.requests.table_row[i] * e.prefix.groups
  for group = 1, e.prefix.groups do held.slots[group] = e.prefix.held_slots[base + group - 1] end
  return held
end

--- I29: a request begins with whole blocks of its own prompt that some request has computed.
function M.admitted(self, where, q)
  local prefix = self.engine.private.prefix
  if not prefix or q.given then return end
  local r = self.engine.private.requests
  q.cached = r.cached[r.index[q.id]]
  q.computed = q.cached
  local node = r.hit_node[r.index[q.id]]
  q.begins_at = node > 0 and prefix.accepted[node] or 1
  q.accepted, q.last_drafts = q.begins_at, q.begins_at - 1
  local n = q.cached / prefix.size
  check(n % 1 == 0 and q.cached < q.known and n <= #q.blocks, where, "I29: request %s begins with %d tokens",
        q.id, q.cached)
  check(n == 0 or self.computed_blocks[q.blocks[n]], where,
        "I29: request %s begins with block %d, which nobody computed", q.id, n)
end

--- So many tokens of a request are computed.
function M.computed(self, q)
  local prefix = self.engine.private.prefix
  if not prefix then return end
  for n = 1, math.min(math.floor((q.computed - q.ahead) / prefix.size), #q.blocks) do
    self.computed_blocks[q.blocks[n]] = true
  end
end

--- The index agrees with itself.
function M.index(self, where)
  local prefix = self.engine.private.prefix
  check(not prefix or lib.gdn_index_verify(prefix.index.handle) == 0, where, "I29: %s",
        prefix and prefix.index:message())
end

--- Nothing is held but by the cache: it gives back all.
function M.empty(self)
  local prefix = self.engine.private.prefix
  if not prefix then return end
  prefix.index:advance(0)
  while prefix:evict_state() do end
  while prefix:evict_leaf() do end
  local tier = prefix.host
  check(not tier or tier.num_free == tier.slots and not tier:problem {}, "the end", "host slots are not free")
end

return M
