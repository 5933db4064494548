-- The requests of a run: a list, a trace or generated; then truncated, assigned users, classes and sessions,
-- and scaled to a rate. The caller's list is not changed.
local args = require "gdnmeta.native.args"
local classes = require "gdnmeta.sim.classes"
local dialogues = require "gdnmeta.sim.dialogues"
local sessions = require "gdnmeta.sim.sessions"
local trace = require "gdnmeta.sim.trace"
local workload = require "gdnmeta.sim.workload"

local M = {}

-- Users 1 .. n with shares 1 : 1/2 : 1/3 ..., from a stream of its own. A session's turns are one user's.
local function add_users(requests, n, seed)
  local random, total, upto, of = workload.random(seed + 2^31), 0, {}, {}
  for u = 1, n do
    total = total + 1 / u
    upto[u] = total
  end
  for _, r in ipairs(requests) do
    local x, u = random() * total, 1
    while upto[u] < x do u = u + 1 end
    local user = r.user or r.session and of[r.session] or ("user%d"):format(u)
    if r.session then of[r.session] = user end
    r.user = user
  end
end

local COPIED = { "user", "class", "session", "priority", "weight", "ttft", "tpot", "think", "undated",
                 "blocks" }
local IDENTITY = { "block_size", "known", "misfit" } -- facts of a list whose prompts have some
local NUMBERS = { "priority", "weight", "ttft", "tpot", "deadline", "think" }

local function finite(value) return type(value) == "number" and value - value == 0 end

-- What is wrong with a request of the host's list.
local function problem_of(r)
  if type(r) ~= "table" then return args.wrong("", r, "a table") end
  if not finite(r.arrival) then return args.wrong(".arrival", r.arrival, "a finite number of seconds") end
  for _, name in ipairs { "prompt", "output" } do
    if not args.integer(r[name], 1, args.INT32_MAX) then
      return args.wrong_integer("." .. name, r[name], 1, args.INT32_MAX)
    end
  end
  for _, name in ipairs(NUMBERS) do
    local value = r[name]
    if value ~= nil and not finite(value) then return args.wrong("." .. name, value, "a finite number") end
  end
end

-- The list, its name, and which of it: a trace is read no further than the limit.
local function source(o)
  local skip, limit = o.skip or 0, o.limit or math.huge
  if o.requests then return o.requests, o.requests.name or "given", skip, limit end
  if o.trace then
    local requests, message = trace.read(o.trace, { skip = o.skip, limit = o.limit, time_unit = o.time_unit,
                                                    block_size = o.trace_block_size })
    return requests, requests and requests.name or message, 0, math.huge
  end
  for _, option in ipairs { "time_unit", "trace_block_size" } do
    if o[option] then return nil, option .. ": wants a trace" end
  end
  local generator = o.workload and o.workload.kind ~= nil and dialogues or workload
  local problem = generator.problem(o.workload)
  if problem then error("sim.run: workload: " .. problem, 0) end
  local options = { seed = o.seed }
  for name, value in pairs(o.workload or {}) do options[name] = value end
  local requests = generator.generate(options)
  return requests, requests.name and "made-up " .. requests.name or "generated", skip, limit
end

-- Requests per second, of those whose time is known before the run: n, from the first to the last.
local function own_rate(requests)
  local n, first, last = 0, nil, nil
  for _, r in ipairs(requests) do
    if not r.after then n, first, last = n + 1, first or r.arrival, r.arrival end
  end
  return n > 1 and last > first and (n - 1) / (last - first) or nil
end

-- Copies of given[from .. to], or nil and what is wrong.
local function copies(given, from, to)
  local requests, copy_of = {}, {}
  for i = from, to do
    local r = given[i]
    local problem = problem_of(r)
    if problem then return nil, ("requests[%d]%s"):format(i, problem) end
    if i > from and r.arrival < given[i - 1].arrival then
      return nil, ("requests[%d].arrival = %.6f, want >= %.6f: by arrival"):format(
        i, r.arrival, given[i - 1].arrival)
    end
    local copy = { arrival = r.arrival, prompt = r.prompt, output = r.output }
    for _, name in ipairs(COPIED) do
      local value = r[name]
      if value ~= nil then copy[name] = value end
    end
    if r.deadline then copy.deadline = r.deadline - r.arrival end
    if r.after then copy.after = copy_of[r.after] end
    copy_of[r], requests[i - from + 1] = copy, copy
  end
  return requests
end

-- Notes on their origin for a report.
local function notices(given, requests, o)
  local list = given.format and trace.notices(given) or {}
  if o.classes then list[#list + 1] = classes.notice(o.classes) end
  for _, sentence in ipairs(sessions.notices(requests, o)) do list[#list + 1] = sentence end
  return list
end

--- Copies of the requests, the first at 0 seconds, with `rate` = requests per second (sessions per second if
--- turns wait for each other). `deadline` is in seconds after the arrival.
---@param o table requests | trace = path | workload = options; skip, limit, time_unit, trace_block_size,
---  rate, users, seed, classes, sessions, think, closed_loop
---@return table|nil requests the list also has `name`, `rate`, `notices`, and `trace`: how a trace was read
---@return string? message
function M.requests(o)
  local given, name, skip, limit = source(o)
  if not given then return nil, name end
  local last = math.min(#given, skip + limit)
  if last <= skip then
    return nil, skip == 0 and "no requests" or ("no requests: skip passes over all %d"):format(#given)
  end
  local requests, message = copies(given, skip + 1, last)
  if not requests then return nil, message end
  if o.sessions then sessions.deal(requests, o.sessions, o.seed) end
  if o.users then add_users(requests, o.users, o.seed) end
  if o.classes then
    message = classes.assign(requests, o.classes, o.seed)
    if message then return nil, message end
  end
  message = sessions.link(requests, o)
  if message then return nil, message end
  local own, first = own_rate(requests), requests[1].arrival
  local factor = o.rate and own and own / o.rate or 1
  for _, r in ipairs(requests) do
    r.arrival = (r.arrival - first) * factor
    if r.deadline then r.deadline = r.arrival + r.deadline end
  end
  requests.name, requests.rate = name, own and own / factor or nil
  for _, r in ipairs(requests) do
    if r.after then requests.rate_unit = "sessions" end
  end
  for _, fact in ipairs(IDENTITY) do requests[fact] = given[fact] end
  requests.notices = notices(given, requests, o)
  if given.format then
    requests.trace = { format = given.format, rows = given.rows, skipped = given.skipped,
                       reasons = given.reasons, unsorted = given.unsorted, unread = given.unread }
  end
  return requests
end

return M
