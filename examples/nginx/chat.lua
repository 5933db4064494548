-- The messages of a conversation, and the prompt that they become: a line for each, and one that the
-- assistant goes on with. An answer that is sent back becomes the very tokens that it was, so that the next
-- turn begins with the state of this one. A model of your own has a template of its own.
local fields = require "examples.nginx.fields"
local json = require "examples.nginx.json"

local null = json.null

local M = {}

local ROLES = { system = "system", developer = "system", user = "user", assistant = "assistant" }

-- The fields of a message besides role and content. Clients send answers back with all their fields.
local OTHERS = {
  name = fields.short,
  tool_calls = fields.empty, annotations = fields.empty,
}

-- One part of a content that is a list.
local PART = { type = fields.only "text", text = { function(v) return type(v) == "string" end, "a string" } }

local function part_problem(part)
  if not fields.length(part) and type(part) == "table" then
    local read, message = fields.read(part, PART)
    if not read then return "." .. message end
    if read.type == nil then return ".type is missing, want " .. PART.type[2] end
    if read.text == nil then return ".text is missing, want " .. PART.text[2] end
    return nil
  end
  return (" = %s, want {\"type\": \"text\", \"text\": a string}"):format(fields.shown(part))
end

local function content_problem(content, role)
  if type(content) == "string" then return nil end
  if content == nil or content == null then
    if role == "assistant" then return nil end
    return " is missing, want a string or a list of parts"
  end
  local count = fields.length(content)
  if not count or count == 0 then
    return (" = %s, want a string or a list of parts"):format(fields.shown(content))
  end
  for n = 1, count do
    local problem = part_problem(content[n])
    if problem then return ("[%d]%s"):format(n - 1, problem) end
  end
end

local function message_problem(message)
  if type(message) ~= "table" or message[1] ~= nil then
    return (" = %s, want an object"):format(fields.shown(message))
  end
  local role = message.role
  if not ROLES[role] then
    return (".role = %s, want one of system, developer, user, assistant"):format(
      role == nil and "nothing" or fields.shown(role))
  end
  local problem = content_problem(message.content, role)
  if problem then return ".content" .. problem end
  for name, value in pairs(message) do
    if name ~= "role" and name ~= "content" and value ~= null then
      local rule = OTHERS[name]
      if not rule then return (": unknown field %s"):format(fields.shown(name)) end
      if not rule[1](value) then return (".%s = %s, want %s"):format(name, fields.shown(value), rule[2]) end
    end
  end
end

M.field = { function(messages)
  local count = fields.length(messages)
  if not count or count == 0 then return false end
  for n = 1, count do
    local problem = message_problem(messages[n])
    if problem then return false, ("[%d]%s"):format(n - 1, problem) end
  end
  return true
end, "a list of messages, each with a role and a content" }

local function text_of(content)
  if type(content) ~= "table" then return type(content) == "string" and content or "" end
  local texts = {}
  for n, part in ipairs(content) do texts[n] = part.text end
  return table.concat(texts)
end

--- Messages that are legal: { role, content = text } each.
---@param messages table[]
---@return table[]
function M.plain(messages)
  local list = {}
  for n, message in ipairs(messages) do
    list[n] = { role = ROLES[message.role], content = text_of(message.content) }
  end
  return list
end

--- The prompt of plain messages.
---@param messages table[]
---@return string
function M.prompt(messages)
  local lines = {}
  for n, message in ipairs(messages) do
    local role = message.role
    lines[n] = (role == "assistant" and "%s:%s\n" or "%s: %s\n"):format(role, message.content)
  end
  return table.concat(lines) .. "assistant:"
end

return M
