-- Requests come and go: what submit takes, what cancel gives back.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local commit_plan = require "gdnmeta.engine.commit_plan"
local domains = require "gdnmeta.native.domains"
local options = require "gdnmeta.native.options"
local requests = require "gdnmeta.engine.requests"

local EINVAL, ECAP, ENOMEM = tonumber(lib.GDN_EINVAL), tonumber(lib.GDN_ECAP), tonumber(lib.GDN_ENOMEM)
local min, ceil = math.min, math.ceil
local INT32_MAX = args.INT32_MAX

local M = {}

local of_type, where = domains.of_type, domains.where

local function any_number(value) return type(value) == "number" and value == value end
local function is_name(value) return type(value) == "string" or any_number(value) end
local function finite(value) return type(value) == "number" and value - value == 0 end

local name = where(is_name, "a number or a string")
local count = domains.integer(1, INT32_MAX, "an integer >= 1")
local seconds = where(any_number, "a number of seconds")

-- { default, domain, must it be given }
local FIELDS = {
  id = { nil, name, true },
  prompt_tokens = { nil, count, true },
  max_tokens = { nil, count, true },
  arrival = { nil, where(finite, "a finite number of seconds") },
  user = { nil, name },
  class = { nil, name },
  -- Beyond these a policy that divides by the weight could lose its sums in rounding.
  weight = { nil, domains.number(1e-6, 1e6, "a number in 1e-6 .. 1e6") },
  priority = { nil, where(any_number, "a number") },
  ttft = { nil, seconds },
  tpot = { nil, seconds },
  deadline = { nil, seconds },
  checkpoint = { nil, of_type("table", "what engine:checkpoint() gave") },
}

--- A copy of the arguments, or what is wrong with them.
---@return table|nil request, string? problem
function M.read(given)
  if type(given) ~= "table" then return nil, "want a table, got " .. args.show(given) end
  return options.read(given, FIELDS, "field")
end

-- A request that could never run alone, or never again after a preemption, would block the queue forever.
local function too_large(e, request)
  local limit, states = e.token_limits.max_model_len, e.states
  if request.prompt_tokens >= limit then
    return ("prompt_tokens = %d, want at most %d (max_model_len - 1)"):format(request.prompt_tokens,
        limit - 1)
  end
  local longest = min(request.prompt_tokens + request.max_tokens - 1, limit - 1)
  if not e.token_limits.chunked and longest > e.max_num_batched_tokens then
    return ("has up to %d tokens, want at most %d (max_num_batched_tokens, without chunks)"):format(
      longest, e.max_num_batched_tokens)
  end
  local blocks = ceil(min(longest + e.num_spec, limit - 1) / states.kv_block)
  if states.limited and blocks > states.total_kv - e.plan.watermark then
    return ("needs %d blocks of attention cache, want at most %d"):format(blocks,
                                                                         states.total_kv - e.plan.watermark)
  end
end

local function checkpoint_problem(e, request)
  local pinned, states = e.checkpoints[request.checkpoint], e.states
  if not states.align then return "checkpoint wants mamba_cache_mode align" end
  if not pinned then return "checkpoint: want what checkpoint() of this engine gave" end
  if pinned.tokens >= request.prompt_tokens then
    return ("checkpoint.tokens = %d, want less than prompt_tokens = %d"):format(pinned.tokens,
        request.prompt_tokens)
  end
  for group = 0, states.groups - 1 do
    local slot = pinned.slots[group + 1]
    if lib.gdn_slots_holders(states.pools, group, slot) < 1
      or lib.gdn_slots_generation(states.pools, group, slot) ~= pinned.generations[group + 1] then
      return ("checkpoint.slots[%d] = %d, want a slot that is still held"):format(group + 1, slot)
    end
  end
end

--- What stands against the request in this engine.
---@return string|nil problem, integer? code
function M.refusal(e, request)
  if e.requests.index[request.id] then return ("id %s is in use"):format(args.show(request.id)), EINVAL end
  local problem = too_large(e, request)
  if problem then return ("request %s: %s"):format(args.word(request.id), problem), ECAP end
  problem = request.checkpoint and checkpoint_problem(e, request)
  if problem then return ("request %s: %s"):format(args.word(request.id), problem), EINVAL end
end

local function share(e, pinned)
  for group = 0, e.states.groups - 1 do
    lib.gdn_slots_share(e.states.pools, group, pinned.slots[group + 1])
  end
  return pinned
end

--- A request that has passed all of the above.
---@return integer|nil i, string? message, integer? code
function M.add(e, request)
  local r = e.requests
  local i = r:next_number() -- first what may find no memory: all of it or nothing
  if e.queue and e.queue:reserve() ~= 0 then return nil, "no memory for a longer queue", ENOMEM end
  local user, class = request.user or "", request.class or ""
  local user_number = e.users:hold(user)
  local ok, class_number = pcall(e.classes.hold, e.classes, class)
  if not ok then
    e.users:drop(user_number)
    error(class_number, 0)
  end
  local taken, why = pcall(r.take, r, i, request.id)
  if not taken then
    e.users:drop(user_number)
    e.classes:drop(class_number)
    error(why, 0)
  end
  local arrival = request.arrival or e.now
  local ttft = request.ttft or e.ttft
  r.prompt[i], r.max_tokens[i], r.known[i] = request.prompt_tokens, request.max_tokens, request.prompt_tokens
  r.cached[i] = 0
  if request.checkpoint then
    r.checkpoint[i] = share(e, e.checkpoints[request.checkpoint])
    r.cached[i] = r.checkpoint[i].tokens
  end
  r.computed[i], r.drafts[i], r.speculative[i], r.preemptions[i] = r.cached[i], 0, 0, 0
  r.flight[i], r.ahead[i], r.pending[i] = 0, 0, 0
  r.placeholders[i], r.mark[i], r.fix[i], r.slots_coming[i], r.kv_coming[i] = 0, 0, 0, 0, 0
  r.parked[i], r.yielded[i], r.yields[i], r.held[i], r.allowed[i] = 0, 0, 0, 0, 0
  r.user[i], r.class[i] = user_number, class_number
  r.arrival[i], r.ttft[i], r.tpot[i] = arrival, ttft, request.tpot or e.tpot
  r.deadline[i] = request.deadline or arrival + ttft
  r.priority[i], r.weight[i] = request.priority or 0, request.weight or 1
  r.last_emit[i], r.key[i], r.keyed[i] = arrival, 0, -1
  e.arrivals = e.arrivals + 1
  r.tie[i] = e.arrivals
  e.stats.arrived = e.stats.arrived + 1
  return i
end

--- The host has heard the last of it: the id and the names are free, and the number too, unless a step
--- in flight names it.
function M.forget(e, i)
  local r, checkpoint = e.requests, e.requests.checkpoint[i]
  for group = 0, checkpoint and e.states.groups - 1 or -1 do
    lib.gdn_slots_drop(e.states.pools, group, checkpoint.slots[group + 1])
  end
  r.checkpoint[i] = nil
  e.users:drop(r.user[i])
  e.classes:drop(r.class[i])
  r:forget(i)
  if r.flight[i] == 0 then r:put(i) end
end

--- Take a live request out.
function M.cancel(e, i)
  local r = e.requests
  local ran = r.state[i] == requests.RUNNING
  if ran then
    e.stats.abandoned = e.stats.abandoned + r.computed[i] - r.cached[i]
    commit_plan.release(e, i)
  else
    commit_plan.dequeue(e, i)
  end
  r.state[i] = requests.CANCELLED
  r:outdate(i)
  if ran then commit_plan.compact_running(e) end
  e.stats.cancelled = e.stats.cancelled + 1
end

--- The state at the block boundary where a request stands, if it does: { tokens, slots, generations }.
---@return table|nil checkpoint, string? problem
function M.pin(e, i)
  local r, states = e.requests, e.states
  if not states.align then return nil, "wants mamba_cache_mode align" end
  local tokens = r.computed[i] - r.ahead[i]
  local column = r.flight[i] > 0 and r.read_before[i] or r.read_column[i]
  if r.state[i] ~= requests.RUNNING or tokens < 1 or tokens % states.block ~= 0
    or column ~= tokens / states.block - 1 then
    return nil, ("stands at %d tokens, want the end of a prompt chunk on a multiple of %d"):format(tokens,
        states.block)
  end
  local pinned = { tokens = tokens, slots = {}, generations = {} }
  for group = 0, states.groups - 1 do
    local slot = states.tables[group][r.table_row[i] * states.width + column]
    lib.gdn_slots_share(states.pools, group, slot)
    pinned.slots[group + 1] = slot
    pinned.generations[group + 1] = lib.gdn_slots_generation(states.pools, group, slot)
  end
  return pinned
end

return M
