-- Starts examples/nginx on a free port of loopback, and talks to it with curl. What it starts ends after five
-- minutes at the latest, also when it is not stopped. Waits may be long, for a busy machine, and end at once.
local cjson = require "cjson"
local assert = require "luassert"
local sse = require "spec.support.sse"
local tiny = require "examples.tiny_model"

local Server = {}
Server.__index = Server

local M = {}

--- A command's output, and whether it succeeded.
function M.run(command)
  local pipe = assert(io.popen(command .. "; echo $?"))
  local text = pipe:read "*a"
  pipe:close()
  local output, status = text:match "^(.-)(%d+)\n$"
  return output, status == "0"
end

--- At one stroke: no reader sees half of it.
function M.write(path, text)
  local file = assert(io.open(path .. ".part", "wb"))
  file:write(text)
  file:close()
  assert(os.rename(path .. ".part", path))
end

local function environment(port, settings)
  local list = { "env -u LD_PRELOAD -u LUA_PATH -u LUA_CPATH PORT=" .. port }
  for name, value in pairs(settings or {}) do list[#list + 1] = ("%s='%s'"):format(name, value) end
  return table.concat(list, " ")
end

--- Wait until look() is true, for `seconds` at most.
function M.eventually(look, seconds)
  for _ = 1, 20 * (seconds or 30) do
    local found = look()
    if found then return found end
    os.execute "sleep 0.05"
  end
  return false
end

-- Runs of specs side by side draw the same numbers.
local pid = tonumber(io.lines "/proc/self/stat"():match "%d+")

-- Below the ports that Linux gives to clients. A port is whose who has made its folder: until nginx listens,
-- nothing else tells others that it is taken.
local function free_port()
  local taken = {}
  for port in M.run "cat /proc/net/tcp":gmatch ": %x+:(%x+) %x+:0000 " do taken[tonumber(port, 16)] = true end
  for _ = 1, 1000 do
    local port = 20000 + (math.random(0, 11999) + 97 * pid) % 12000
    local make = ("mkdir build/nginx/%d 2>/dev/null"):format(port)
    if not taken[port] and os.execute(make) == 0 then return port end
  end
  error "no port is free in 20000 .. 31999, or no folder can be made in build/nginx"
end

local function readable(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

--- Why nothing here can run, or nil.
function M.absent()
  if not readable "build/nginx/root/usr/sbin/nginx" then
    return "nginx is not unpacked: make nginx does that, or says why it cannot"
  end
  for folder in os.getenv "PATH":gmatch "[^:]+" do
    if readable(folder .. "/curl") then return nil end
  end
  return "curl is not installed"
end

local running = {}

function M.stop_all()
  while running[1] do table.remove(running):stop() end
end

--- For a describe: is there no nginx to run? Else what an `it` starts ends with it.
---@param pending function of busted
---@param after_each function of busted
function M.left_out(pending, after_each)
  local why = M.absent()
  if why then pending(why) else after_each(M.stop_all) end
  return why
end

--- What the server's model says to a prompt by itself.
function M.alone(prompt, n, sampled) return tiny.alone(7, prompt, n, sampled) end

--- settings: environment variables; path: where it answers once it is up, by default 200 at /healthz; seconds
--- after which it ends, by default 300.
function M.start(settings, path, seconds)
  local self = setmetatable({ port = free_port() }, Server)
  running[#running + 1] = self
  self.url, self.folder = "http://127.0.0.1:" .. self.port, "build/nginx/" .. self.port
  os.execute(("%s timeout %d examples/nginx/serve run >%s/output 2>&1 &"):format(
    environment(self.port, settings), seconds or 300, self.folder))
  local up = M.eventually(function()
    local status = self:get(path or "/healthz").status
    return status == 200 or path and status > 0
  end)
  if not up then error("nginx does not answer: " .. self:log()) end
  return self
end

--- As a server on a port where none is.
function M.nobody()
  local port = free_port()
  running[#running + 1] = { stop = function() os.execute("rmdir build/nginx/" .. port) end }
  return { port = port }
end

--- front.conf before two engines.
function M.front(one, other)
  local path = os.tmpname()
  local file = assert(io.open "examples/nginx/front.conf")
  local conf = file:read "*a"
  file:close()
  M.write(path, (conf:gsub("server 127%.0%.0%.1:(%d+)", {
    ["8081"] = "server 127.0.0.1:" .. one.port, ["8082"] = "server 127.0.0.1:" .. other.port,
  })))
  local server = M.start({ CONF = path }, "/x")
  os.remove(path)
  return server
end

--- What a start says that fails.
function M.refusal(settings)
  local port = free_port()
  local text, ok = M.run(environment(port, settings) .. " timeout 60 examples/nginx/serve run 2>&1")
  os.execute("rm -rf build/nginx/" .. port)
  return not ok and text
end

function Server:stop()
  if self.stopped then return end
  self.stopped = true
  M.run(("PORT=%d timeout 20 examples/nginx/serve stop 2>&1"):format(self.port))
  os.execute("rm -rf " .. self.folder)
end

--- The master's.
function Server:pid()
  return tonumber((M.run(("cat %s/nginx.pid"):format(self.folder))))
end

function Server:log()
  return (M.run(("cat %s/output %s/error.log 2>&1"):format(self.folder, self.folder)))
end

-- curl's own time limit bounds every request.
local function curl(self, path, arguments)
  local text = M.run(("curl -s -N -i --max-time 60 %s '%s%s'"):format(arguments or "", self.url, path))
  text = text:gsub("^HTTP/1.1 100 Continue\r\n\r\n", "")
  local head, body = text:match "^(.-)\r\n\r\n(.*)$"
  local answer = { status = 0, headers = {}, body = body or "" }
  if not head then return answer end
  answer.status = tonumber(head:match "^HTTP/1.1 (%d+)")
  for name, value in head:gmatch "\r\n([%w-]+): ([^\r]*)" do answer.headers[name:lower()] = value end
  return answer
end

function Server:get(path, arguments) return curl(self, path, arguments) end

--- body: sent as it is, or as the JSON of a table; arguments: more of them for curl; path: the endpoint.
function Server:post(body, arguments, path)
  if type(body) == "table" then body = cjson.encode(body) end
  local file = os.tmpname()
  M.write(file, body)
  local answer = curl(self, path or "/v1/completions", ("%s --data-binary @%s"):format(arguments or "", file))
  os.remove(file)
  return answer
end

--- A completion that goes on meanwhile. What it returns waits for its end and returns the answer's body.
---@param body table of the request
---@return function
function Server:begin(body)
  local path = os.tmpname()
  os.execute(("{ curl -sN -m 100 -d '%s' %s/v1/completions >%s 2>/dev/null; echo >%s.end; } &"):format(
    cjson.encode(body), self.url, path, path))
  return function()
    local has_ended = M.eventually(function() return readable(path .. ".end") end, 120)
    local file = assert(io.open(path, "rb"))
    local text = file:read "*a"
    file:close()
    os.remove(path)
    os.remove(path .. ".end")
    return has_ended and text or error(text)
  end
end

--- The same to the chat endpoint.
function Server:chat(body, arguments) return self:post(body, arguments, "/v1/chat/completions") end

--- A stream's text and how it ended.
function Server:stream(body, arguments, path)
  body.stream = true
  local answer = self:post(body, arguments, path)
  local stream = sse.read(answer.body)
  stream.answer = answer
  return stream
end

--- Samples by name and labels, without the prefix, summed over classes: ["requests_total length"].
function Server:metrics()
  local samples = { requests_arrived_total = 0 } -- which has no sample before the first
  for name, labels, value in self:get("/metrics").body:gmatch "\ngdnmeta_([%w_]+)(%S*) (%S+)" do
    for label, text in labels:gmatch '(%w+)="([^"]*)"' do
      if label ~= "class" then name = name .. " " .. text end
    end
    samples[name] = (samples[name] or 0) + tonumber(value)
  end
  return samples
end

--- Soon nothing waits or runs, no slot is lost but to states that are kept, and every request that came is
--- accounted for.
---@param seconds number|nil that it may take
---@return table metrics
function Server:check_idle(seconds)
  local m
  M.eventually(function()
    m = self:metrics() -- of no request where it did not answer
    return m.open_requests and m.requests_waiting + m.requests_running + m.open_requests == 0
  end, seconds)
  assert.are.same({ 0, 0, 0, 0 },
    { m.requests_waiting, m.requests_running, m.open_requests, m.slots_used - (m.cache_slots or 0) },
    self:log())
  assert.are.equal(m.requests_arrived_total,
    m.requests_finished_total + m.requests_cancelled_total + m.requests_rejected_total)
  return m
end

return M
