-- The figures of a run by class of its requests, from what counters.lua knows of each request.
local histogram = require "gdnmeta.sim.histogram"
local array_of = require "gdnmeta.array_of"
local share = require("gdnmeta.sim.numbers").share

local integers = array_of "int32_t"

local M = {}

local MOST = 16 -- classes with figures of their own; the rest are one, called "others"
local NAME = 40 -- bytes of a name

local function shown(name)
  return (tostring(name):gsub("[%c\127]", "?"):sub(1, NAME))
end

-- class -> requests, the most frequent first; nil where no request has one.
local function ranking(requests)
  local count, names = {}, {}
  for _, r in ipairs(requests) do
    if r.class ~= nil then
      local name = shown(r.class)
      if not count[name] then names[#names + 1] = name end
      count[name] = (count[name] or 0) + 1
    end
  end
  table.sort(names, function(a, b)
    if count[a] ~= count[b] then return count[a] > count[b] end
    return a < b
  end)
  return #names > 0 and names or nil
end

local function new(name)
  return { name = name, requests = 0, finished = 0, rejected = 0, met = 0, longest_wait = 0,
           queue = histogram.new(), ttft = histogram.new(), tpot = histogram.new(), e2e = histogram.new() }
end

-- One request of the class.
local function add(c, t, i)
  local arrival, first, last, got = t.arrival[i], t.first[i], t.last[i], t.got[i]
  c.requests = c.requests + 1
  if t.start[i] >= 0 then
    c.queue:add(t.start[i] - arrival)
    c.longest_wait = math.max(c.longest_wait, t.start[i] - arrival)
  end
  if got > 0 then c.ttft:add(first - arrival) end
  if t.done[i] == 0 then
    c.rejected = c.rejected + 1
    return
  end
  if got > 1 then c.tpot:add((last - first) / (got - 1)) end
  c.e2e:add(last - arrival)
  c.finished = c.finished + 1
  c.met = c.met + t.attained[i]
end

--- Which class each request is of; nil where no request has one.
---@param requests table
---@return table|nil classes names (a list), of: int32_t[n + 1], places in it by request
function M.of(requests)
  local ranked = ranking(requests)
  if not ranked then return nil end
  local names, place, of = {}, {}, integers(#requests + 1)
  local function at(name)
    if not place[name] then
      names[#names + 1] = name
      place[name] = #names
    end
    return place[name]
  end
  for i = 1, math.min(#ranked, MOST) do at(ranked[i]) end
  for i, r in ipairs(requests) do
    local name = r.class == nil and "none" or shown(r.class)
    of[i] = place[name] or at(r.class == nil and name or "others")
  end
  return { names = names, of = of }
end

--- Figures by class, times in ms; nil where no request has a class.
---@param counters table closed
---@return table|nil list of { name, requests, finished, rejected, attainment, goodput, longest_wait_ms,
---  queue, ttft, itl, tpot, e2e }
function M.figures(counters)
  local classes, list = counters.classes, {}
  if not classes then return nil end
  for k, name in ipairs(classes.names) do list[k] = new(name) end
  for i = 1, counters.n do add(list[classes.of[i]], counters, i) end
  local seconds = math.max(counters.ended, 1) / 1e9
  for k, c in ipairs(list) do
    list[k] = { name = c.name, requests = c.requests, finished = c.finished, rejected = c.rejected,
                attainment = share(c.met, c.requests), goodput = c.met / seconds,
                longest_wait_ms = c.longest_wait / 1e6, queue = c.queue:summary(1e-6),
                ttft = c.ttft:summary(1e-6), itl = counters.class_itl[k]:summary(1e-6),
                tpot = c.tpot:summary(1e-6), e2e = c.e2e:summary(1e-6) }
  end
  return list
end

return M
