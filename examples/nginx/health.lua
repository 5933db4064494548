-- GET /healthz: 200 while requests are taken, else 503 and why.
local cjson = require "cjson"
local worker = require "examples.nginx.worker"

local M = {}

function M.serve()
  local problem = worker.problem()
  ngx.status = problem and 503 or 200
  ngx.say(cjson.encode { status = problem and "down" or "ok", message = problem })
end

return M
