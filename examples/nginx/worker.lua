-- The engine of an nginx worker: handlers submit requests, a timer steps, streams carry bytes back.
-- Everything here runs in one thread, so nothing is locked; only ngx.sleep and semaphores let others run.
local ffi = require "ffi"
local process = require "ngx.process"
local backends = require "examples.nginx.backend"
local clock = require "examples.nginx.clock"
local semaphore = require "ngx.semaphore"
local gdn = require "gdnmeta"
local hooks_file = require "examples.nginx.hooks_file"
local make_engine = require "examples.nginx.make_engine"
local read_settings = require("examples.nginx.settings").read
local streams = require "examples.nginx.stream"
local trace_cuts = require "gdnmeta.native.trace_cuts"
local uses = require "examples.nginx.uses"

ffi.cdef "int kill(int pid, int signal);"

-- Steps of a timer. What nginx keeps for a timer is freed when it ends, so that it is renewed now and then.
local STEPS = 1000
local RETRY = 1 -- seconds, until an engine that could not be made is tried again
local LAST_WORDS = 2 -- seconds that a failed worker has to tell its clients
local SIGTERM, ECAP = 15, gdn.ECAP

local M = {}

local settings, engine, host, backend, failure, started
local open, num_open = {}, 0 -- streams by id
local reported = 0 -- failures of hooks
local work, asleep = semaphore.new(), false
local secret = assert(io.open("/dev/urandom", "rb")):read(16) -- of this worker, whose states nobody else has

-- The model or the engine raised: what is in flight is lost. nginx starts a new worker in place of one that
-- exits, and it begins afresh. Clients who do not read do not keep it.
local function fail(problem)
  failure = "the step loop failed: " .. problem
  ngx.log(ngx.EMERG, failure)
  for _, stream in pairs(open) do stream:fail("the server failed", 500) end
  process.signal_graceful_exit()
  for _ = 1, LAST_WORDS / 0.05 do
    if num_open == 0 then return end
    ngx.sleep(0.05)
  end
  ffi.C.kill(ngx.worker.pid(), SIGTERM)
end

local function wait_for_work()
  asleep = true
  work:wait(0.5) -- seconds: nothing wakes a worker that must exit
  asleep = false
end

-- The model does not come to run: requests that are here fail.
local function give_up(problem)
  for id, stream in pairs(open) do
    if not stream.finished and not stream.problem then
      stream:fail(problem, 503)
      host:cancel(id)
    end
  end
end

local function stop()
  give_up "the server stops"
  backend:close()
end

-- A timer's handler. A worker that exits goes on until every stream has ended.
local function run()
  for _ = 1, STEPS do
    if engine:idle() then
      if ngx.worker.exiting() then return stop() end
      wait_for_work()
    end
    local ok, goes_on
    if engine:idle() then
      ok, goes_on = pcall(backend.idle, backend)
    else
      ok, goes_on = pcall(backend.step, backend, clock.now)
    end
    if not ok then return fail(goes_on) end
    if not goes_on then return stop() end
    if not engine:idle() then ngx.sleep(0.001) end -- one round of nginx; a sleep of 0 wants a patched one
  end
  if not ngx.timer.at(0, run) then return run() end -- an exiting worker takes no new timers
end

local function launch(premature)
  if premature then return end
  local ok, goes_on = pcall(backend.start, backend)
  if not ok then return fail(goes_on) end
  if not goes_on then return stop() end
  return run()
end

local function look_at_files(premature)
  if premature then return end
  for _, file in ipairs { M.policy, M.cache or nil } do file:look() end
  reported = hooks_file.report(engine, reported)
  backend:look()
end

local function first_hooks()
  return hooks_file.first("policy", settings.policy),
    settings.cache_states > 0 and hooks_file.first("cache", settings.cache) or {}
end

--- In the master: whatever is wrong with the settings keeps nginx from starting.
function M.check()
  settings = read_settings()
  local policy, cache = first_hooks()
  if policy.refused then error("policy " .. policy.refused:gsub("^policy ", ""), 0) end
  if cache.refused then error("cache " .. cache.refused:gsub("^cache ", ""), 0) end
  local trial = make_engine(settings, policy.hooks, cache.hooks)
  backends.new(settings, trial, give_up)
  trial:close()
  trial.builder:close()
end

local function begin()
  local policy, cache = first_hooks()
  local made = make_engine(settings, policy.hooks, cache.hooks)
  backend = backends.new(settings, made, give_up)
  M.metrics = assert(gdn.metrics(made))
  M.engine, M.policy = made, hooks_file.new("policy", made, settings.policy, policy)
  M.cache = settings.cache_states > 0 and hooks_file.new("cache", made, settings.cache, cache)
  M.backend, engine, host, failure, reported = backend, made, backend.host, nil, 0
  assert(ngx.timer.at(0, launch))
  assert(ngx.timer.every(settings.policy_seconds, look_at_files))
end

--- In a worker. What keeps an engine from being made may pass.
function M.start(premature)
  if premature then return end
  trace_cuts.raise_limits()
  started = started or ngx.time()
  local ok, problem = pcall(begin)
  if ok then return end
  failure = "the engine did not start: " .. tostring(problem)
  ngx.log(ngx.EMERG, failure)
  assert(ngx.timer.at(RETRY, M.start))
end

--- Why no request can be taken; nil: all is well.
---@return string|nil
function M.problem() return failure or backend and backend.problem end

--- The same, or why only prompts that are tokens can be taken.
---@return string|nil
function M.trouble() return M.problem() or backend and backend:trouble() end

function M.num_open() return num_open end

--- The tokens of a request's prompt, as many as the model knows. Yields where a tokenizer is asked.
---@param request table of request.lua
---@return table|string|nil tokens
---@return string? message
---@return integer? status HTTP
---@return string? param the field at fault
function M.encode(request)
  if M.problem() then return nil, M.problem(), 503 end
  return backend:encode(request)
end

--- How many tokens the model knows; nil: tokens are bytes.
---@return integer|nil
function M.vocabulary() return backend and backend:size() end

-- Why a request is refused: message, status, the field at fault, code.
local function refusal(request)
  if M.problem() then return M.problem(), 503 end
  if request.priority ~= 0 and not uses.field(engine.policy, "priority") then
    return ("priority = %d, want 0: the policy %s does not look at it"):format(request.priority,
      engine.policy.name), 400, "priority"
  elseif request.temperature > 0 and not host.worker.samples then
    return ("temperature = %g, want 0: the model %s is greedy"):format(request.temperature,
      settings.name), 400, "temperature"
  end
  local waiting = engine.stats.waiting
  if waiting >= settings.max_waiting then
    return ("%d requests wait already, want fewer than %d"):format(waiting, settings.max_waiting), 429, nil,
      "queue_full"
  end
end

-- The bytes that a step adds to an answer.
local function to_stream(stream)
  return function(bytes, reason, tokens)
    if reason == "rejected" then
      stream:fail("the policy turned the request away", 429)
    elseif reason == "failed" then
      stream:fail("the worker that ran the request has died", 503)
    elseif reason ~= "cancelled" then
      stream:put(bytes, reason, tokens)
    end
  end
end

-- Nobody finds states of another key. The secret keeps those who know that there is no key from making up
-- prompts whose ids are those of other prompts.
local function salt_of(key)
  if not M.cache then return nil end
  return secret .. (key or "")
end

--- request: what request.lua gives, and id and key.
---@return table|nil stream to be closed
---@return string? message
---@return integer? status HTTP
---@return string? param the field at fault
---@return string? code for programs
function M.submit(request)
  local problem, status, param, name = refusal(request)
  if problem then return nil, problem, status, param, name end
  local stream = streams.new(request.id)
  local ok, message, code = host:submit {
    id = request.id, class = request.class, arrival = request.arrival, prompt = request.prompt,
    max_tokens = request.max_tokens, salt = salt_of(request.key),
    user = request.user, priority = request.priority, stop = request.stop, temperature = request.temperature,
    top_p = request.top_p, seed = request.seed, on_bytes = to_stream(stream),
  }
  if not ok then return nil, message, 400, nil, code == ECAP and "context_length_exceeded" or nil end
  open[stream.id], num_open, stream.record = stream, num_open + 1, ok
  if asleep then
    asleep = false
    work:post()
  end
  return stream
end

--- The server stops: what has not finished is cancelled, and its slots are free.
function M.close(stream)
  if not open[stream.id] then return end
  open[stream.id], num_open = nil, num_open - 1
  if not stream.finished and not stream.problem then host:cancel(stream.id) end
end

--- Whether a stream's request waits in the queue.
function M.is_waiting(stream)
  local request = engine:request(stream.id)
  return request ~= nil and request.state == "waiting"
end

--- The settings this worker runs with.
function M.settings() return settings end

--- When this worker began, in seconds.
function M.started() return started end

return M
