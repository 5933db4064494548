-- Keeps a policy's code out of the compiler: compiled loops run no hooks, so that an endless one could
-- never be interrupted. Followed are upvalues, tables and globals, but only functions of the same source
-- are touched: a policy's helpers, not the host's libraries.
local util = require "jit.util"

local M = {}

local MOST = 10000 -- objects looked at
-- Where our own code is: it has no endless loop, and other callers run it, too.
local OURS = debug.getinfo(1, "S").source:gsub("policy/contained/uncompiled%.lua$", "")

--- Is it the source of a file of ours?
---@param source string as debug.getinfo returns it
---@param name string|nil of the file, without its .lua; nil: any
---@return boolean
function M.is_ours(source, name)
  if name then return source == OURS .. name .. ".lua" end
  return source:sub(1, #OURS) == OURS
end

local function source_of(f) return debug.getinfo(f, "S").source end

local visit, follow

local function visit_table(walk, t)
  for key, value in next, t do
    visit(walk, key)
    visit(walk, value)
  end
  visit(walk, debug.getmetatable(t))
end

-- Names that a function's code may look up, with those of the functions in it.
local function names_in(code, names)
  local n = -1
  while true do
    local constant = util.funck(code, n)
    if constant == nil then return names end
    if type(constant) == "string" then names[constant] = constant end
    if type(constant) == "proto" then names_in(constant, names) end
    n = n - 1
  end
end

-- A helper of another file, but for ours: only what the code names, for the rest is the host's business.
local function visit_named(walk, value, names, depth)
  if type(value) == "function" then
    local source = source_of(value)
    if source == "=[C]" or M.is_ours(source) then return end
    if source == walk.source or walk.seen[value] or walk.count >= MOST then return end
    walk.seen[value], walk.count = true, walk.count + 1
    jit.off(value, true)
    follow(walk, value)
  elseif type(value) == "table" and depth < 3 then
    for name in next, names do visit_named(walk, rawget(value, name), names, depth + 1) end
    local mt = debug.getmetatable(value)
    if type(mt) == "table" then
      for _, field in next, mt do visit_named(walk, field, names, depth + 1) end
    end
  end
end

function follow(walk, f)
  local names, n = names_in(f, {}), 1
  while true do
    local name, value = debug.getupvalue(f, n)
    if not name then break end
    visit_named(walk, value, names, 0)
    n = n + 1
  end
  local globals = getfenv(f)
  for name in next, names do visit_named(walk, rawget(globals, name), names, 1) end
end

local function visit_function(walk, f)
  if source_of(f) ~= walk.source then return end
  jit.off(f, true)
  follow(walk, f)
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

--- A copy of f, which has no upvalues, that is interpreted forever: jit.off is a property of the code, not of
--- the closure.
---@param f function
---@return function
function M.copy(f)
  local copy = loadstring(string.dump(f))
  jit.off(copy, true)
  return copy
end

--- f, and what it reaches of its own source, will be interpreted forever.
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
