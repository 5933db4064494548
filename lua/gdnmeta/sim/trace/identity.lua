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

-- The share of prompts with ids that fit, and how many such prompts there are.
local function share(requests, size)
  local n, good = 0, 0
  for i = 1, #requests do
    local r = requests[i]
    if r.hashes and #r.hashes > 0 then
      n, good = n + 1, good + (fits(r.prompt, #r.hashes, size) and 1 or 0)
    end
  end
  return n >= FEW and good / n or ENOUGH, n
end

local ROUND = { 1000, 500, 256, 200, 128, 100, 64, 50, 32, 25, 20, 16, 10, 8, 5, 4, 3, 2, 1 }

-- Of requests of which some have ids: sizes that the prompt with the most leaves open, the roundest first:
-- n - 1 < prompt / size <= n.
local function candidates(requests)
  local longest, list = nil, {}
  for i = 1, #requests do
    local r = requests[i]
    if r.hashes and not (longest and #longest.hashes >= #r.hashes) then longest = r end
  end
  local prompt, n = longest.prompt, #longest.hashes
  local low, high = math.ceil(prompt / n), math.min(LARGEST, math.ceil(prompt / (n - 1)) - 1)
  for _, unit in ipairs(ROUND) do
    for size = math.ceil(low / unit) * unit, math.min(high, low + 16 * unit), unit do
      list[#list + 1] = size
    end
  end
  return list
end

-- The format's, unless another power of two fits better; any other has to fit. Where none does, or where
-- prompts are few, it is a guess.
local function size_of(requests, format)
  local best = FORMAT_SIZE[format] or 512
  local most = share(requests, best)
  local function try(size)
    local fit = share(requests, size)
    if fit > most then best, most = size, fit end
  end
  local size = 1
  while most < ENOUGH and size <= LARGEST do
    try(size)
    size = 2 * size
  end
  if most >= ENOUGH then return best end
  for _, other in ipairs(candidates(requests)) do
    if share(requests, other) >= ENOUGH then return other end
  end
  return best
end

-- Do the prompts not say so themselves?
local function is_guess(requests, size)
  local fit, n = share(requests, size)
  return n < FEW or fit < ENOUGH
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

-- The first of some prompts, and how many they are.
local function note(requests, what, r, text)
  local entry = requests[what] or { n = 0, line = r.line, text = text }
  entry.n, requests[what] = entry.n + 1, entry
end

-- An id that stands twice in a prompt: the ids are then of blocks alone, or wrong.
local function repeated(hashes)
  local at = {}
  for k = 1, #hashes do
    local id = hashes[k]
    if at[id] then return ("hash_ids[%d] is hash_ids[%d]"):format(k, at[id]) end
    at[id] = k
  end
end

local function look(requests, r, size, guess)
  local n, most = #r.hashes, math.ceil(r.prompt / size)
  if not fits(r.prompt, n, size) then
    local least = math.floor(r.prompt / size)
    note(requests, "misfit", r, ("%d id%s for a prompt of %d tokens, want %s of %d tokens each%s"):format(n,
      n == 1 and "" or "s", r.prompt, least == most and most or least .. " or " .. most, size, guess))
  end
  local text = repeated(r.hashes)
  if text then note(requests, "repeats", r, text) end
end

--- Turn `hashes` of requests into `blocks`: one id per full block of the prompt, integers from 1 on, of the
--- size that is given, else of the one that prompts bear out. The
--- list gets its `block_size`, how many prompts are `known`, and, where there are some, `misfit`: ids that
--- are too many are left out, and where they are too few the rest of the prompt is nobody else's; and
--- `repeats`, prompts in which an id stands twice: { n, line and text of the first }.
---@param requests table
---@param format string
---@param given integer|nil tokens of a block
---@return string|nil message
function M.chain(requests, format, given)
  local known = 0
  for i = 1, #requests do known = known + (requests[i].hashes ~= nil and 1 or 0) end
  if known == 0 then
    return given and ("block_size = %d, want none: there are no hash_ids"):format(given) or nil
  end
  local size, number = given or size_of(requests, format), M.numbers()
  local guess = given and "" or is_guess(requests, size) and " (a guess)" or ""
  for i = 1, #requests do
    local r = requests[i]
    local hashes = r.hashes
    if hashes then
      look(requests, r, size, guess)
      local blocks, id = {}, 0
      for k = 1, math.min(#hashes, math.floor(r.prompt / size)) do
        id = number(id, hashes[k])
        blocks[k] = id
      end
      r.hashes, r.blocks = nil, blocks
    end
  end
  requests.block_size, requests.known = size, known
end

--- Ids of the full blocks of a text: a block is named after the pieces in it and what of them is left.
---@param text table of pieces { number of the piece, tokens }, of which no two are alike
---@param size integer
---@param number function of M.numbers
---@return table blocks
function M.blocks_of(text, size, number)
  local blocks, id, name, room = {}, 0, {}, size
  for i = 1, #text do
    local left = text[i][2]
    while left > 0 do
      local n = math.min(left, room)
      name[#name + 1] = text[i][1] .. ":" .. left
      left, room = left - n, room - n
      if room == 0 then
        id = number(id, table.concat(name, " "))
        blocks[#blocks + 1], name, room = id, {}, size
      end
    end
  end
  return blocks
end

return M
