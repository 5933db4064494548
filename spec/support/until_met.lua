-- Cases at random, and more of them until each kind of thing that they are to show was met: what is rare is
-- not in every few cases, and a spec that never met it proves little.
local FACTOR, FEW = 10, 400

--- Draws `cases` cases, then others until every kind was met: ten times as many at most, or `few` where that
--- is more. Raises what was not met often enough.
---@param first integer the first case; the others count up from it
---@param cases integer
---@param wanted table how often at least, by kind
---@param body function of a case and of how often each kind was met until now, which it counts up
---@param few integer|nil without it, as many as a spec can wait for that serves requests in each
---@return table met
return function(first, cases, wanted, body, few)
  local met, last, case = {}, first + math.max(FACTOR * cases, few or FEW) - 1, first
  for kind in pairs(wanted) do met[kind] = 0 end
  local function rare()
    for kind, least in pairs(wanted) do
      if met[kind] < least then return kind end
    end
  end
  while case < first + cases or case <= last and rare() do
    body(case, met)
    case = case + 1
  end
  local kind = rare()
  if kind then
    error(("%s: met %g times in the %d cases from %d, want %g at least"):format(kind, met[kind], case - first,
          first, wanted[kind]), 0)
  end
  return met
end
