-- The requests of a run: given, read from a trace or generated; then cut, given users, and squeezed or
-- stretched to a rate. The list that was given is left as it was.
local check = require "gdnmeta.check"
local trace = require "gdnmeta.sim.trace"
local workload = require "gdnmeta.sim.workload"

local M = {}

-- Users 1 .. n with shares 1 : 1/2 : 1/3 ..., from a stream of its own.
local function add_users(requests, n, seed)
  local random, total, upto = workload.random((seed + 2^31) % 2^32), 0, {}
  for u = 1, n do
    total = total + 1 / u
    upto[u] = total
  end
  for _, r in ipairs(requests) do
    local x, u = random() * total, 1
    while upto[u] < x do u = u + 1 end
    r.user = r.user or ("user%d"):format(u)
  end
end

-- What is wrong with a request of the host's list.
local function problem_of(r)
  if type(r) ~= "table" then return check.wrong("", r, "a table") end
  local arrival = r.arrival
  if type(arrival) ~= "number" or arrival - arrival ~= 0 then
    return check.wrong(".arrival", arrival, "a finite number of seconds")
  end
  for _, name in ipairs { "prompt", "output" } do
    if not check.integer(r[name], 1, check.INT32_MAX) then
      return check.wrong_integer("." .. name, r[name], 1, check.INT32_MAX)
    end
  end
end

local function source(o)
  if o.requests then return o.requests, "given" end
  if o.trace then
    local requests, message = trace.read(o.trace)
    return requests, requests and o.trace:match "[^/]*$" or message
  end
  local options = { seed = o.seed }
  for name, value in pairs(o.workload or {}) do options[name] = value end
  return workload.generate(options), "generated"
end

--- Copies of the requests, the first at 0 seconds, with `rate` = requests a second.
---@param o table requests | trace = path | workload = options; limit, rate, users, seed
---@return table|nil requests the list also has `name` and `rate`
---@return string? message
function M.requests(o)
  local given, name = source(o)
  if not given then return nil, name end
  local n = math.min(#given, o.limit or math.huge)
  if n == 0 then return nil, "no requests" end
  for i = 1, n do
    local problem = problem_of(given[i])
    if problem then return nil, ("requests[%d]%s"):format(i, problem) end
  end
  local first, last = given[1].arrival, given[n].arrival
  local own = last > first and (n - 1) / (last - first) or nil
  local factor = o.rate and own and own / o.rate or 1
  local requests = { name = name, rate = own and own / factor or nil }
  for i = 1, n do
    local r = given[i]
    if i > 1 and r.arrival < given[i - 1].arrival then
      return nil, ("requests[%d].arrival = %.6f, want >= %.6f: by arrival"):format(
        i, r.arrival, given[i - 1].arrival)
    end
    requests[i] = { arrival = (r.arrival - first) * factor, prompt = r.prompt, output = r.output,
                    user = r.user, weight = r.weight, priority = r.priority, class = r.class }
  end
  if o.users then add_users(requests, o.users, o.seed) end
  return requests
end

return M
