-- Which prompts begin alike: a trace's ids of blocks, made into ids that stand for a block with all before
-- it, as some traces have them already and others do not.
local M = {}

local FORMAT_SIZE = { mooncake = 512, bailian = 16 } -- tokens per block, as published
local LARGEST = 2^13
local ENOUGH = 0.9 -- of the prompts fit, and the size is believed
local FEW = 8 -- prompts say nothing about the size

-- Ids of n blocks are right for a prompt where the last one may be a part of a block, and may be missing.
local function fits(prompt, n, size)
  return n == math.ceil(prompt / size) or n == math.floor(prompt / size)
end

local function share(requests, size)
  local n, good = 0, 0
  for i = 1, #requests do
    local r = requests[i]
    if r.hashes and #r.hashes > 0 then
      n, good = n + 1, good + (fits(r.prompt, #r.hashes, size) and 1 or 0)
    end
  end
  return n >= FEW and good / n or 1
end

-- The format's, unless another power of two fits better.
local function size_of(requests, format)
  local best = FORMAT_SIZE[format] or 512
  local most = share(requests, best)
  if most >= ENOUGH then return best end
  local size = 1
  while size <= LARGEST do
    local fit = share(requests, size)
    if fit > most then best, most = size, fit end
    size = 2 * size
  end
  return best
end

--- A function that numbers paths: id = number(id of the path before, 0 at the start; what the next block is
--- called).
---@return function
function M.numbers()
  local first_name, first_id, others, n = {}, {}, {}, 0 -- most paths go on in one way
  return function(before, name)
    if first_name[before] == name then return first_id[before] end
    local more = others[before]
    local id = more and more[name]
    if id then return id end
    n = n + 1
    if first_name[before] == nil then
      first_name[before], first_id[before] = name, n
    else
      if not more then
        more = {}
        others[before] = more
      end
      more[name] = n
    end
    return n
  end
end

--- Turn `hashes` of requests into `blocks`: one id per full block of the prompt, integers from 1 on. The
--- list gets its `block_size`, and how many prompts are `misfits`: ids that are too many are left out, and
--- where they are too few the rest of the prompt is nobody else's.
---@param requests table
---@param format string
function M.chain(requests, format)
  local any = false
  for i = 1, #requests do any = any or requests[i].hashes ~= nil end
  if not any then return end
  local size, number, misfits = size_of(requests, format), M.numbers(), 0
  for i = 1, #requests do
    local r = requests[i]
    local hashes = r.hashes
    if hashes then
      if not fits(r.prompt, #hashes, size) then misfits = misfits + 1 end
      local blocks, id = {}, 0
      for k = 1, math.min(#hashes, math.floor(r.prompt / size)) do
        id = number(id, hashes[k])
        blocks[k] = id
      end
      r.hashes, r.blocks = nil, blocks
    end
  end
  requests.block_size, requests.misfits = size, misfits
end

return M
