-- What a cache's hooks are helped with, in the engine and in the lab alike.
local args = require "gdnmeta.native.args"

local clear = require "table.clear"

local floor, max = math.floor, math.max

local M = { MOST = 65536 } -- positions of a chunk

-- A hook's list is read without its metamethods: what was looked at might be something else when it is used.

--- What checkpoints() named, as far as states can lie there: ends of blocks in (from, blocks_end], ascending.
---@param list number[]
---@param fit number[] is filled anew
---@return number[] fit
function M.fit(list, from, blocks_end, size, fit)
  clear(fit)
  local last, ascends = from, true
  for n = 1, #list do
    local at = rawget(list, n)
    if at > from and at <= blocks_end and at % size == 0 then
      fit[#fit + 1] = at
      last, ascends = at, ascends and at >= last
    end
  end
  if not ascends then table.sort(fit) end -- most do, and LuaJIT compiles no sort
  return fit
end

--- How often problem() looks into an empty list: a map has length 0, too. Not every LuaJIT compiles `next`,
--- and none has compiled what ran so few times, so the looks cost later steps nothing.
function M.looks() return { left = 8 } end

local function is_map(list, looks)
  looks.left = looks.left - 1
  return next(list) ~= nil
end

--- What is wrong with an answer of checkpoints().
---@param looks table those that are left, of one cache
---@return string|nil problem
function M.problem(list, looks)
  if type(list) ~= "table" then return (" returned %s, want a list"):format(args.show(list)) end
  if #list > M.MOST then return (" returned %d positions, want at most %d"):format(#list, M.MOST) end
  for n = 1, #list do
    local at = rawget(list, n)
    if type(at) ~= "number" or at ~= at then
      return ("[%d] is %s, want a number of tokens"):format(n, args.show(at))
    end
  end
  if #list == 0 and looks.left > 0 and is_map(list, looks) then
    return " returned a table without [1], want a list"
  end
end

--- ctx.every(n): positions in (from, blocks_end], n tokens apart, whole blocks of `size`; at most `most`.
--- What a hook calls ends with a tail call of this one: a mistake stands at the hook's line.
---@param into table|nil is filled anew where it is given
---@return integer[]
function M.every(n, from, blocks_end, size, most, into)
  if type(n) ~= "number" or n ~= n then
    error(("ctx.every(%s): want a number of tokens, called with a dot"):format(args.show(n)), 2)
  end
  local list, step = into or {}, max(size, floor(n / size) * size)
  clear(list)
  for at = floor(from / step) * step + step, blocks_end, step do
    if #list == most then break end
    list[#list + 1] = at
  end
  return list
end

--- ctx.flops: what tokens in (from, to] cost, in tokens, in a model a quarter of whose layers are attention.
---@return number
function M.flops(from, to)
  if type(from) ~= "number" or type(to) ~= "number" then
    local form = "ctx.flops(%s, %s): want two numbers, called with a dot"
    error(form:format(args.show(from), args.show(to)), 2)
  end
  return (to - from) * (1 + (from + to) / 2^17)
end

return M
