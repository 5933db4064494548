-- GET /metrics, in Prometheus' text format: the engine's, which gdn.metrics writes, and the server's own.
local http = require "examples.nginx.http"
local worker = require "examples.nginx.worker"

local M = {}

local responses = {} -- by status

--- In the log phase, which every response comes to.
function M.count_response()
  local status = ngx.status
  responses[status] = (responses[status] or 0) + 1
end

local function escape(value) return (tostring(value):gsub('[\\"]', "\\%0"):gsub("\n", "\\n")) end

local Text = {}
Text.__index = Text

function Text:family(name, kind, help)
  self[#self + 1] = ("# HELP gdnmeta_%s %s\n# TYPE gdnmeta_%s %s\n"):format(name, help, name, kind)
end

function Text:sample(name, value, label, of)
  local labels = label and ('{%s="%s"}'):format(label, escape(of)) or ""
  self[#self + 1] = ("gdnmeta_%s%s %.14g\n"):format(name, labels, value)
end

function Text:one(name, kind, help, value)
  self:family(name, kind, help)
  self:sample(name, value)
end

-- Sums of requests_total, under the names that they have always had here.
local function write_sums(text, stats)
  text:one("requests_finished_total", "counter", "Requests that came to their end.", stats.finished)
  text:one("requests_cancelled_total", "counter", "Requests whose client left.", stats.cancelled)
  text:one("requests_rejected_total", "counter", "Requests that the policy turned away.", stats.rejected)
end

-- What decides, from a file or by name.
local function write_hooks(text, kind, file, name)
  text:family(kind .. "_info", "gauge", ("The %s that decides."):format(kind))
  text:sample(kind .. "_info", 1, kind, name)
  text:one(kind .. "_refused", "gauge",
    ("1: the %s's file does not load, an older one decides."):format(kind), file.refused and 1 or 0)
  text:family(kind .. "_loads_total", "counter", ("Times that the %s's file was read."):format(kind))
  text:sample(kind .. "_loads_total", file.loads, "result", "loaded")
  text:sample(kind .. "_loads_total", file.refusals, "result", "refused")
end

local function write_worker(text)
  local backend = worker.backend
  if not backend.settings.worker then return end
  text:one("worker_up", "gauge", "1: the worker runs steps.", backend.problem and 0 or 1)
  text:one("worker_restarts_total", "counter", "Workers that were started in place of another.",
    backend.restarts)
end

local function write_http(text)
  text:one("open_requests", "gauge", "Requests whose client is being answered.", worker.num_open())
  text:family("http_responses_total", "counter", "Responses by status; 499: the client left before it began.")
  for status, n in pairs(responses) do text:sample("http_responses_total", n, "code", status) end
end

function M.serve()
  if not http.accept "GET, HEAD" then return end
  local text = setmetatable({}, Text)
  text:one("up", "gauge", "1: requests are taken.", worker.trouble() and 0 or 1)
  if worker.engine then
    text[#text + 1] = worker.metrics:text()
    write_sums(text, worker.engine.stats)
    write_hooks(text, "policy", worker.policy, worker.engine.policy.name)
    write_worker(text)
    if worker.cache then write_hooks(text, "cache", worker.cache, worker.engine:cached().name) end
  end
  write_http(text)
  ngx.header["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
  ngx.print(table.concat(text))
end

return M
