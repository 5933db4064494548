-- Sessions of a trace: which request is the next turn of which other one, and how long its reader thought.
local M = {}

local SPENT = { "chat", "parent", "delay", "elapsed" } -- what links are made of

-- The request that a turn follows: its parent where chats name one, else the one before in its session.
local function before(r, chats, last)
  if r.chat and (r.parent or not r.session) then
    local parent = chats[r.parent] -- none: the chat begins here
    r.session = parent and parent.session or r.session or r.chat
    if parent or r.parent then
      chats[r.chat] = r
      return parent
    end
  end
  local previous = last[r.session]
  last[r.session] = r
  if r.chat then chats[r.chat] = r end
  return previous
end

--- Link turns: `after` is the request that one follows, `think` the seconds between the last token of that
--- one and its arrival, where the trace tells: by a delay or an elapsed time. A turn without a time of its
--- own (`undated`) has the previous one's.
---@param requests table in order of arrival, or of the file
function M.link(requests)
  local chats, last, sessions, at = {}, {}, 0, 0
  for i = 1, #requests do
    local r = requests[i]
    if r.session or r.chat then
      local previous = before(r, chats, last)
      r.after = previous
      if not previous then sessions = sessions + 1 end
      if not r.arrival then
        r.undated, r.arrival = true, previous and previous.arrival or at
        r.delay = r.delay or 0
      end
      if previous then
        r.think = r.delay or previous.elapsed
          and math.max(0, r.arrival - previous.arrival - previous.elapsed) or nil
      end
    end
    at = r.arrival
  end
  for i = 1, #requests do
    local r = requests[i]
    for _, name in ipairs(SPENT) do
      if r[name] ~= nil then r[name] = nil end -- else nil would take room
    end
  end
  requests.sessions = sessions
end

return M
