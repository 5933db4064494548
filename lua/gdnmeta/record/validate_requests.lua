-- Checks the requests in a recording's line.
local args = require "gdnmeta.native.args"
local validate = require "gdnmeta.record.validate"
local waiting_reasons = require "gdnmeta.record.waiting_reasons"
local LONGEST = require("gdnmeta.record.request_events").LONGEST

local function id_problem(name, id)
  local fine = type(id) == "string" and #id <= LONGEST or type(id) == "number" and math.abs(id) < math.huge
  if not fine then return name, id, ("a number or a string of at most %d bytes"):format(LONGEST) end
end

-- What is wrong with a list of ids, n of them where n is given.
local function ids_problem(name, list, n)
  if type(list) ~= "table" then return validate.wrong(name, list, "a list of ids") end
  local length = args.length(list)
  if n and length ~= n then return ("%s has %d elements, want %d"):format(name, length, n) end
  for k = 1, length do
    local what, id, wanted = id_problem(("%s[%d]"):format(name, k - 1), list[k])
    if what then return validate.wrong(what, id, wanted) end
  end
end

local function words_problem(name, list, n, known)
  if type(list) ~= "table" or args.length(list) ~= n then
    return validate.wrong(name, list, ("a list of %d"):format(n))
  end
  for k = 1, n do
    local word = list[k]
    if type(word) ~= "string" or #word > LONGEST or known and not known[word] then
      local wanted = known and "a reason to wait" or "what it did"
      return validate.wrong(("%s[%d]"):format(name, k - 1), word, wanted)
    end
  end
end

---@param d table document
---@param rows integer|nil of the step; nil: a line of what came after the last one
---@return string|nil problem
return function(d, rows)
  local problem = rows and d.ids ~= nil and ids_problem("ids", d.ids, rows)
  for _, name in ipairs { "who", "waits" } do
    problem = problem or d[name] ~= nil and ids_problem(name, d[name])
  end
  if problem then return problem end
  local function count(list) return list and args.length(list) or 0 end
  if d.waiting ~= nil then problem = validate.count("waiting", d.waiting, 0, 2 ^ 31) end
  return problem or (d.who or d.did) and words_problem("did", d.did, count(d.who))
    or (d.waits or d.why) and words_problem("why", d.why, count(d.waits), waiting_reasons.WORDS) or nil
end
