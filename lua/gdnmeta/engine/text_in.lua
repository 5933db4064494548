-- What a host says of the text that a step emits: its tokens, or ids of the blocks that they fill. Read with
-- the results of the step, and joined to what the state cache knows of a request before they are applied.
local args = require "gdnmeta.native.args"
local array_of = require "gdnmeta.array_of"
local clear = require "table.clear"
local complete_step = require "gdnmeta.engine.complete_step"
local identity = require "gdnmeta.identity"
local int32_memory = require "gdnmeta.native.int32_memory"
local prompt_identity = require "gdnmeta.engine.prefix.prompt_identity"
local requests = require "gdnmeta.engine.requests"

local floor, max = math.floor, math.max
local int32s, ids_t = array_of "int32_t", array_of "int64_t"
local RUNNING, WAITING = requests.RUNNING, requests.WAITING

local TextIn = {}
TextIn.__index = TextIn

--- Nothing is said yet of a step's rows.
function TextIn:begin()
  if not self.any then return end
  clear(self.counts)
  clear(self.blocks)
  self.any = false
end

--- Tokens of a row.
---@param name string for messages
---@param value any
---@param row integer
---@param most integer that the row can emit
---@return integer|nil n, string? problem
function TextIn:read_tokens(name, row, value, most)
  local pointer, n = int32_memory.int32(name, value)
  if not pointer then
    if n then return nil, n end
    local message
    n, message = args.list(name, value, args.INT32_MIN, args.INT32_MAX)
    if not n then return nil, message end
  end
  if n > most or n < math.min(most, 1) then
    return nil, ("%s has %d elements, want %s"):format(name, n, most > 1 and "1 .. " .. most or most)
  end
  self.tokens = self.tokens or int32s(self.rows * self.width)
  for k = 0, n - 1 do
    self.tokens[row * self.width + k] = pointer and pointer[k] or rawget(value, k + 1)
  end
  self.counts[row], self.any = n, true
  return n
end

--- Ids of blocks that a row's request fills.
---@return integer|nil n, string? problem
function TextIn:read_blocks(name, row, value)
  if type(value) ~= "table" then return nil, args.wrong(name, value, "a list") end
  local ids = ids_t(max(args.length(value), 1))
  local n, message = identity.copy(name, value, ids, args.length(value))
  if not n then return nil, message end
  self.blocks[row], self.any = { ids = ids, n = n }, true
  return n
end

local function is_live(r, i) return r.state[i] == RUNNING or r.state[i] == WAITING end

-- Ids of blocks that the request does not have, or not yet.
local function blocks_problem(e, i, given, n)
  local r, text = e.requests, e.requests.text[i]
  if not e.prefix then return "want the engine's option hash_block_size" end
  if not text then return "the request was submitted without blocks" end
  if text.tokens then return "the request was submitted with tokens, want those" end
  local most = floor((r.known[i] + n) / e.prefix.size) - r.num_ids[i]
  if given.n > most then return ("has %d elements, want at most %d"):format(given.n, most) end
end

--- What is wrong with the blocks of a step. numbers: its results, three a row.
---@return string|nil problem
function TextIn:problem(e, step, numbers)
  for row, given in pairs(self.blocks) do
    local i = step.request[row]
    if is_live(e.requests, i) then
      local n = step.samples[row] == 1
        and complete_step.emitted_tokens(e, i, numbers[3 * row], numbers[3 * row + 1]) or 0
      local problem = blocks_problem(e, i, given, n)
      if problem then return ("results[%s].blocks: %s"):format(args.word(step.ids[row + 1]), problem) end
    end
  end
end

--- Live requests know what they say in this step.
function TextIn:extend(e, step)
  if not self.any or not e.prefix then return end
  local r, size = e.requests, e.prefix.size
  for row = 0, step.num_rows - 1 do
    local i, given = step.request[row], self.blocks[row]
    if is_live(r, i) and r.text[i] then
      if given then prompt_identity.add_ids(r, i, size, given.ids, given.n) end
      if self.counts[row] and step.samples[row] == 1 then
        local n = complete_step.emitted_tokens(e, i, step.accepted_drafts[row], step.stop[row])
        prompt_identity.add_tokens(r, i, size, self.tokens + row * self.width, n)
      end
    end
  end
end

local M = {}

---@param rows integer of a step at most
---@param width integer tokens that a row emits at most
function M.new(rows, width)
  return setmetatable({ rows = rows, width = width, tokens = false, any = false, counts = {}, blocks = {} },
                      TextIn)
end

return M
