-- What a cache's hooks are helped with, in the engine and in the lab alike.
local floor, max = math.floor, math.max

local M = {}

--- ctx.every(n): positions in (from, blocks_end], n tokens apart, whole blocks of `size`; at most `most`.
---@return integer[]
function M.every(n, from, blocks_end, size, most)
  local list, step = {}, max(size, floor(n / size) * size)
  for at = floor(from / step) * step + step, blocks_end, step do
    if #list == most then break end
    list[#list + 1] = at
  end
  return list
end

--- ctx.flops: what tokens in (from, to] cost, in tokens, in a model a quarter of whose layers are attention.
---@return number
function M.flops(from, to) return (to - from) * (1 + (from + to) / 2^17) end

return M
