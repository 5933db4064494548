-- GET /v1/models and /v1/models/<name>: the one model that is here.
local errors = require "examples.nginx.errors"
local fields = require "examples.nginx.fields"
local http = require "examples.nginx.http"
local json = require "examples.nginx.json"
local worker = require "examples.nginx.worker"

local M = {}

local function model()
  return { id = worker.settings().name, object = "model", created = worker.started(), owned_by = "gdnmeta" }
end

local function send(object)
  local text = json.encode(object)
  ngx.header["Content-Length"] = #text
  ngx.print(text)
end

function M.list()
  if http.accept "GET, HEAD" then send { object = "list", data = { model() } } end
end

function M.one()
  if not http.accept "GET, HEAD" then return end
  local name = ngx.var.uri:match "^/v1/models/(.*)$"
  if name == worker.settings().name then return send(model()) end
  errors.answer(404, ("no model %s, want %s"):format(fields.shown(name), worker.settings().name), "model",
    "model_not_found")
end

return M
