-- The objects of the public API that an answer is sent as: whole, or piece by piece.
local json = require "examples.nginx.json"

local null = json.null

local function usage(request, count, cached)
  local prompt = #request.prompt
  return { prompt_tokens = prompt, completion_tokens = count, total_tokens = prompt + count,
           prompt_tokens_details = { cached_tokens = cached } }
end

local function object(request, kind, choice)
  choice.index, choice.logprobs = 0, null
  choice.finish_reason = choice.finish_reason or null
  return { id = request.id, object = kind, created = request.created, model = request.model,
           choices = { choice } }
end

local Completion = { prefix = "cmpl-" }

function Completion.whole(request, text, reason)
  return object(request, "text_completion", { text = text, finish_reason = reason })
end

--- Events with a piece of the answer; reason: it is the last one.
function Completion.events(request, text, reason)
  if text == "" and not reason then return {} end
  return { Completion.whole(request, text, reason) }
end

local Chat = { prefix = "chatcmpl-" }

function Chat.whole(request, text, reason)
  local message = { role = "assistant", content = text, refusal = null }
  return object(request, "chat.completion", { message = message, finish_reason = reason })
end

local function delta(request, fields, reason)
  return object(request, "chat.completion.chunk", { delta = fields, finish_reason = reason })
end

function Chat.events(request, text, reason)
  local events = {}
  if not request.begun then
    request.begun = true
    events[1] = delta(request, { role = "assistant", content = "" })
  end
  if text ~= "" then events[#events + 1] = delta(request, { content = text }) end
  if reason then events[#events + 1] = delta(request, {}, reason) end
  return events
end

local M = { completion = Completion, chat = Chat }

--- The JSON of a whole answer.
---@param count integer tokens
---@param cached integer tokens of the prompt whose state was there
function M.whole(request, text, reason, count, cached)
  local whole = request.shape.whole(request, text, reason)
  whole.usage = usage(request, count, cached)
  return json.encode(whole)
end

--- The JSON of each event that a piece of an answer is.
---@return string[]
function M.events(request, text, reason)
  local events = request.shape.events(request, text, reason)
  for n, event in ipairs(events) do
    if request.stream_options.include_usage then event.usage = null end
    events[n] = json.encode(event)
  end
  return events
end

--- The JSON of the event that counts tokens.
function M.usage_event(request, count, cached)
  local event = request.shape.events(request, "", "stop")
  event = event[#event]
  event.choices, event.usage = json.empty_list, usage(request, count, cached)
  return json.encode(event)
end

return M
