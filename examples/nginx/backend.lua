-- Where the model runs: in this process, or in a worker's process, which is started, watched and started
-- again.
local gdn = require "gdnmeta"
local elsewhere = require "examples.elsewhere"
local hosts = require "examples.serving"

local POLL = 0.001 -- seconds between two looks for a step's results
local STARTING = 0.05 -- seconds between two looks at a process that starts
local FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10 -- seconds before a process is started again
local PATIENCE = 3 -- starts that fail in a row, before waiting requests are told

local PYTHONPATH = os.getenv "PYTHONPATH"

-- The worker of examples/worker.lua and Python find this checkout's modules.
local ENVIRONMENT = { LUA_PATH = "./lua/?.lua;./lua/?/init.lua;./?.lua;;", LUA_CPATH = "./build/?.so;;",
                      PYTHONPATH = "examples/pytorch" .. (PYTHONPATH and ":" .. PYTHONPATH or "") }

local Backend = {}
Backend.__index = Backend

-- Until the process has answered; the state is what clients hear.
local function wait(self)
  while not self.worker:ready() do
    local _, problem = self.worker:poll()
    if problem then return nil, problem end
    if ngx.worker.exiting() then return nil, "the server stops" end
    ngx.sleep(STARTING)
  end
  self.problem, self.failed = nil, 0
  ngx.log(ngx.NOTICE, "the worker is ready: ", self.worker.text)
  return true
end

-- The tokenizer first: the worker is told the vocabulary's size.
local function make(self)
  local settings, vocabulary = self.settings, nil
  if self.tokenizer then
    local why
    vocabulary, why = self.tokenizer:load(settings.worker_start)
    if not vocabulary then return nil, why end
    self.host.vocabulary = vocabulary
  end
  local problem
  self.worker, problem = gdn.worker {
    engine = self.engine, command = settings.worker, environment = ENVIRONMENT, seed = settings.seed,
    deadline = settings.worker_deadline, start_deadline = settings.worker_start,
    vocab_size = vocabulary and vocabulary.size,
  }
  if not self.worker then return nil, problem end
  self.host.worker = elsewhere.new(self.worker)
  return wait(self)
end

-- Another process. The engine has lost all states; `ids` are those of requests that ran.
local function restart(self, ids)
  if not self.worker then return make(self) end
  local ok, problem = self.worker:restart()
  self.restarts = self.restarts + 1
  self.host:lost(ids, self.settings.worker_losses)
  if not ok then return nil, problem end
  return wait(self)
end

local function running(self)
  local ids = {}
  for id in pairs(self.host.records) do
    if self.engine:request(id).state == "running" then ids[#ids + 1] = id end
  end
  return ids
end

-- A start has failed: after some of them, those who wait are told.
local function note(self, problem)
  self.failed = self.failed + 1
  local says_why = not problem:find "^the worker has ended"
  self.problem = "the model does not run: " .. problem .. (says_why and "" or ", the log has the reason")
  ngx.log(ngx.ERR, self.problem)
  if self.failed >= PATIENCE then self.give_up(self.problem) end
  ngx.sleep(math.min(FIRST_PAUSE * 2 ^ self.failed, LONGEST_PAUSE))
end

--- Start the process, and again until it runs. Yields.
---@return boolean ok false: the server stops
function Backend:start()
  if not self.settings.worker then return true end
  self.problem = "the model is being loaded"
  return self:recover()
end

--- The process cannot go on: another takes its place. Requests that ran are computed again, or fail.
---@param problem string|nil why, nil: it has not been started
---@return boolean ok false: the server stops
function Backend:recover(problem)
  if problem then
    self.problem = "the model is being loaded again"
    ngx.log(ngx.ERR, problem, "; another worker is started")
  end
  local ok, why = restart(self, running(self))
  while not ok do
    if ngx.worker.exiting() then return false end
    note(self, why)
    ok, why = restart(self, running(self))
  end
  return true
end

--- One step, from its plan to its results. Yields while the process works.
---@param now function returns seconds
---@return boolean ok false: the server stops
function Backend:step(now)
  local host = self.host
  local rows, problem = host:begin(now())
  if not rows then error(problem, 0) end
  if rows == 0 then return true end
  local done, message = host:poll(now)
  while done == false do
    ngx.sleep(POLL)
    done, message = host:poll(now)
  end
  return done or self:recover(message)
end

--- Nothing is to be done: does the process live?
---@return boolean ok false: the server stops
function Backend:idle()
  if not self.worker then return true end
  local _, problem = self.worker:poll()
  return not problem or self:recover(problem)
end

--- In a timer.
function Backend:look()
  if self.tokenizer and not self.problem then self.tokenizer:look() end
end

--- The tokens of a request's prompt. Yields.
function Backend:encode(request)
  if not self.tokenizer then return request.prompt end
  return self.tokenizer:encode(request)
end

--- Why text cannot be answered now; nil: it can.
---@return string|nil
function Backend:trouble() return self.problem or self.tokenizer and self.tokenizer:trouble() end

--- Tokens that the model knows; nil: they are bytes.
function Backend:size() return self.host.vocabulary and self.host.vocabulary.size end

function Backend:close()
  if self.worker then self.worker:close() end
  if self.tokenizer then self.tokenizer:close() end
end

local M = {}

---@param settings table
---@param engine table
---@param give_up function(problem) fails the requests that are here
function M.new(settings, engine, give_up)
  local self = setmetatable({ settings = settings, engine = engine, give_up = give_up, failed = 0,
                              restarts = 0 }, Backend)
  if settings.worker then
    self.host = hosts.over(engine, { samples = true })
    self.tokenizer = settings.tokenizer
      and require("examples.nginx.tokenizer").new(settings.tokenizer, settings.socket,
        settings.worker_deadline)
  else
    local model = require(settings.model).new { seed = settings.seed, builder = engine.builder }
    self.host = hosts.new(engine, model)
  end
  return self
end

return M
