-- Classes of requests: which share each has, and what its requests are due. Read from a text such as
--   chat:0.7,priority=0,ttft=1;batch:0.3,priority=5,weight=0.5
local args = require "gdnmeta.native.args"
local workload = require "gdnmeta.sim.workload"

local M = {}

-- name of a setting -> the request's field, parts of it, least, most
local SETTINGS = {
  priority = { "priority", 1, -1e15, 1e15 }, weight = { "weight", 1, 1e-6, 1e6 },
  ttft = { "ttft", 1, 0, 1e9 }, tpot = { "tpot", 1, 0, 1e9 }, deadline = { "deadline", 1, 0, 1e9 },
  ttft_ms = { "ttft", 1000, 0, 1e12 }, tpot_ms = { "tpot", 1000, 0, 1e12 },
  deadline_ms = { "deadline", 1000, 0, 1e12 },
}
local FIELDS = { "priority", "weight", "ttft", "tpot", "deadline" }
M.WANTED = "name:share,setting=number;name:share,... with the settings priority, weight, and ttft, tpot, "
  .. "deadline in seconds (or ttft_ms ...)"

local function decimal(text)
  return text:find "^[+-]?%d*%.?%d*[eE]?[+-]?%d*$" and tonumber(text) or nil
end

-- One class of a text, or nil and what is wrong in it.
local function class_of(text)
  local head, rest = text:match "^%s*([^,]*)(.*)$"
  local name, share = head:match "^([^:]+):([^:]+)$"
  name = (name or head):match "^%s*(.-)%s*$"
  if name == "" or name:find "[=:]" then return nil, M.WANTED end
  local class = { name = name, share = share and decimal(share) }
  if share and not (class.share and class.share >= 0 and class.share < math.huge) then
    return nil, ("a share of 0 or more for %s"):format(args.word(name))
  end
  for part in rest:gmatch ",([^,]*)" do
    local key, value = part:match "^%s*([%a_]+)%s*=%s*(%S+)%s*$"
    local setting, n = SETTINGS[key], value and decimal(value)
    if not setting then return nil, M.WANTED end
    if not n or n < setting[3] or n > setting[4] then
      return nil, ("%s of %s in %.15g .. %.15g"):format(key, args.word(name), setting[3], setting[4])
    end
    if class[setting[1]] then return nil, ("%s of %s once"):format(setting[1], args.word(name)) end
    class[setting[1]] = n / setting[2]
  end
  return class
end

--- Classes of a text.
---@param text string
---@return table|nil classes list of { name, share or nil, priority, weight, ttft, tpot, deadline }
---@return string? wanted
function M.parse(text)
  local list, seen = {}, {}
  for part in (text .. ";"):gmatch "([^;]*);" do
    if part:find "%S" then
      local class, wanted = class_of(part)
      if not class then return nil, wanted end
      if seen[class.name] then return nil, ("class %s once"):format(args.word(class.name)) end
      list[#list + 1], seen[class.name] = class, true
    end
  end
  if #list == 0 then return nil, M.WANTED end
  return list
end

local KNOWN = { name = true, share = true }
for _, field in ipairs(FIELDS) do KNOWN[field] = true end

-- What is wrong with a host's list.
local function problem_of(list)
  for i, class in ipairs(list) do
    local where = ("classes[%d]"):format(i)
    if type(class) ~= "table" then return args.wrong(where, class, "a table") end
    if type(class.name) ~= "string" or class.name == "" then
      return args.wrong(where .. ".name", class.name, "a name")
    end
    for key, value in pairs(class) do
      if not KNOWN[key] then return ("%s: unknown field %s"):format(where, args.word(key)) end
      local number = type(value) == "number" and value - value == 0
      if key == "share" and not (number and value >= 0) or key ~= "name" and not number then
        return args.wrong(where .. "." .. key, value, key == "share" and "0 or more" or "a finite number")
      end
    end
  end
end

-- The sum of the shares, and whether any class has one.
local function total_share(list)
  local total, has_share = 0, false
  for _, class in ipairs(list) do
    if class.share then total, has_share = total + class.share, true end
  end
  return total, has_share
end

-- A class by the shares, for requests without one.
local function draw(list, random)
  local total = total_share(list)
  return function()
    local x, upto = random() * total, 0
    for _, class in ipairs(list) do
      upto = upto + (class.share or 0)
      if x < upto then return class.name end
    end
  end
end

local SAID = { priority = "priority %.15g", weight = "weight %.15g", ttft = "first token within %.15g s",
               tpot = "%.15g s per token", deadline = "done %.15g s after arrival" }

--- Notes on classes for a report.
---@param list table
---@return string
function M.notice(list)
  local parts = {}
  for i, class in ipairs(list) do
    local said = {}
    for _, field in ipairs(FIELDS) do
      if class[field] then said[#said + 1] = SAID[field]:format(class[field]) end
    end
    parts[i] = class.name .. (#said > 0 and " (" .. table.concat(said, ", ") .. ")" or "")
  end
  return "classes " .. table.concat(parts, ", ")
end

--- Give requests their classes: one that has none gets that of its session's last turn, else one at random,
--- by the shares; and every request what is due to its class, where it does not say otherwise itself.
---@param requests table
---@param list table classes
---@param seed integer
---@return string|nil message
function M.assign(requests, list, seed)
  local problem = problem_of(list)
  if problem then error("sim.run: " .. problem, 0) end
  local pick, of, found, of_session = draw(list, workload.random(seed + 3 * 2^30)), {}, {}, {}
  for _, class in ipairs(list) do of[class.name] = class end
  for _, r in ipairs(requests) do
    r.class = r.class or r.session and of_session[r.session] or pick()
    if r.session then of_session[r.session] = r.class end
    local class = of[r.class]
    if class then
      found[class.name] = true
      for _, field in ipairs(FIELDS) do
        if r[field] == nil then r[field] = class[field] end
      end
    end
  end
  local total, has_share = total_share(list)
  for _, r in ipairs(requests) do
    if not r.class and has_share and total == 0 then
      return "classes: shares are all 0 and give no request a class, want one above 0"
    end
  end
  for _, class in ipairs(list) do
    if not found[class.name] and not class.share then
      return ("classes: no request is of class %s; a share (%s:0.5) gives it some without one"):format(
        args.word(class.name), args.word(class.name))
    end
  end
end

return M
