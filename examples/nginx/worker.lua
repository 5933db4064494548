-- The engine of an nginx worker: handlers submit requests, a timer steps, streams carry bytes back.
-- Everything here runs in one thread, so nothing is locked; only ngx.sleep and semaphores let others run.
local process = require "ngx.process"
local semaphore = require "ngx.semaphore"
local gdn = require "gdnmeta"
local hosts = require "examples.serving"
local policy_file = require "examples.nginx.policy_file"
local read_settings = require("examples.nginx.settings").read
local streams = require "examples.nginx.stream"

-- Steps of a timer. What nginx keeps for a timer is freed when it ends, so that it is renewed now and then.
local STEPS = 1000

local M = {}

local settings, engine, host, failure
local open, num_open = {}, 0 -- streams by id
local work, asleep = semaphore.new(), false

-- The model or the engine raised: what is in flight is lost. nginx starts a new worker in place of one that
-- exits, and it begins afresh.
local function fail(problem)
  failure = "the step loop failed: " .. problem
  ngx.log(ngx.EMERG, failure)
  for _, stream in pairs(open) do stream:fail("the server failed", 500) end
  process.signal_graceful_exit()
end

local function wait_for_work()
  asleep = true
  work:wait(0.5) -- seconds: a worker that is told to exit is not woken
  asleep = false
end

-- A timer's handler. A worker that exits goes on until every stream has ended.
local function run()
  for _ = 1, STEPS do
    if engine:idle() then
      if ngx.worker.exiting() then return end
      wait_for_work()
    else
      local ok, busy, problem = pcall(host.step, host, ngx.now())
      if not ok or busy == nil then return fail(ok and problem or busy) end
      ngx.sleep(0.001) -- one round of nginx; a sleep of 0 wants a patched one
    end
  end
  if not ngx.timer.at(0, run) then return run() end -- an exiting worker takes no new timers
end

local function look_at_policy(premature)
  if premature then return end
  M.policy:look()
  M.policy:report()
end

local function make_engine()
  local builder = assert(gdn.builder {
    device = "cpu", max_num_seqs = settings.max_num_seqs,
    max_num_batched_tokens = settings.max_num_batched_tokens,
    num_speculative_tokens = settings.num_speculative_tokens,
  })
  local made = assert(gdn.engine {
    builder = builder, policy = settings.policy, max_model_len = settings.max_model_len,
    max_num_batched_tokens = settings.max_num_batched_tokens,
  })
  return made, hosts.new(made, require(settings.model).new { seed = settings.seed, builder = builder })
end

--- In the master: whatever is wrong with the settings keeps nginx from starting.
function M.check()
  settings = read_settings()
  local trial = make_engine()
  trial:close()
  trial.builder:close()
end

--- In a worker.
function M.start()
  engine, host = make_engine()
  M.engine, M.policy = engine, policy_file.new(engine, settings.policy)
  assert(ngx.timer.at(0, run))
  assert(ngx.timer.every(settings.policy_seconds, look_at_policy))
end

--- Why no request can be taken; nil: all is well.
---@return string|nil
function M.problem()
  if not host then return "the engine did not start" end
  return failure
end

function M.num_open() return num_open end

--- request: id, prompt, max_tokens, user, priority.
---@return table|nil stream to be closed
---@return string? message
---@return integer? status HTTP
function M.submit(request)
  local problem = M.problem()
  if problem then return nil, problem, 503 end
  local waiting = engine.stats.waiting
  if waiting >= settings.max_waiting then
    return nil, ("%d requests wait already, want fewer than %d"):format(waiting, settings.max_waiting), 429
  end
  local stream = streams.new(request.id)
  local ok, message = host:submit {
    id = request.id, prompt = request.prompt, max_tokens = request.max_tokens, user = request.user,
    priority = request.priority,
    on_bytes = function(bytes, reason)
      if reason == "rejected" then
        stream:fail("the policy turned the request away", 429)
      else
        stream:put(bytes, reason)
      end
    end,
  }
  if not ok then return nil, message, 400 end
  open[stream.id], num_open = stream, num_open + 1
  if asleep then
    asleep = false
    work:post()
  end
  return stream
end

--- Nobody listens any more: what has not finished is cancelled, and its slots are free.
function M.close(stream)
  if not open[stream.id] then return end
  open[stream.id], num_open = nil, num_open - 1
  if not stream.finished and not stream.problem then host:cancel(stream.id) end
end

--- The settings this worker runs with.
function M.settings() return settings end

return M
