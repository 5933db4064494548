-- Keeps a policy's code out of the compiler: compiled loops run no hooks, so that an endless one could
-- never be interrupted. Followed are upvalues, tables and globals, but only functions of the same source
-- are touched: a policy's helpers, not the host's libraries.
local M = {}

local MOST = 10000 -- objects looked at

local function source_of(f) return debug.getinfo(f, "S").source end

local visit

local function visit_table(walk, t)
  for key, value in next, t do
    visit(walk, key)
    visit(walk, value)
  end
  visit(walk, debug.getmetatable(t))
end

local function visit_function(walk, f)
  if source_of(f) ~= walk.source then return end
  jit.off(f, true)
  local n = 1
  while true do
    local name, value = debug.getupvalue(f, n)
    if not name then break end
    visit(walk, value)
    n = n + 1
  end
  local globals = getfenv(f)
  if walk.seen[globals] then return end
  walk.seen[globals] = true
  for _, value in next, globals do
    if type(value) == "function" then visit(walk, value) end
  end
end

function visit(walk, value)
  local kind = type(value)
  if kind ~= "table" and kind ~= "function" or walk.seen[value] or walk.count >= MOST then return end
  walk.seen[value], walk.count = true, walk.count + 1
  if kind == "table" then visit_table(walk, value) else visit_function(walk, value) end
end

--- f, and what it reaches of its own source, will be interpreted for ever.
---@param f function
function M.keep(f)
  local info = debug.getinfo(f, "S")
  if info.what ~= "C" then visit({ source = info.source, seen = {}, count = 0 }, f) end
end

--- The same of what makes up a table's missing fields.
---@param t table
function M.keep_index(t)
  for _ = 1, 100 do
    local mt = type(t) == "table" and debug.getmetatable(t)
    t = mt and rawget(mt, "__index")
    if type(t) == "function" then return M.keep(t) end
    if not t then return end
  end
end

return M
