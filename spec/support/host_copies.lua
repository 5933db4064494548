-- What a host program does with a step's `demoted` and `restored`: copies states, in this order.
local M = {}

--- copy(group, from, to, is_back): of one group, from a device slot to a host slot, or back.
function M.make(step, groups, copy)
  local out, back = step.demoted, step.restored
  for k = 0, out.n - 1 do
    for g = 0, groups - 1 do copy(g, out.from[k * groups + g], out.to[k], false) end
  end
  for k = 0, back.n - 1 do
    for g = 0, groups - 1 do copy(g, back.from[k], back.to[k * groups + g], true) end
  end
end

-- Elements of a slot's part of an array: read as a list, or written from one.
local function read(array, at, n)
  local list = {}
  for k = 1, n do list[k] = array[at + k - 1] end
  return list
end

local function write(array, at, list)
  for k = 1, #list do array[at + k - 1] = list[k] end
end

--- For reference layers: memory is what the host has, filled and read here.
function M.of_layers(step, layers, groups, memory)
  M.make(step, groups, function(g, from, to, is_back)
    local pool, size = layers[g].pool, layers[g].state_size
    if is_back then
      local held = assert(memory[from], "an empty host slot is restored")[g]
      write(pool.windows, to * pool.window_size, held.window)
      write(pool.states, to * size, held.state)
    else
      memory[to] = memory[to] or {}
      memory[to][g] = { window = read(pool.windows, from * pool.window_size, pool.window_size),
                        state = read(pool.states, from * size, size) }
    end
  end)
end

return M
