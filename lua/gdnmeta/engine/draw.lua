-- An engine as a table of its requests: which run, which wait, and how far each has come.
local colors = require "gdnmeta.metadata.colors"

local ROWS = 16 -- requests that are shown
local BAR = 24  -- characters

local M = {}

-- Live requests: those that run in the order of the running list, then the others as they arrived.
local function ids(engine)
  local r, list, seen, waiting = engine.private.requests, {}, {}, {}
  for at = 0, engine.private.num_running - 1 do
    local i = engine.private.running[at]
    list[#list + 1], seen[i] = r.id[i], true
  end
  for _, i in pairs(r.index) do
    if not seen[i] then waiting[#waiting + 1] = i end
  end
  table.sort(waiting, function(a, b) return r.tie[a] < r.tie[b] end)
  for _, i in ipairs(waiting) do list[#list + 1] = r.id[i] end
  return list
end

-- What is computed of the prompt, then of the answer, out of the longest text that it may become.
local function bar(request, paint)
  local total = request.prompt_tokens + request.max_tokens
  local computed = math.min(request.computed_tokens, total)
  local prompt = math.floor(BAR * math.min(computed, request.prompt_tokens) / total + 0.5)
  local answer = math.max(math.floor(BAR * computed / total + 0.5) - prompt, 0)
  return ("|%s%s%s|"):format(paint("p", ("p"):rep(prompt)), paint("d", ("d"):rep(answer)),
                             paint(".", ("."):rep(BAR - prompt - answer)))
end

local function stores(engine)
  local slots, kv = engine:slots(), engine:kv()
  local text = ("  state slots: %d of %d in use"):format(slots.used, slots.used + slots.free)
  if kv then
    text = ("%s; attention cache: %d of %d blocks in use"):format(text, kv.used, kv.size)
  end
  if not engine.cache then return text end
  local stats = engine.cache:stats()
  return ("%s; state cache: states %d, hits %d (engine.cache draws it)"):format(text, stats.states,
    stats.hits)
end

--- An engine's requests, the first ones.
---@param engine table
---@param paint function|nil see colors.lua
---@return string
function M.draw(engine, paint)
  paint = paint or colors.plain
  local lines = { tostring(engine) }
  if engine.private.closed then return lines[1] end
  lines[2] = stores(engine)
  local list = ids(engine)
  if #list == 0 then return table.concat(lines, "\n") end
  lines[3] = paint("head", "       id  state    prompt  computed  emitted  of most  drafts")
  for n = 1, math.min(#list, ROWS) do
    local request = engine:request(list[n])
    -- A cancelled one that is still in flight has no snapshot.
    if request then
      lines[#lines + 1] = ("%9s  %-7s %7d %9d %8d %8d %7d  %s"):format(tostring(list[n]):sub(1, 9),
        request.state or "leaving", request.prompt_tokens, request.computed_tokens, request.emitted,
        request.max_tokens, request.drafts, bar(request, paint))
    end
  end
  if #list > ROWS then lines[#lines + 1] = ("      ... %d more"):format(#list - ROWS) end
  return table.concat(lines, "\n")
end

return M
