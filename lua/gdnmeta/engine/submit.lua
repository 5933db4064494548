-- Requests come and go: what submit takes, what cancel gives back.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local commit_plan = require "gdnmeta.engine.commit_plan"
local domains = require "gdnmeta.native.domains"
local kept_states = require "gdnmeta.engine.kept_states"
local options = require "gdnmeta.native.options"
local requests = require "gdnmeta.engine.requests"
local sources = require "gdnmeta.engine.sources"
local prompt_identity = require "gdnmeta.engine.prefix.prompt_identity"

local EINVAL, ECAP, ENOMEM = tonumber(lib.GDN_EINVAL), tonumber(lib.GDN_ECAP), tonumber(lib.GDN_ENOMEM)
local min, ceil, floor = math.min, math.ceil, math.floor
local INT32_MAX = args.INT32_MAX

local M = {}

local of_type, where = domains.of_type, domains.where

local function any_number(value) return type(value) == "number" and value == value end
local function is_name(value) return type(value) == "string" or any_number(value) end
local function finite(value) return type(value) == "number" and value - value == 0 end

local name = where(is_name, "a number or a string")
local count = domains.integer(1, INT32_MAX)
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
  blocks = { nil, of_type("table", "a list of ids") },
  tokens = { nil, where(function(value)
    return type(value) == "table" or type(value) == "cdata" and value ~= nil
  end, "a list or an array of tokens") },
  salt = { nil, name },
  session = { nil, name },
  computed = { nil, count },
  slot = { nil, of_type("table", "what engine:export() or engine:receive() gave") },
  keep = { nil, of_type("table", "what engine:receive() gave") },
}
M.FIELDS = FIELDS

--- A copy of the arguments, or what is wrong with them.
---@return table|nil request, string? problem
function M.read(given)
  if type(given) ~= "table" then return nil, "want a table, got " .. args.show(given) end
  return options.read(given, FIELDS, "field")
end

-- Tokens that it ever has a state of.
local function longest_of(e, request)
  return min(request.prompt_tokens + request.max_tokens - 1, e.token_limits.max_model_len - 1)
end

-- A request that could never run alone, or never again after a preemption, would block the queue forever.
local function too_long(e, request)
  local limit = e.token_limits.max_model_len
  if request.prompt_tokens >= limit then
    return ("prompt_tokens = %d, want at most %d (max_model_len - 1)"):format(request.prompt_tokens,
        limit - 1)
  end
  local longest = longest_of(e, request)
  if not e.token_limits.chunked and longest > e.max_num_batched_tokens then
    return ("has up to %d tokens, want at most %d (max_num_batched_tokens, without chunks)"):format(
      longest, e.max_num_batched_tokens)
  end
end

--- The same of attention cache. What is kept for others is not there for it, unless it begins with that.
---@param given table|nil the source of a fork
---@return string|nil problem
function M.too_large(e, request, given)
  local states = e.states
  if not states.limited then return nil end
  local source = states.kv and (given or e.checkpoints[request.checkpoint or request.slot])
  local shared = source and floor(source.tokens / states.kv_block) or 0
  if not source and request.ids then
    shared = e.prefix:pinned_blocks(request.ids, request.num_ids, request.prompt_tokens)
  end
  local most_tokens = min(longest_of(e, request) + e.num_spec, e.token_limits.max_model_len - 1)
  local blocks = ceil(most_tokens / states.kv_block) - shared
  local most = states.total_kv - e.plan.watermark - states.kv_pins.n
  if blocks > most then
    return ("needs %d blocks of attention cache, want at most %d"):format(blocks, most)
  end
end

-- What stands against a state for this request, of whatever use.
local function held_problem(e, request, field, source)
  local states = e.states
  if source.is_lost then return field .. ": its state was lost with the device, release it" end
  if source.tokens >= request.prompt_tokens then
    return ("%s.tokens = %d, want less than prompt_tokens = %d"):format(field, source.tokens,
        request.prompt_tokens)
  end
  for group = 0, states.groups - 1 do
    local slot = source.slots[group + 1]
    if lib.gdn_slots_holders(states.pools, group, slot) < 1
      or lib.gdn_slots_generation(states.pools, group, slot) ~= source.generations[group + 1] then
      return ("%s.slots[%d] = %d, want a slot that is still held"):format(field, group + 1, slot)
    end
  end
  -- Others may hold its slots yet; its blocks of attention cache may be somebody else's by now.
  if not e.pinned[request[field]] then return field .. ": was released, want a state that is kept" end
end

local function source_problem(e, request, field)
  local source = e.checkpoints[request[field]]
  if field == "checkpoint" and not e.states.align then return "checkpoint wants mamba_cache_mode align" end
  if not source then
    local method = field == "checkpoint" and "checkpoint()" or "receive() or export()"
    return ("%s: want what %s of this engine gave"):format(field, method)
  end
  if source.is_awaited then
    return ("%s: want a state that a completed step has left (step.kept)"):format(field)
  end
  return held_problem(e, request, field, source)
end

-- Beyond what it begins with.
local function keep_problem(e, request)
  local source, first = e.checkpoints[request.keep], e.checkpoints[request.checkpoint or request.slot]
  if not source or not source.is_empty then
    return "keep: want what receive() of this engine gave, used by no other request"
  end
  if first and source.tokens <= first.tokens then
    return ("keep.tokens = %d, want more than the %d that it begins with"):format(source.tokens, first.tokens)
  end
  if source.accepted > 1 then
    return ("keep.accepted = %d, want 1: a chunk leaves its state so"):format(source.accepted)
  end
  return held_problem(e, request, "keep", source)
end

-- computed and slot come together, and say the same.
local function arrival_problem(e, request)
  local slot, computed = request.slot, request.computed
  if not slot then return "computed wants slot, what engine:receive() gave" end
  if request.checkpoint then return "checkpoint and slot, want one of them" end
  local source = e.checkpoints[slot]
  if computed and source and computed ~= source.tokens then
    return ("computed = %d, want slot.tokens = %d"):format(computed, source.tokens)
  end
  local states, NONE = e.states, requests.NONE
  if source and states.spare == NONE and not (states.align and source.tokens % states.block == 0) then
    return sources.no_column(e)
  end
  return source_problem(e, request, "slot")
end

-- Reads the ids of its blocks, too. A session alone is for policies, a salt alone is for nothing.
local function identity_problem(e, request)
  if not request.blocks and not request.tokens then
    return request.salt ~= nil and "salt wants blocks or tokens" or nil
  end
  if not e.prefix then return "blocks and tokens want the engine's option hash_block_size" end
  local ids, n = prompt_identity.read(request, e.prefix.size)
  if not ids then return n end
  request.ids, request.num_ids = ids, n
  request.text = prompt_identity.text(request, e.prefix.size)
end

--- What stands against the request in this engine.
---@return string|nil problem, integer? code
function M.refusal(e, request)
  if e.requests.index[request.id] then return ("id %s is in use"):format(args.show(request.id)), EINVAL end
  local problem = too_long(e, request)
  if problem then return ("request %s: %s"):format(args.word(request.id), problem), ECAP end
  problem = identity_problem(e, request)
  if problem then return ("request %s: %s"):format(args.word(request.id), problem), EINVAL end
  problem = M.too_large(e, request)
  if problem then return ("request %s: %s"):format(args.word(request.id), problem), ECAP end
  problem = request.checkpoint and source_problem(e, request, "checkpoint")
    or (request.slot or request.computed) and arrival_problem(e, request)
    or request.keep and keep_problem(e, request)
  if problem then return ("request %s: %s"):format(args.word(request.id), problem), EINVAL end
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
  r.cached[i], r.computed[i], r.kv_shared[i], r.kv_blocks[i], r.sourced[i] = 0, 0, 0, 0, 0
  local given = request.checkpoint or request.slot
  r.ids[i], r.num_ids[i], r.text[i] = request.ids, request.num_ids or 0, request.text
  local is_known = request.ids or request.is_known -- a fork's identity is that of the other
  if e.prefix and not is_known then e.prefix.without_identity = e.prefix.without_identity + 1 end
  if request.session and e.prefix then
    e.prefix:enter_session(i, request.session)
  elseif request.session then
    r.session[i] = { key = request.session }
  end
  r.answer_at[i], r.cross_at[i] = 0, request.ids and 0 or INT32_MAX
  r.junction[i], r.keep_at[i], r.kept[i] = 0, 0, requests.NONE
  r.matched[i], r.node[i], r.hit_node[i], r.holds[i] = -1, 0, 0, 0
  r.asked_from[i], r.asked_to[i], r.on_host[i] = 0, -1, 0
  r.last_block[i] = request.ids and floor((request.prompt_tokens - 1) / e.prefix.size) * e.prefix.size or 0
  if given then sources.give(e, i, e.checkpoints[given]) end
  if request.keep then kept_states.await(e, i, request.keep) end
  r.drafts[i], r.speculative[i], r.preemptions[i] = 0, 0, 0
  r.flight[i], r.ahead[i], r.pending[i] = 0, 0, 0
  r.placeholders[i], r.mark[i], r.fix[i], r.slots_coming[i], r.kv_coming[i] = 0, 0, 0, 0, 0
  r.parked[i], r.yielded[i], r.held[i], r.allowed[i] = 0, 0, 0, 0
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
  local r, source = e.requests, e.requests.checkpoint[i]
  if source then sources.drop(e.states, source) end
  if r.hit_node[i] > 0 then e.prefix:let_go(i) end
  r.checkpoint[i] = nil
  if r.keep[i] then kept_states.let_go(e, i) end
  e.users:drop(r.user[i])
  e.classes:drop(r.class[i])
  if e.prefix and r.session[i] then e.prefix:leave_session(i) end
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

--- The state at the block boundary where a request stands, if it does: a source.
---@return table|nil source with one holder, string? problem
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
  if e.prefix and e.prefix:awaits_copy(i) then return nil, sources.AWAITS_COPY end
  local source = sources.of(e, i, tokens, column)
  local problem = sources.crowded(e, source.slots, source.kv)
  if problem then return nil, problem end
  return sources.hold(states, source)
end

return M
