-- The tokenizer's process (tokenizer.py), and what is asked of it over its socket without blocking nginx.
-- Without one, tokens are bytes.
local json = require "examples.nginx.json"
local side_process = require "examples.nginx.side_process"

local IDLE = 60000 -- milliseconds that a connection is kept for the next question
-- So many connections at once, fewer than a program's queue of those that it has not taken yet, and questions
-- that wait for one of them: a Unix socket whose queue is full refuses.
local POOL = { pool_size = 4, backlog = 65536 }
local LOOK = 0.1 -- seconds between two looks at a process that starts
local FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10 -- seconds before one that did not come to listen is started again

local Tokenizer = {}
Tokenizer.__index = Tokenizer

-- Start the process, if it does not run. One that was killed has left its socket, where nobody listens.
local function start(self)
  if self.process:alive() then return true end
  os.remove(self.path)
  return self.process:start()
end

-- Does it listen? nginx logs each connection that is refused, so none is tried before.
local function listens(self) return os.rename(self.path, self.path) ~= nil end

-- One question: the answer's object; or nil and what is wrong, and whether it is the question's fault.
local function ask(self, question)
  local socket = ngx.socket.tcp()
  socket:settimeouts(self.deadline, self.deadline, self.deadline)
  local ok, problem = socket:connect("unix:" .. self.path, POOL)
  if not ok then return nil, "the tokenizer does not answer: " .. problem end
  ok, problem = socket:send(json.encode(question) .. "\n")
  local line
  if ok then line, problem = socket:receive "*l" end
  if not line then
    socket:close()
    if problem == "timeout" then -- look() starts another one
      ngx.log(ngx.ERR, "the tokenizer hangs: no answer within ", self.deadline / 1000, " s")
      self.process:close()
    end
    return nil, "the tokenizer does not answer: " .. problem
  end
  socket:setkeepalive(IDLE)
  local answer, wrong = json.object(line)
  if not answer then return nil, "the tokenizer: " .. wrong end
  if answer.error then return nil, answer.error, true end
  return answer
end

-- The bytes of each token, and those that end an answer.
local function vocabulary_of(answer)
  local whole, at, bytes, ends = ngx.decode_base64(answer.bytes), 1, {}, {}
  for n, length in ipairs(answer.lengths) do
    bytes[n - 1], at = whole:sub(at, at + length - 1), at + length
  end
  for _, token in ipairs(answer.ends) do ends[token] = true end
  return { bytes = bytes, ends = ends, size = answer.size }
end

--- Wait for the process, and learn its vocabulary.
---@param seconds number at most
---@return table|nil vocabulary { bytes, ends, size }
---@return string? problem
function Tokenizer:load(seconds)
  local ok, problem = start(self)
  if not ok then return nil, problem end
  for _ = 1, seconds / LOOK do
    local answer = self.process:alive() and listens(self) and ask(self, { op = "vocabulary" })
    if answer then
      self.vocabulary = vocabulary_of(answer)
      return self.vocabulary
    end
    local ended = self.process:ended()
    if ended then return nil, "the tokenizer " .. ended .. ", the log has the reason" end
    if ngx.worker.exiting() then return nil, "the server stops" end
    ngx.sleep(LOOK)
  end
  return nil, ("the tokenizer did not start within %g s"):format(seconds)
end

--- In a timer: one that has ended is started again; one that ends before it listens, after growing pauses.
function Tokenizer:look()
  local ended = self.process:ended()
  if not ended then
    if listens(self) then self.failed, self.next_start = 0, 0 end
    return
  end
  if ngx.now() < self.next_start then return end
  self.failed = self.failed + 1
  self.next_start = ngx.now() + math.min(FIRST_PAUSE * 2 ^ self.failed, LONGEST_PAUSE)
  ngx.log(ngx.ERR, "the tokenizer ", ended, ", another one is started")
  local ok, problem = start(self)
  if not ok then ngx.log(ngx.ERR, problem) end
end

--- Why text cannot be read now; nil: all is well.
---@return string|nil
function Tokenizer:trouble()
  if self.process:ended() or not listens(self) then return "the tokenizer is being loaded again" end
end

-- What the model does not know of would end its worker.
local function wrong_token(tokens, size)
  if type(tokens) ~= "table" then return "no tokens" end
  for _, token in ipairs(tokens) do
    if type(token) ~= "number" or token % 1 ~= 0 or token < 0 or token >= size then
      return "token " .. tostring(token)
    end
  end
end

--- The tokens of a request's prompt.
---@param request table of request.lua
---@return table|nil tokens a list
---@return string? message
---@return integer? status HTTP
---@return string? param the field at fault
function Tokenizer:encode(request)
  if type(request.prompt) == "table" then return request.prompt end
  local trouble, field = self:trouble(), request.messages and "messages" or "prompt"
  if trouble then return nil, trouble, 503 end
  local answer, problem, refused = ask(self, request.messages
    and { op = "chat", messages = request.messages, text = request.prompt }
    or { op = "encode", text = request.prompt })
  if not answer then return nil, problem, refused and 400 or 503, refused and field or nil end
  local size = self.vocabulary.size
  local wrong = wrong_token(answer.tokens, size)
  if wrong then
    return nil, ("the tokenizer gave %s, the model has 0 .. %d"):format(wrong, size - 1), 503
  end
  if #answer.tokens == 0 then return nil, field .. " has no tokens", 400, field end
  return answer.tokens
end

function Tokenizer:close() self.process:close() end

local M = {}

--- command: a list of words, to which the socket's path is added.
---@param command string[]
---@param path string of the socket
---@param deadline number seconds for an answer
function M.new(command, path, deadline)
  local words = { unpack(command) }
  words[#words + 1] = path
  return setmetatable({ path = path, deadline = 1000 * deadline, -- milliseconds
                        failed = 0, next_start = 0, -- starts in a row, and a time of ngx.now()
                        process = side_process.new(words) }, Tokenizer)
end

return M
