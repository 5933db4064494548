-- POST /v1/completions: an answer in one piece, or as server-sent events while it is made.
local cjson = require "cjson"
local errors = require "examples.nginx.errors"
local metrics = require "examples.nginx.metrics"
local parse = require("examples.nginx.request").parse
local worker = require "examples.nginx.worker"

local null = cjson.null

local M = {}

-- A token is a byte, and JSON carries text: byte b is sent as the code point U+00b, so that none is lost.
local UTF8 = {}
for b = 128, 255 do
  UTF8[string.char(b)] = string.char(0xC0 + math.floor(b / 64), 0x80 + b % 64)
end
local function as_text(bytes) return (bytes:gsub("[\128-\255]", UTF8)) end

local function usage(request, count)
  local prompt = #request.prompt
  return { prompt_tokens = prompt, completion_tokens = count, total_tokens = prompt + count }
end

local function completion(request, bytes, reason)
  return {
    id = request.id, object = "text_completion", created = request.created, model = request.model,
    choices = { { index = 0, text = as_text(bytes), logprobs = null, finish_reason = reason or null } },
  }
end

local function event(json)
  return ngx.print("data: ", json, "\n\n") and ngx.flush(true)
end

-- Headers wait for the first bytes: until then an error can still be an answer of its own.
local function send_events(request, stream)
  local bytes, reason, status = stream:wait(request.timeout)
  if not bytes then return errors.answer(status, reason) end
  metrics.observe_first_token()
  ngx.header["Content-Type"] = "text/event-stream"
  ngx.header["Cache-Control"] = "no-cache"
  ngx.header["X-Accel-Buffering"] = "no" -- for an nginx in front
  local count = 0
  while bytes do
    count = count + #bytes
    if not event(cjson.encode(completion(request, bytes, reason))) then return end
    if reason then break end
    bytes, reason, status = stream:wait(request.timeout)
  end
  if not bytes then
    event(errors.json(status, reason))
    return
  end
  if request.stream_options.include_usage then
    local last = completion(request, "")
    last.choices, last.usage = {}, usage(request, count)
    local json = cjson.encode(last):gsub('"choices":{}', '"choices":[]') -- cjson takes {} for an object
    event(json)
  end
  event "[DONE]"
end

local function send_whole(request, stream)
  local pieces, bytes, reason, status = {}
  repeat
    bytes, reason, status = stream:wait(request.timeout)
    if status then return errors.answer(status, reason) end
    if #pieces == 0 then metrics.observe_first_token() end
    pieces[#pieces + 1] = bytes
  until reason
  bytes = table.concat(pieces)
  local whole = completion(request, bytes, reason)
  whole.usage = usage(request, #bytes)
  local json = cjson.encode(whole)
  ngx.header["Content-Length"] = #json
  ngx.print(json)
end

local function answer(request, stream)
  assert(ngx.on_abort(function() -- kills this handler wherever it sleeps
    worker.close(stream)
    ngx.exit(499)
  end))
  local send = request.stream and send_events or send_whole
  send(request, stream)
end

function M.serve()
  ngx.header["X-Request-Id"] = ngx.var.http_x_request_id or ngx.var.request_id
  if ngx.req.get_method() ~= "POST" then
    ngx.header["Allow"] = "POST"
    return errors.answer(405, "want POST")
  end
  ngx.req.read_body()
  local request, message, param = parse(ngx.req.get_body_data())
  if not request then return errors.answer(400, message, param) end
  local settings = worker.settings()
  request.model = request.model or settings.model
  request.id, request.created = "cmpl-" .. ngx.var.request_id, ngx.time()
  request.timeout = settings.timeout

  local stream, problem, status = worker.submit(request)
  if not stream then return errors.answer(status, problem) end
  local ok, failure = pcall(answer, request, stream)
  worker.close(stream)
  if not ok then error(failure, 0) end
end

return M
