-- The lab of prefix caches: replays a trace against a cache's policy by state slots alone. The attention
-- cache is held elsewhere and never forgets, one request follows the other, and no time passes in between:
-- what is left is which states to make and which to keep.
local contained = require "gdnmeta.sim.lab.contained"
local domains = require "gdnmeta.native.domains"
local nodes_of = require "gdnmeta.sim.lab.nodes"
local options_of = require "gdnmeta.native.options"
local positions = require "gdnmeta.engine.prefix.positions"
local prompt_ids = require "gdnmeta.sim.prompt_ids"
local states_of = require "gdnmeta.sim.lab.states"
local args = require "gdnmeta.native.args"

local floor, max, min = math.floor, math.max, math.min
local integer = domains.integer

local M = {}

local OPTIONS = {
  slots = { 256, integer(1, 2^22) }, -- states that are kept
  batch = { 64, integer(1, 256) }, -- nodes that worth is asked about at once
  windows = { 20, integer(1, 1000) }, -- of equally many requests, for the hit rate over time
  state_bytes = { 2^20, integer(1, 2^40) }, -- of a state
  kv_bytes = { 2^14, integer(0, 2^40) }, -- of a token's attention
}

local function check(who, requests)
  if type(requests) ~= "table" or not args.integer(requests.block_size, 1, 2^20) then
    local form = "lab.%s: requests of no block_size, want those of a trace with hash_ids, or of dialogues"
    error(form:format(who), 3)
  end
end

-- Full blocks that a hit may cover: the last token is computed in any case.
local function limit(r, size) return min(#r.blocks, floor((r.prompt - 1) / size)) end

--- The most that any cache could do: tokens of prompts that an earlier prompt began with.
---@param requests table with blocks
---@return number share of all prompt tokens
function M.ceiling(requests)
  check("ceiling", requests)
  local ids = {}
  for i = 1, #requests do ids[i] = requests[i].blocks or false end
  return prompt_ids.ceiling(requests, ids, requests.block_size)
end

-- What hooks are told besides nodes.
local function context(size, slots)
  local ctx = { block_size = size, slots = slots, now = 0, from = 0, to = 0, blocks_end = 0 }
  function ctx.every(n) return positions.every(n, ctx.from, ctx.blocks_end, size) end
  ctx.flops = positions.flops
  return ctx
end

-- Publish where the policy wants to, in the order of the positions.
local function publish(states, cache, view, path, ctx)
  local size, asked = ctx.block_size, cache.checkpoints(view, ctx.from, ctx.to, ctx)
  local wanted, seen = {}, {}
  for i = 1, #asked do
    local at = asked[i]
    if at > ctx.from and at <= ctx.blocks_end and at % size == 0 and not seen[at] then
      seen[at], wanted[#wanted + 1] = true, at
    end
  end
  table.sort(wanted)
  for i = 1, #wanted do states:publish(path, wanted[i] / size) end
end

--- Replay requests, in their order.
---@param requests table of sim.trace or sim.dialogues: with blocks, and block_size
---@param cache gdnmeta.Cache
---@param opts? table slots, batch, windows
---@return table figures hit (share of prompt tokens), ceiling, hit_requests (share), made, used and unused
--- (states), evictions, bytes, over_time (hit by window), cached (tokens by request)
function M.replay(requests, cache, opts)
  check("replay", requests)
  local o = options_of.parse("lab.replay", opts, OPTIONS)
  local size, total, hits, served = requests.block_size, 0, 0, 0
  local ctx = context(size, o.slots)
  local nodes = nodes_of.new(size, o)
  local hooks = contained.of(cache)
  local states = states_of.new(hooks, ctx, o)
  local cached, over_time, per_window = {}, {}, max(1, math.ceil(#requests / o.windows))
  local in_window, of_window = 0, 0
  for i = 1, #requests do
    local r = requests[i]
    local hit = 0
    ctx.now = r.arrival
    if r.blocks then
      local path, known = nodes:path(r)
      local most = limit(r, size)
      local node = states_of.match(path, min(known, most))
      hit = node and node.tokens or 0
      if node then states:read(node) end
      nodes_of.enter(path, known, ctx.now)
      ctx.from, ctx.to, ctx.blocks_end = hit, r.prompt, #path * size
      publish(states, hooks, { id = i, prompt = r.prompt, hit = hit, cached_tokens = hit, user = r.user,
        session = r.session, class = r.class, junction = min(known, most) * size, prompt_end = #path * size,
        arrival = r.arrival }, path, ctx)
    end
    cached[i], hits, total = hit, hits + hit, total + r.prompt
    served = served + (hit > 0 and 1 or 0)
    in_window, of_window = in_window + hit, of_window + r.prompt
    if i % per_window == 0 or i == #requests then
      over_time[#over_time + 1] = { at = r.arrival, hit = in_window / of_window, prompt_tokens = of_window }
      in_window, of_window = 0, 0
    end
  end
  return {
    cache = cache.name, slots = o.slots, hit = hits / total, ceiling = M.ceiling(requests),
    hit_requests = served / #requests, made = states.made, used = states.used,
    unused = states.made - states.used, evictions = states.evictions, bytes = states.peak * o.state_bytes,
    over_time = over_time, cached = cached, hit_tokens = hits, prompt_tokens = total,
  }
end

return M
