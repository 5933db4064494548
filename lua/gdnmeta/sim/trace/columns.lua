-- What a column means, by its name: the public formats' names and those that others use, in any order and
-- among any others. Capitals, blanks, dashes and underscores make no difference.
local M = {}

-- Seconds are the unit of what has no suffix, but in JSON a timestamp's is the format's.
local UNITS = { s = 1, sec = 1, secs = 1, seconds = 1, ms = 1e3, milliseconds = 1e3, us = 1e6, ns = 1e9 }
M.UNITS = { s = 1, ms = 1e3, us = 1e6, ns = 1e9 }

-- name -> { field, unit or nil, rank }: where two columns mean one thing the lower rank wins
local MEANING = {}

local function means(field, names, timed)
  for rank, name in ipairs(names) do
    MEANING[name] = { field = field, rank = 2 * rank }
    for suffix, unit in pairs(timed and UNITS or {}) do
      MEANING[name .. suffix] = { field = field, rank = 2 * rank - 1, unit = unit }
    end
  end
end

local function lengths(field, words)
  local names = {}
  for _, word in ipairs(words) do
    for _, what in ipairs { "tokens", "token", "length", "len", "tokencount" } do
      names[#names + 1] = word .. what
      names[#names + 1] = "num" .. word .. what
    end
  end
  means(field, names)
end

lengths("prompt", { "prompt", "context", "request", "input", "prefill" })
lengths("output", { "output", "generated", "response", "completion", "decode" })
means("arrival", { "arrival", "timestamp", "arrivaltime", "arrivedat", "arrivaltimestamp", "requesttime",
                   "starttime", "createdat", "datetime", "time" }, true)
means("deadline", { "deadline" }, true)
means("ttft", { "ttft", "ttfttarget", "targetttft" }, true)
means("tpot", { "tpot", "tpottarget", "targettpot" }, true)
means("delay", { "delay", "think", "thinktime" }, true)
means("elapsed", { "elapsedtime", "elapsed" }, true)
means("user", { "user", "userid", "tenant", "tenantid", "client", "clientid" })
means("class", { "class", "requestclass", "tier", "type", "logtype" })
means("priority", { "priority" })
means("weight", { "weight" })
means("session", { "sessionid", "session", "conversationid" })
means("chat", { "chatid" })
means("parent", { "parentchatid" })
means("turn", { "turn" })

local function bare(name) return (name:lower():gsub("[%s_%-]+", "")) end

---@param name string
---@return table|nil meaning field, unit, rank
function M.meaning(name) return MEANING[bare(name)] end

--- Which format the columns are of; by that a timestamp without a unit is in seconds or milliseconds.
---@param names table a list, as they stand in the file
---@param json boolean
---@return string format
function M.format(names, json)
  local has = {}
  for _, name in ipairs(names) do has[bare(name)] = true end
  if json then
    return (has.parentchatid or has.chatid and has.type and has.turn) and "bailian" or "mooncake"
  end
  if has.contexttokens and has.generatedtokens then return "azure" end
  if has.requesttokens and has.responsetokens then return "burstgpt" end
  return has.arrivals and has.prompttokens and has.outputtokens and "compact" or "csv"
end

return M
