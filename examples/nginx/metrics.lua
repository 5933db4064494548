-- GET /metrics, in Prometheus' text format. The engine counts; this writes down.
local http = require "examples.nginx.http"
local worker = require "examples.nginx.worker"

local M = {}

local BOUNDS = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30 } -- seconds
local buckets, sum, count = {}, 0, 0
for n = 1, #BOUNDS do buckets[n] = 0 end
local responses = {} -- by status

--- In the log phase, which every response comes to.
function M.count_response()
  local status = ngx.status
  responses[status] = (responses[status] or 0) + 1
end

--- The first token of the current request is here. nginx's clock still shows the time before its step.
function M.observe_first_token()
  ngx.update_time()
  local seconds = math.max(0, ngx.now() - ngx.req.start_time())
  sum, count = sum + seconds, count + 1
  for n = 1, #BOUNDS do
    if seconds <= BOUNDS[n] then buckets[n] = buckets[n] + 1 end
  end
end

-- { name, kind, what engine.stats calls it, help }
local STATS = {
  { "requests_waiting", "gauge", "waiting", "Requests in the queue." },
  { "requests_running", "gauge", "running", "Requests that hold a state slot." },
  { "requests_arrived_total", "counter", "arrived", "Requests that were taken into the queue." },
  { "requests_finished_total", "counter", "finished", "Requests that came to their end." },
  { "requests_cancelled_total", "counter", "cancelled", "Requests whose client left." },
  { "requests_rejected_total", "counter", "rejected", "Requests that the policy turned away." },
  { "preemptions_total", "counter", "preemptions", "Times that a running request went back into the queue." },
  { "steps_total", "counter", "steps", "Steps." },
  { "scheduled_tokens_total", "counter", "scheduled", "Tokens that were computed." },
  { "emitted_tokens_total", "counter", "emitted", "Tokens of answers." },
  { "policy_failures_total", "counter", "failures", "Errors of the policy." },
  { "policy_fallbacks_total", "counter", "fallbacks", "Steps that were decided without the policy." },
}

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

local function write_engine(text)
  local stats, slots = worker.engine.stats, worker.engine:slots()
  for _, s in ipairs(STATS) do text:one(s[1], s[2], s[4], stats[s[3]]) end
  text:family("state_slots", "gauge", "State slots of the pool.")
  text:sample("state_slots", slots.free, "state", "free")
  text:sample("state_slots", slots.used, "state", "used")
end

local function write_policy(text)
  local policy, engine = worker.policy, worker.engine
  text:family("policy_info", "gauge", "The policy that decides.")
  text:sample("policy_info", 1, "policy", engine.policy.name)
  text:one("policy_disabled", "gauge", "1: the policy failed too often and no longer decides.",
    engine.policy_disabled and 1 or 0)
  text:one("policy_refused", "gauge", "1: the policy's file does not load, an older one decides.",
    policy.refused and 1 or 0)
  text:family("policy_loads_total", "counter", "Times that the policy's file was read.")
  text:sample("policy_loads_total", policy.loads, "result", "loaded")
  text:sample("policy_loads_total", policy.refusals, "result", "refused")
end

local function write_http(text)
  text:one("open_requests", "gauge", "Requests whose client is being answered.", worker.num_open())
  text:family("http_responses_total", "counter", "Responses by status; 499: the client left before it began.")
  for status, n in pairs(responses) do text:sample("http_responses_total", n, "code", status) end
  text:family("time_to_first_token_seconds", "histogram", "From a request's first byte to its answer's.")
  for n, bound in ipairs(BOUNDS) do
    text:sample("time_to_first_token_seconds_bucket", buckets[n], "le", bound)
  end
  text:sample("time_to_first_token_seconds_bucket", count, "le", "+Inf")
  text:sample("time_to_first_token_seconds_sum", sum)
  text:sample("time_to_first_token_seconds_count", count)
end

function M.serve()
  if not http.accept "GET, HEAD" then return end
  local text = setmetatable({}, Text)
  text:one("up", "gauge", "1: requests are taken.", worker.problem() and 0 or 1)
  if worker.engine then
    write_engine(text)
    write_policy(text)
  end
  write_http(text)
  ngx.header["Content-Type"] = "text/plain; version=0.0.4"
  ngx.print(table.concat(text))
end

return M
