-- luajit spec/support/uncompiled_piece.lua: how many bytecodes LuaJIT interprets of a call of a function of
-- eight ways, once it is warm, as a piece. In a process of its own, so that nothing else is compiled.
local trace_cuts = require "gdnmeta.native.trace_cuts"

local WARM_UP, CALLS = 5000, 800
local sums = { 0, 0, 0, 0 }

local function eight_ways(k)
  for place = 1, 3 do
    local bit = 2 ^ (place - 1)
    if math.floor(k / bit) % 2 == 1 then
      sums[place] = sums[place] + k * k - (k + place) * (k - place)
    else
      sums[4] = sums[4] + k - place + sums[place] * 0
    end
  end
  sums[1], sums[2], sums[3] = sums[1] % 8191 + k, sums[2] % 8191 + k, sums[3] % 8191 + k
  sums[1], sums[2], sums[3] = sums[1] - k, sums[2] - k, sums[3] - k
end

local function interpreted(call)
  jit.flush()
  local count = 0
  local function hook() count = count + 1 end
  jit.off(hook)
  for k = 1, WARM_UP do call(k % 8) end
  debug.sethook(hook, "", 1)
  for k = 1, CALLS do call(k % 8) end
  debug.sethook()
  return math.ceil(count / CALLS)
end

print(interpreted(trace_cuts.piece(eight_ways)))
