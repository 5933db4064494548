-- Sessions of the lab's requests, as far as hooks see them: one request is there at a time.
local Sessions = {}
Sessions.__index = Sessions

local M = {}

---@return table
function M.new() return setmetatable({ of = {}, at = {}, user_at = {} }, Sessions) end

--- A request comes.
function Sessions:enter(r, now)
  self.user, self.current = r.user or "", nil
  if r.session == nil then return end
  local s = self.of[r.session] or { key = r.session }
  self.of[r.session], self.current = s, s
  s.live, s.last = 1, now
end

--- It is served.
function Sessions:leave()
  if self.current then self.current.live = 0 end
end

--- The request leaves a state at a node. What is forgotten again is false, not nil: keys that come and go
--- make LuaJIT lay out a table anew, each time where as many stay as it has places, a power of two.
function Sessions:left(node) self.at[node], self.user_at[node] = self.current or false, self.user or false end

--- That state has gone.
function Sessions:lost(node) self.at[node], self.user_at[node] = false, false end

local function show(node, s, user, now)
  node.session, node.user = s and s.key or nil, user or nil
  node.session_age = s and math.max(0, now - s.last) or nil
  node.session_requests = s and s.live or 0
end

--- What a hook sees of who left a node's state.
function Sessions:show(node, now) show(node, self.at[node.id], self.user_at[node.id], now) end

--- The same of a state that the request under way is to leave.
function Sessions:show_own(node, now) show(node, self.current, self.user, now) end

return M
