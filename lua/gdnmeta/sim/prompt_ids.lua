-- What an engine's state cache is told of a workload's prompts: ids of blocks of a size that the engine can
-- have, one for each full block.
local answer_ids = require "gdnmeta.sim.answer_ids"
local args = require "gdnmeta.native.args"
local identity = require "gdnmeta.sim.trace.identity"

local floor, min = math.floor, math.min

local M = {}

local MOST = 2 ^ 53

-- The size of blocks that states may lie at the end of; nil and why there is none.
local function size_of(o, size)
  if o.mamba_cache_mode ~= "align" or size % o.mamba_block_size == 0 then return size end
  if o.mamba_block_size % size == 0 then return o.mamba_block_size end
  return nil, ("cache: mamba_block_size (--block-size) = %d, want a multiple or a part of the %d tokens that "
    .. "the workload's prompts are known by"):format(o.mamba_block_size, size)
end

local function greatest_common(a, b)
  while b > 0 do a, b = b, a % b end
  return a
end

--- What an id has to be, if it is none.
---@return string|nil wanted
function M.problem_of(id)
  if type(id) == "string" then return nil end
  if type(id) == "number" and id >= 0 and id < MOST and id % 1 == 0 then return nil end
  return "an integer in 0 .. 2^53 - 1 or a string"
end

-- Ids of a request's full blocks of `every` of the workload's blocks. Where it has too few, the rest is
-- nobody else's.
local function ids_of(i, r, size, every)
  local n, list = floor(r.prompt / (size * every)), {}
  for k = 1, n do
    local id = r.blocks[k * every]
    if id == nil then
      id = ("rest %d of request %d"):format(k, i)
    else
      local wanted = M.problem_of(id)
      if wanted then return nil, args.wrong(("requests[%d].blocks[%d]"):format(i, k * every), id, wanted) end
    end
    list[k] = id
  end
  return list
end

--- What no request says: that its prompt begins as another's.
local function missing(requests)
  return nil, ("cache: %s has no identity of prompts: want hash_ids of blocks, or sessions, in a trace, or a "
    .. "workload of kind conversation, synthetic or agents"):format(requests.name or "the list of requests")
end

local BY_SESSIONS = 16 -- tokens of a block, where sessions say what prompts share

-- A turn's prompt begins with that of the turn before, where it is as long; the rest is of this turn, for no
-- other text has the answer before it.
local function next_text(before, r, pieces)
  local text, rest = {}, r.prompt
  if before and r.prompt >= before.prompt then
    for i, piece in ipairs(before.text) do text[i] = piece end
    rest = r.prompt - before.prompt
  end
  if rest > 0 then text[#text + 1], pieces = { pieces, rest }, pieces + 1 end
  return text, pieces
end

-- Blocks of turns, by what sessions say.
local function by_sessions(requests)
  local number, last, pieces, turns, longer = identity.numbers(), {}, 1, 0, 0
  for i = 1, #requests do
    local r = requests[i]
    if r.session ~= nil then
      local before = last[r.session]
      local text
      text, pieces = next_text(before, r, pieces)
      last[r.session] = { prompt = r.prompt, text = text }
      r.blocks = identity.blocks_of(text, BY_SESSIONS, number)
      turns, longer = turns + (before and 1 or 0), longer + (before and r.prompt >= before.prompt and 1 or 0)
    end
  end
  return turns, longer
end

--- See to it that the requests have blocks: those of the trace or of the generator, else by their sessions.
---@param requests table of sim.load.requests, a list of copies
---@param o table options of sim.run
---@return boolean|nil ok
---@return string? message
function M.identify(requests, o)
  local size, misfit = requests.block_size, requests.misfit
  if size ~= nil then
    if not args.integer(size, 1, 2 ^ 20) then
      return nil, args.wrong_integer("requests.block_size", size, 1, 2 ^ 20)
    elseif misfit and 2 * misfit.n > requests.known then
      return nil, ("cache: %s:%d: hash_ids: %s; so in %d of %d prompts; trace_block_size "
        .. "(--trace-block-size) says the size"):format(requests.name, misfit.line, misfit.text, misfit.n,
        requests.known)
    end
    return true
  end
  if o.sessions then return missing(requests) end -- they were dealt out
  local turns, longer = by_sessions(requests)
  if turns == 0 then return missing(requests) end
  if longer == 0 then
    return nil, ("cache: %s has no identity of prompts: no turn of its sessions is as long as the one before"
      ):format(requests.name)
  end
  requests.block_size, requests.notices = BY_SESSIONS, requests.notices or {}
  table.insert(requests.notices, ("no hash_ids: a turn's prompt is taken to begin with that of the turn "
    .. "before, where it is as long: %d of %d turns"):format(longer, turns))
  return true
end

--- Ids by request, false where a request has none, and what an engine has to be made with.
---@param requests table of sim.load.requests
---@param o table options of sim.run
---@return table|nil found ids, hash_block_size, kv_block_size, without (requests that have none), ceiling;
--- with cache_replies also replies (ids by request) and known_replies
---@return string? message
function M.of(requests, o)
  local known, message = M.identify(requests, o)
  if not known then return nil, message end
  local size = requests.block_size
  local whole
  whole, message = size_of(o, size)
  if not whole then return nil, message end
  local ids, without = {}, 0
  for i = 1, #requests do
    local r = requests[i]
    ids[i] = false
    if r.blocks ~= nil and type(r.blocks) ~= "table" then
      return nil, args.wrong(("requests[%d].blocks"):format(i), r.blocks, "a list of ids")
    elseif r.blocks then
      ids[i], message = ids_of(i, r, size, whole / size)
      if not ids[i] then return nil, message end
    else
      without = without + 1
    end
  end
  if without == #requests then return missing(requests) end
  local found = { ids = ids, hash_block_size = whole, without = without,
                     kv_block_size = o.mamba_cache_mode == "align" and o.mamba_block_size
                       or greatest_common(16, whole) }
  if o.cache_replies then
    if o.async then
      return nil, "cache_replies wants async = false: a step would be planned before its text"
    end
    found.replies, found.known_replies = answer_ids.of(requests, ids, whole)
    if found.known_replies == 0 then
      return nil, "cache_replies: no turn of a session goes on from the prompt before, so no answer is known"
    end
  end
  found.ceiling = M.ceiling(requests, ids, whole, found.replies)
  return found
end

--- The most that any cache could do: tokens of prompts that an earlier one, or it and its answer, began with;
--- but for the last token.
---@param requests table
---@param ids table by request
---@param size integer tokens of a block
---@param replies table|nil ids that follow, by request
---@return number share of all prompt tokens
function M.ceiling(requests, ids, size, replies)
  local seen, hits, total = {}, 0, 0
  for i = 1, #requests do
    local list, prompt, n = ids[i] or {}, requests[i].prompt, 0
    while n < #list and seen[list[n + 1]] do n = n + 1 end
    for k = n + 1, #list do seen[list[k]] = true end
    for _, id in ipairs(replies and replies[i] or {}) do seen[id] = true end
    hits, total = hits + size * min(n, floor((prompt - 1) / size)), total + prompt
  end
  return hits / total
end

return M
