-- The body of a request. This server refuses what it does not support, instead of ignoring it; values that
-- ask for nothing are taken, for clients send them.
local chat = require "examples.nginx.chat"
local fields = require "examples.nginx.fields"
local json = require "examples.nginx.json"
local prompts = require "examples.nginx.prompts"

local null = json.null
local only, number, integer = fields.only, fields.number, fields.integer
local MOST_STOPS, LONGEST_STOP = 4, 256 -- texts, bytes each

local M = {}

local known -- the vocabulary that the rule of a prompt is of

local function is_stop(value) return type(value) == "string" and #value >= 1 and #value <= LONGEST_STOP end

local function stops(value)
  if is_stop(value) then return true end
  local count = fields.length(value)
  if not count or count > MOST_STOPS then return false end
  for n = 1, count do
    if not is_stop(value[n]) then
      return false, ("[%d] = %s, want a string of 1 .. %d bytes"):format(n - 1, fields.shown(value[n]),
        LONGEST_STOP)
    end
  end
  return true
end

-- Both endpoints have these.
local SHARED = {
  model = fields.printable,
  max_tokens = integer(1, 1000000),
  temperature = number(0, 2),
  top_p = number(0, 1),
  seed = integer(-2 ^ 63, 2 ^ 63),
  stop = { stops, ("a string of 1 .. %d bytes, or a list of at most %d"):format(LONGEST_STOP, MOST_STOPS) },
  stream = fields.boolean,
  stream_options = fields.record({ include_usage = fields.boolean, include_obfuscation = only(false) },
    '{"include_usage": true or false}'),
  user = fields.short,
  priority = integer(-1000, 1000),
  n = only(1),
  frequency_penalty = only(0),
  presence_penalty = only(0),
  logit_bias = fields.empty,
}

local COMPLETION = {
  prompt = prompts.field(),
  best_of = only(1),
  echo = only(false),
  suffix = only(""),
  logprobs = only(false),
}

local CHAT = {
  messages = chat.field,
  max_completion_tokens = SHARED.max_tokens,
  logprobs = only(false),
  top_logprobs = only(0),
  response_format = fields.record({ type = only "text" }, '{"type": "text"}'),
  modalities = { function(value) return fields.length(value) == 1 and value[1] == "text" end, '["text"]' },
  tools = fields.empty,
  functions = fields.empty,
  tool_choice = only("none", "auto"),
  function_call = only("none", "auto"),
  parallel_tool_calls = fields.boolean, -- no tool is called, in parallel or not
  reasoning_effort = only "none",
  verbosity = only "medium",
  service_tier = only("auto", "default"),
  -- Nothing is stored here, whatever the field says.
  store = fields.boolean,
  metadata = fields.object,
  safety_identifier = fields.short,
  prompt_cache_key = fields.short,
  audio = only(),
  prediction = only(),
  web_search_options = only(),
}

for name, rule in pairs(SHARED) do COMPLETION[name], CHAT[name] = rule, rule end

local function finish(request, given)
  if given.stream_options ~= nil and given.stream_options ~= null and not request.stream then
    return nil, "stream_options is given and stream is not true", "stream_options"
  end
  request.stop = type(request.stop) == "string" and { request.stop } or request.stop or {}
  if request.stream == nil then request.stream = false end
  request.stream_options = request.stream_options or {}
  for name, value in pairs(request.stream_options) do
    if value == null then request.stream_options[name] = nil end
  end
  request.temperature, request.top_p = request.temperature or 0, request.top_p or 1
  request.priority = request.priority or 0
  return request
end

local function completion(given, vocabulary)
  if vocabulary and vocabulary ~= known then
    COMPLETION.prompt, known = prompts.field(vocabulary), vocabulary
  end
  local request, message, param = fields.read(given, COMPLETION)
  if not request then return nil, message, param end
  if request.prompt == nil then return nil, "no prompt, want " .. COMPLETION.prompt[2], "prompt" end
  request.prompt, request.max_tokens = prompts.plain(request.prompt, vocabulary), request.max_tokens or 16
  return finish(request, given)
end

local function conversation(given)
  local request, message, param = fields.read(given, CHAT)
  if not request then return nil, message, param end
  if request.messages == nil then return nil, "no messages, want " .. chat.field[2], "messages" end
  local most, other = request.max_completion_tokens, request.max_tokens
  if most and other and most ~= other then
    return nil, ("max_tokens = %d and max_completion_tokens = %d, want one of them"):format(other, most),
      "max_tokens"
  end
  request.messages = chat.plain(request.messages)
  request.prompt, request.max_tokens = chat.prompt(request.messages), most or other or 256
  request.user = request.user or request.safety_identifier
  return finish(request, given)
end

--- Fields by name, defaults filled in; a prompt is its text or, where tokens are no bytes, its tokens; stop
--- is a list.
---@param body string|nil
---@param kind string|nil "chat"; by default a completion
---@param vocabulary integer|nil tokens that the model knows; nil: tokens are bytes
---@return table|nil request
---@return string? message
---@return string? param the field at fault
function M.parse(body, kind, vocabulary)
  local given, problem = json.object(body)
  if not given then return nil, problem end
  if kind == "chat" then return conversation(given) end
  return completion(given, vocabulary)
end

return M
