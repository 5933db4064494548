-- The lab of prefix caches: replays a trace against a cache by state slots alone. The attention
-- cache is held elsewhere and never forgets, one request follows the other, and no time passes in between:
-- what is left is which states to make and which to keep.
local block_ids = require "gdnmeta.sim.lab.block_ids"
local contained = require "gdnmeta.sim.lab.contained"
local load_cache = require "gdnmeta.cache"
local domains = require "gdnmeta.native.domains"
local options_of = require "gdnmeta.native.options"
local printed = require "gdnmeta.native.printed"
local positions = require "gdnmeta.engine.prefix.positions"
local prompt_ids = require "gdnmeta.sim.prompt_ids"
local states_of = require "gdnmeta.sim.lab.states"
local views_of = require "gdnmeta.sim.lab.views"
local args = require "gdnmeta.native.args"

local max = math.max
local integer = domains.integer

local M = {}

local OPTIONS = {
  slots = { 256, integer(1, 2^22) }, -- states that are kept
  batch = { nil, integer(1, 256) }, -- nodes that worth is asked about at once; nil: as an engine does
  nodes = { nil, integer(1, 2^26) }, -- of prompts that are known: as an engine's index may have, or all
  windows = { 20, integer(1, 1000) }, -- of equally many requests, for the hit rate over time
  state_bytes = { 2^20, integer(1, 2^40) }, -- of a state
  kv_bytes = { 2^14, integer(0, 2^40) }, -- of a token's attention
}

local REPLAY = printed.figures("Replay", { "cache", "slots", "hit", "ceiling", "hit_requests", "made", "used",
                                           "unused", "evictions", "bytes" })

local function finite(value) return type(value) == "number" and value - value == 0 end

-- What is wrong with the ids of a prompt's blocks.
local function ids_problem(blocks, most)
  if type(blocks) ~= "table" then return args.wrong("blocks", blocks, "a list of ids") end
  if #blocks > most then return ("blocks has %d ids, want at most %d"):format(#blocks, most) end
  for k = 1, #blocks do
    local wanted = prompt_ids.problem_of(blocks[k])
    if wanted then return args.wrong(("blocks[%d]"):format(k), blocks[k], wanted) end
  end
end

local function problem_of(r, size)
  if not args.integer(r.prompt, 1, args.INT32_MAX) then
    return args.wrong_integer("prompt", r.prompt, 1, args.INT32_MAX)
  elseif r.arrival ~= nil and not finite(r.arrival) then
    return args.wrong("arrival", r.arrival, "a finite number of seconds")
  end
  return r.blocks and ids_problem(r.blocks, math.floor(r.prompt / size)) or nil
end

local function check(who, requests)
  if type(requests) ~= "table" or not args.integer(requests.block_size, 1, 2^20) then
    local form = "lab.%s: requests of no block_size, want those of a trace with hash_ids, or of dialogues"
    error(form:format(who), 3)
  end
  if #requests == 0 then error(("lab.%s: no requests"):format(who), 3) end
  for i = 1, #requests do
    local r = requests[i]
    if type(r) ~= "table" then
      error(("lab.%s: %s"):format(who, args.wrong(("requests[%d]"):format(i), r, "a table")), 3)
    end
    local problem = problem_of(r, requests.block_size)
    if problem then error(("lab.%s: requests[%d].%s"):format(who, i, problem), 3) end
  end
end

local function ceiling(requests)
  local ids = {}
  for i = 1, #requests do ids[i] = requests[i].blocks or false end
  return prompt_ids.ceiling(requests, ids, requests.block_size)
end

--- The most that any cache could do: tokens of prompts that an earlier prompt began with.
---@param requests table with blocks
---@return number share of all prompt tokens
function M.ceiling(requests)
  check("ceiling", requests)
  return ceiling(requests)
end

-- Publish where the cache wants to, in the order of the positions.
local function publish(states, hooks, views)
  local at = views.at
  local asked, last, size = hooks.checkpoints(views.r, at.from, at.to, views.ctx), 0, at.block_size
  local wanted = positions.fit(asked, at.from, at.blocks_end, size, {})
  for i = 1, #wanted do
    if wanted[i] ~= last then states:publish(wanted[i] / size) end
    last = wanted[i]
  end
end

-- One request; returns tokens of its prompt that were cached.
local function serve(i, r, ids, states, hooks, views)
  if not r.blocks then return 0 end
  local array, n = ids:get(r.blocks)
  local now = r.arrival or 0
  views.at.now = now
  local hit, junction = states:begin(r, array, n, now)
  views:show(i, r, hit, junction, n * views.at.block_size)
  publish(states, hooks, views)
  states:finish()
  return hit
end

--- Replay requests, in their order.
---@param requests table of sim.trace or sim.dialogues: with blocks, and block_size
---@param cache gdnmeta.Cache|string|table as gdn.cache takes it
---@param opts? table slots, batch, windows
---@return table figures hit (share of prompt tokens), ceiling, hit_requests (share), made, used and unused
--- (states), evictions, bytes, over_time (hit by window), cached (tokens by request)
function M.replay(requests, cache, opts)
  check("replay", requests)
  if type(cache) ~= "string" and type(cache) ~= "table" then
    error("lab.replay: " .. args.wrong("cache", cache, "a gdnmeta.Cache, or what gdn.cache takes"), 2)
  end
  local made, message = load_cache(cache)
  if not made then error("lab.replay: " .. message, 2) end
  local o = options_of.parse("lab.replay", opts, OPTIONS)
  local size, total, hits, served = requests.block_size, 0, 0, 0
  local views, ids = views_of.new(size, o.slots), block_ids.of(requests)
  local hooks = contained.of(made)
  local states = states_of.new(hooks, views.ctx, o, ids.distinct)
  local cached, over_time, per_window = {}, {}, max(1, math.ceil(#requests / o.windows))
  local in_window, of_window = 0, 0
  for i = 1, #requests do
    local r = requests[i]
    local hit = serve(i, r, ids, states, hooks, views)
    cached[i], hits, total = hit, hits + hit, total + r.prompt
    served = served + (hit > 0 and 1 or 0)
    in_window, of_window = in_window + hit, of_window + r.prompt
    if i % per_window == 0 or i == #requests then
      over_time[#over_time + 1] = { at = r.arrival, hit = in_window / of_window, prompt_tokens = of_window }
      in_window, of_window = 0, 0
    end
  end
  states:close()
  return setmetatable({
    cache = made.name, slots = o.slots, hit = hits / total, ceiling = ceiling(requests),
    hit_requests = served / #requests, made = states.made, used = states.used,
    unused = states.made - states.used, evictions = states.evictions, bytes = states.peak * o.state_bytes,
    over_time = over_time, cached = cached, hit_tokens = hits, prompt_tokens = total,
  }, REPLAY)
end

return M
