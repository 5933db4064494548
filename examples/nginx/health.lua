-- GET /healthz: 200 while requests are taken, else 503 and why.
local http = require "examples.nginx.http"
local json = require "examples.nginx.json"
local worker = require "examples.nginx.worker"

local M = {}

function M.serve()
  if not http.accept "GET, HEAD" then return end
  local problem = worker.trouble()
  ngx.status = problem and 503 or 200
  ngx.say(json.encode { status = problem and "down" or "ok", message = problem })
end

return M
