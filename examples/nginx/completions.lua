-- POST /v1/completions and /v1/chat/completions: an answer in one piece, or as server-sent events while it
-- is made.
local client = require "examples.nginx.client"
local errors = require "examples.nginx.errors"
local http = require "examples.nginx.http"
local parse = require("examples.nginx.request").parse
local shapes = require "examples.nginx.shapes"
local texts = require "examples.nginx.text"
local worker = require "examples.nginx.worker"

local FIRST_LOOK = 0.2 -- seconds for the first step, which may reject a request
local LOOK = 0.25 -- seconds between two checks of a waiting client

local M = {}

-- Sent at once. What nginx buffers, because of its settings, is not lost.
local function send(text)
  if not ngx.print(text) then return false end
  local ok, problem = ngx.flush(true)
  return ok ~= nil or problem == "buffering"
end

-- After this an error is an event.
local function send_headers(request)
  request.headers_sent = true
  ngx.header["Content-Type"] = "text/event-stream"
  ngx.header["Cache-Control"] = "no-cache"
  ngx.header["X-Accel-Buffering"] = "no" -- for an nginx in front
  ngx.send_headers()
end

local function keep_alive(request)
  if not request.headers_sent then send_headers(request) end
  return send ": keep-alive\n\n"
end

-- More bytes of the answer, once there are any; or nil, a problem and a status, without status for a client
-- who left. A client that waits for a stream gets a sign of life.
local function next_bytes(request, stream)
  local settings, start = worker.settings(), ngx.now()
  local since, sent = start, request.headers_sent and start or start - settings.keep_alive + FIRST_LOOK
  while not client.gone() do
    local bytes, problem, status = stream:wait(math.min(LOOK, settings.keep_alive))
    if bytes or problem then return bytes, problem, status end
    local now, queued = ngx.now(), request.stream and worker.is_waiting(stream)
    if queued then since = now end
    if now - since >= settings.timeout then
      return nil, ("no token within %g s"):format(settings.timeout), 504
    elseif now - start >= settings.queue_timeout then
      return nil, ("not begun within %g s"):format(settings.queue_timeout), 504
    elseif request.stream and now - sent >= settings.keep_alive then
      sent = now
      if not keep_alive(request) then break end
    end
  end
  return nil, "the client left"
end

local function send_events(request, stream, text)
  local bytes, reason, status
  repeat
    bytes, reason, status = next_bytes(request, stream)
    if not bytes then break end
    if not request.headers_sent then send_headers(request) end
    for _, json in ipairs(shapes.events(request, text:feed(bytes, reason), reason)) do
      if not send("data: " .. json .. "\n\n") then return false end
    end
  until reason
  if not bytes then
    if not status then return false end
    if not request.headers_sent then return errors.answer(status, reason) end
    return send("data: " .. errors.json(status, reason) .. "\n\n")
  end
  if request.stream_options.include_usage then
    send("data: " .. shapes.usage_event(request, stream.count, stream:cached()) .. "\n\n")
  end
  return send "data: [DONE]\n\n"
end

local function send_whole(request, stream, text)
  local pieces, bytes, reason, status = {}
  repeat
    bytes, reason, status = next_bytes(request, stream)
    if not bytes then
      if not status then return false end
      return errors.answer(status, reason)
    end
    pieces[#pieces + 1] = text:feed(bytes, reason)
  until reason
  local json = shapes.whole(request, table.concat(pieces), reason, stream.count, stream:cached())
  ngx.header["Content-Length"] = #json
  ngx.print(json)
end

local function answer(request, stream)
  assert(ngx.on_abort(function() -- kills this handler wherever it sleeps
    worker.close(stream)
    ngx.exit(499)
  end))
  local send_answer = request.stream and send_events or send_whole
  return send_answer(request, stream, texts.new(request.stop))
end

-- The body's request, or nil where it was answered with an error.
local function read(kind)
  local encoding = ngx.var.http_content_encoding
  if encoding and encoding:lower() ~= "identity" then
    return errors.answer(415, "want a body without Content-Encoding")
  end
  ngx.req.read_body()
  local request, message, param = parse(ngx.req.get_body_data(), kind, worker.vocabulary())
  if not request then return errors.answer(400, message, param) end
  local id = ngx.var.request_id
  request.shape, request.class, request.arrival = shapes[kind], kind, ngx.req.start_time()
  request.id, request.created = request.shape.prefix .. id, ngx.time()
  request.key = ngx.var.http_authorization
  request.model = request.model or worker.settings().name
  request.seed = request.seed or tonumber(id:sub(1, 12), 16)
  return request
end

---@param kind string "completion" or "chat"
function M.serve(kind)
  if not http.accept "POST" then return end
  local request = read(kind)
  if not request then return end
  if client.gone() then return ngx.exit(499) end
  local tokens, problem, status, param = worker.encode(request)
  if not tokens then return errors.answer(status, problem, param) end
  if client.gone() then return ngx.exit(499) end
  request.prompt = tokens
  local stream, code
  stream, problem, status, param, code = worker.submit(request)
  if not stream then return errors.answer(status, problem, param, code) end
  ngx.ctx.stream = stream
  local ok, failure = pcall(answer, request, stream)
  worker.close(stream)
  if not ok then error(failure, 0) end
  if failure == false then ngx.exit(request.headers_sent and ngx.ERROR or 499) end -- the client left
end

--- In the log phase. A worker that has waited long enough for its last streams ends their handlers unheard.
function M.ended()
  local stream = ngx.ctx.stream
  if stream then worker.close(stream) end
end

return M
