-- States that requests leave for others whose prompts begin with the same blocks: found by the index, read
-- where they lie, evicted when requests need their slots or blocks.
local joint = require("gdnmeta.native.trace_cuts").joint
local array_of = require "gdnmeta.array_of"
local Index = require "gdnmeta.engine.prefix.index"
local places = require "gdnmeta.engine.places"
local budget = require "gdnmeta.policy.contained.budget"

local are_matched, is_evicted = joint(), joint()
local ceil, max, min = math.ceil, math.max, math.min
local int32s, pointers = array_of "int32_t", array_of "int32_t *"

-- Blocks of all prompts, or those of the longest one.
local MOST_BLOCKS, LONGEST = 2 ^ 20, 2 ^ 24

local PrefixCache = {}
PrefixCache.__index = PrefixCache
for _, part in ipairs { "hits", "cuts", "publish", "answer", "sessions", "evict" } do
  for name, method in pairs(require("gdnmeta.engine.prefix." .. part)) do PrefixCache[name] = method end
end

-- A policy that asks for a request's chunk or admission gets here. Its budget may end here, not half way.
budget.protect { make_way = PrefixCache.make_way, look = PrefixCache.look, match = PrefixCache.match }

--- A step begins: waiting requests find their states, and states that nobody reads make room for requests.
function PrefixCache:begin(now, step)
  self.index:advance(now)
  if self.host then step.demoted.n, step.restored.n = 0, 0 end
  if self.hooks then self.hooks.guard:step_done() end
  self:match_waiting()
  are_matched()
  self:evict_for_running()
  is_evicted()
end

--- A row of request i is complete, which has `tokens` computed for sure.
function PrefixCache:completed(i, tokens, step, row)
  local r = self.engine.requests
  if r.hit_node[i] > 0 and (r.flight[i] == 0 or tokens > r.cached[i]) then self:has_begun(i) end
  if tokens >= r.cross_at[i] then self:hold_answer(i, tokens, step, row) end
  if r.keep_at[i] > 0 and r.keep_at[i] == tokens then self:publish(i, tokens) end
end

-- Blocks of attention cache that a hit has at most: those of the longest prompt, or all.
local function most_shared(o, per_block)
  return max(min(per_block * ceil(o.max_model_len / o.hash_block_size), o.kv_blocks or 0), 1)
end

local M = {}

---@return table|nil cache, string? message, integer? code
function M.new(e, o)
  local num_slots = o.config.num_slots[0] + o.host_slots
  local groups = o.config.num_groups
  local per_block = o.kv_blocks and o.hash_block_size / o.kv_block_size or 0
  local in_prompt = ceil(o.max_model_len / o.hash_block_size)
  local blocks = per_block > 0 and ceil(o.kv_blocks / per_block) or num_slots * in_prompt
  blocks = min(blocks, max(MOST_BLOCKS, min(in_prompt, LONGEST)))
  local max_nodes = min(4 * num_slots + 1024, 2 ^ 24)
  local index, message, code = Index.new {
    num_groups = groups, block_size = o.hash_block_size, kv_per_block = per_block,
    max_nodes = max_nodes, max_blocks = max(blocks, 1),
    kv_bytes = 1, state_bytes = 1, -- what they weigh is the host's to know: a state is the unit
  }
  if not index then return nil, message, code end
  local at_once = 64
  local held_slots, held_cells = int32s(o.config.max_requests * groups), pointers(groups)
  for group = 0, groups - 1 do held_cells[group] = held_slots + group end
  return setmetatable({ engine = e, index = index, size = o.hash_block_size, groups = groups,
                        without_identity = 0, untold_text = 0, num_holding = 0, -- waiting requests with a hit
                        hooks = false, failures = {}, host = false, per_block = per_block, at_once = at_once,
                        gone = int32s(max(at_once * per_block, 1)), num_held = 0,
                        sessions = {}, session_places = places.new(),
                        newest_at = {}, session_at = {}, user_at = {}, counts = {},
                        guests = { next = 1 }, -- idle sessions, see sessions.lua
                        is_tracked = false, -- is anything in these?
                        shown = index:describe(0), cut_lists = {}, -- by request, used again
                        held_slots = held_slots, held_cells = held_cells, -- by table row; as tables by group
                        accepted = int32s(max_nodes + 1), -- by node, of the row that left its state
                        num_watches = 0, watches = false, changed = int32s(PrefixCache.LOOKS),
                        shared = int32s(most_shared(o, per_block)),
                      }, PrefixCache)
end

return M
