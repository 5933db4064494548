-- What an engine's state cache is told of a workload's prompts: ids of blocks of a size that the engine can
-- have, one for each full block.
local args = require "gdnmeta.native.args"

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

local function problem_of(id)
  if type(id) == "string" then return nil end
  if type(id) == "number" and id >= 0 and id < MOST and id % 1 == 0 then return nil end
  return "an integer below 2^53 or a string"
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
      local wanted = problem_of(id)
      if wanted then return nil, args.wrong(("requests[%d].blocks[%d]"):format(i, k * every), id, wanted) end
    end
    list[k] = id
  end
  return list
end

--- What no request says: that its prompt begins as another's.
---@param requests table
---@return string message
function M.missing(requests)
  return ("cache: %s has no identity of prompts: want hash_ids of blocks, or sessions, in a trace, or a "
    .. "workload of kind conversation, synthetic or agents"):format(requests.name or "the list of requests")
end

--- Ids by request, false where a request has none, and what an engine has to be made with.
---@param requests table with block_size, and blocks of requests
---@param o table options of sim.run
---@return table|nil identity ids, hash_block_size, kv_block_size, without (requests that have none), ceiling
---@return string? message
function M.of(requests, o)
  local size = requests.block_size
  if not size then return nil, M.missing(requests) end
  if not args.integer(size, 1, 2 ^ 20) then
    return nil, args.wrong_integer("requests.block_size", size, 1, 2 ^ 20)
  end
  local whole, message = size_of(o, size)
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
  if without == #requests then return nil, M.missing(requests) end
  local identity = { ids = ids, hash_block_size = whole, without = without,
                     kv_block_size = o.mamba_cache_mode == "align" and o.mamba_block_size
                       or greatest_common(16, whole) }
  identity.ceiling = M.ceiling(requests, ids, whole)
  return identity
end

--- The most that any cache could do: tokens of prompts that an earlier one began with, but for the last.
---@param requests table
---@param ids table by request
---@param size integer tokens of a block
---@return number share of all prompt tokens
function M.ceiling(requests, ids, size)
  local seen, hits, total = {}, 0, 0
  for i = 1, #requests do
    local list, prompt, n = ids[i] or {}, requests[i].prompt, 0
    while n < #list and seen[list[n + 1]] do n = n + 1 end
    for k = n + 1, #list do seen[list[k]] = true end
    hits, total = hits + size * min(n, floor((prompt - 1) / size)), total + prompt
  end
  return hits / total
end

return M
