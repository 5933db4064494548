--- A worker of an engine: a process that runs the model, or a model in Lua, behind one interface that never
--- waits.
local ffi = require "ffi"
local args = require "gdnmeta.native.args"
local domains = require "gdnmeta.native.domains"
local embedded = require "gdnmeta.worker.embedded"
local hellos = require "gdnmeta.worker.hello"
local lib = require "gdnmeta.worker.native"
local libc = require "gdnmeta.native.libc"
local methods = require "gdnmeta.native.methods"
local options = require "gdnmeta.native.options"
local packs = require "gdnmeta.worker.pack"
local remote = require "gdnmeta.worker.remote"
local results = require "gdnmeta.worker.results"
local array_of = require "gdnmeta.array_of"

local EINVAL = tonumber(lib.GDN_EINVAL)
local MONOTONIC, time = 1, array_of "int64_t" (2)
local halves = ffi.cast("int32_t *", time) -- int64 numbers would be garbage

---@class gdnmeta.Worker
---@field tokens ffi.cdata* int32 [max_num_batched_tokens], for the tokens of the next step
---@field temperature ffi.cdata* float [max_rows], for the sampling of the next step: 0, the likeliest token
---@field top_p ffi.cdata* float [max_rows], likewise: 1
---@field seed ffi.cdata* uint64 [max_rows], likewise: 0
---@field text string what the worker says of itself, once it is ready
---@field in_flight integer steps that it has and that poll has not returned
---@field pid integer|nil of its process
local Worker = {}
local metatable = {}

local SHOWN = { tokens = true, temperature = true, top_p = true, seed = true }

local function strings(value)
  if type(value) ~= "table" or #value == 0 then return false end
  for _, text in ipairs(value) do
    if type(text) ~= "string" or text:find "%z" then return false end
  end
  return true
end

local function has_forward(value)
  return type(value) == "function" or type(value) == "table" and type(value.forward) == "function"
end

local function variables(value)
  if type(value) ~= "table" then return false end
  for name, text in pairs(value) do
    if type(name) ~= "string" or type(text) ~= "string" or (name .. text):find "%z" then return false end
  end
  return true
end

local where, seconds = domains.where, domains.number(0.001, 1e6, "seconds in 0.001 .. 1000000")
local function is_engine(value) return getmetatable(value) == methods.Engine end

local OPTIONS = {
  engine = { nil, where(is_engine, "an engine"), true },
  command = { nil, where(strings, "a list of strings without NUL bytes, the program first") },
  model = { nil, where(has_forward, "a model, or a function that makes one") },
  environment = { nil, where(variables, "a table of strings by name, without NUL bytes") },
  deadline = { 60, seconds },
  start_deadline = { 600, seconds },
  on_death = { "rerun", domains.one_of { "rerun", "fail" } },
  seed = { 0, domains.integer(0, 2 ^ 53) },
  vocab_size = { 0, domains.integer(0, args.INT32_MAX) },
}

-- Seconds of a clock that only goes forward: of the worker's deadlines alone, the engine sees none of it.
local function monotonic()
  libc.libc_clock_gettime(MONOTONIC, time)
  return halves[1] * 4294967296 + halves[0] % 4294967296 + halves[2] * 1e-9
end

local function now_of(method, now)
  if now == nil then return monotonic() end
  if not (type(now) == "number" and now - now == 0) then
    error(("gdnmeta.Worker:%s: %s"):format(method, args.wrong("now", now, "seconds")), 3)
  end
  return now
end

local function opened(worker, method)
  if getmetatable(worker) ~= metatable then methods.colon("Worker", method, 4) end
  local self = worker.private
  if self.closed then error("gdnmeta.Worker: closed", 3) end
  return self
end

local function check_step(self, step)
  local e = self.engine
  local is_idle = rawequal(step, e.rowless)
  if step == nil or not is_idle and not (rawequal(step, e.steps[1]) or rawequal(step, e.steps[2])) then
    error("gdnmeta.Worker:submit: " .. args.wrong("step", step, "a step of this worker's engine"), 3)
  end
  if not is_idle and not step.in_flight or step.metadata == nil then
    error(("gdnmeta.Worker:submit: step %d is not in flight"):format(step.number), 3)
  end
end

local function check_turn(self, step)
  for n = 1, self.count do
    if rawequal(self.sent[n], step) then
      error(("gdnmeta.Worker:submit: step %d is submitted already"):format(step.number), 3)
    end
  end
  if self.count > 0 and self.engine.num_spec > 0 then
    error(("gdnmeta.Worker:submit: complete step %d first, on whose drafts this one depends"):format(
      self.sent[1].number), 3)
  end
end

--- Send a step to the worker. With tokens nil they are in worker.tokens; with sampling nil what it says is in
--- worker.temperature, top_p and seed, by row.
---@param step gdnmeta.Step with rows, and built: what engine:step or idle_step has returned
---@param tokens ffi.cdata*|nil int32 [step.num_tokens] in the order of the rows, drafts after the last known
--- one; with two steps in flight -1 for what the step before is to say
---@param sampling table|nil arrays by row: temperature (float), top_p (float), seed (uint64)
---@param now number|nil seconds, of the clock that poll is told; default: a monotonic clock
---@return boolean|nil ok
---@return string? message
---@return string|integer|nil code "dead", "hung", "version" or "corrupt" until restart(); "busy": not now
function Worker:submit(step, tokens, sampling, now)
  self = opened(self, "submit")
  check_step(self, step)
  now = now_of("submit", now)
  if self.peer.code then return nil, self.peer.message, self.peer.code end
  check_turn(self, step)
  local bytes = self.pack:step(step, tokens or self.pack.tokens, sampling)
  if bytes < 0 then
    self.pack:forget()
    return nil, ("step %d: %s"):format(step.number, self.pack:problem()), bytes
  end
  local ok, message, code = self.peer:send(bytes, now, step)
  if not ok then return nil, message, code end
  self.count = self.count + 1
  self.sent[self.count] = step
  return true
end

--- What the worker says to the oldest step that it has. Never waits. The step's accepted_drafts are then
--- written, and next_drafts where the model proposes drafts; set `stop`, and call
--- engine:complete(result.step, now).
---@param now number|nil as for submit
---@return table|nil result { step, number, num_rows, emitted, tokens, num_tokens, next_drafts, drafts,
--- num_drafts }: C arrays, valid until the next poll; nil alone: there is none yet
---@return string? message
---@return string? code "dead", "hung", "version" or "corrupt": it stays so until restart()
function Worker:poll(now)
  self = opened(self, "poll")
  local step = self.sent[1]
  local ok, message, code = self.peer:poll(step or nil, now_of("poll", now))
  if not ok then return nil, message, code end
  self.sent[1], self.sent[2], self.count = self.sent[2], false, self.count - 1
  local result = self.result
  results.write(step, result)
  result.step, result.number = step, step.number
  return result
end

--- Has the worker answered since it was started? Steps may be submitted before.
---@return boolean
function Worker:ready() return opened(self, "ready").peer.is_ready end

-- The engine's requests after the states are gone.
local function lose(self)
  local lost = self.public:lose_states()
  if self.options.on_death == "fail" then
    for _, id in ipairs(lost) do self.public:cancel(id) end
  end
  return lost
end

--- A new worker in place of this one, whatever that does. The engine loses all states: requests that ran wait
--- again and are computed from their first token on, or with on_death = "fail" are cancelled.
---@param now number|nil as for submit
---@return any[]|nil ids of those requests
---@return string? message the new worker could not be started; the engine has lost the states nevertheless
---@return string? code
function Worker:restart(now)
  self = opened(self, "restart")
  now = now_of("restart", now)
  self.peer:stop(1)
  self.sent[1], self.sent[2], self.count = false, false, 0
  local lost = lose(self)
  local ok, message, code = self.peer:start(now)
  if not ok then return nil, message, code end
  return lost
end

--- The worker's end. The engine's requests stay as they are.
---@param wait number|nil seconds that its process may take to leave by itself; default 0: it is killed
function Worker:close(wait)
  if getmetatable(self) ~= metatable then methods.colon("Worker", "close") end
  self = self.private
  if self.closed then return end
  self.closed = true
  self.peer:stop(1, wait)
  self.pack.buffers:close()
end

function metatable.__index(worker, name)
  if Worker[name] then return Worker[name] end
  local self = rawget(worker, "private")
  if SHOWN[name] then return self.pack[name] end
  if name == "text" then return self.peer.text end
  if name == "in_flight" then return self.count end
  if name == "pid" then return self.peer:id() end
  error("gdnmeta.Worker: no field " .. args.show(name), 2)
end

function metatable.__newindex(_, name)
  error("gdnmeta.Worker: read-only, cannot set " .. args.show(name), 2)
end

function metatable:__tostring()
  self = self.private
  return ("gdnmeta.Worker(%s, %d in flight%s)"):format(
    self.options.command and args.word(self.options.command[1]) or "a model in Lua", self.count,
    self.closed and ", closed" or self.peer.code and ", " .. self.peer.code or "")
end

--- gdn.worker: start a worker. docs/worker.md lists the options.
---@param given table engine, and command or model
---@return gdnmeta.Worker|nil worker
---@return string? message
---@return string|integer|nil code
---@function worker
return function(given)
  local o, problem = options.read(given, OPTIONS)
  if o and (o.command == nil) == (o.model == nil) then problem = "want one of command and model" end
  if o and not problem and o.engine.private.closed then problem = "the engine is closed" end
  if problem then error("gdnmeta.worker: " .. problem, 2) end
  local engine = o.engine.private
  if engine.device_accepted then return nil, "the engine's accepted counts are on a device", EINVAL end
  if engine.prefix and engine.prefix.host then
    return nil, "the engine has host_slots, and a worker is told of no copies between device and host", EINVAL
  end
  local pack, message = packs.new(engine, hellos.of(engine, o))
  if not pack then return nil, message, EINVAL end
  local result = results.new(pack.hello.config)
  local peer = (o.command and remote or embedded).new(pack, o, engine.num_spec, result)
  local self = { engine = engine, public = o.engine, options = o, pack = pack, peer = peer,
                 sent = { false, false }, count = 0, closed = false, result = result }
  local ok, code
  ok, message, code = peer:start(monotonic())
  if not ok then return nil, message, code end
  return setmetatable({ private = self }, metatable)
end
