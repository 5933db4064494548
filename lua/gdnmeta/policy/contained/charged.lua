-- Functions of string and table that can do much in one instruction: the same, but refused where it is too
-- much, and what they do is charged to the budget of the policy under way. A policy file has these for its
-- own. While any untrusted policy runs they stand in the libraries of the VM as well, for what it calls there
-- by name.
local concat, insert, remove, sort = table.concat, table.insert, table.remove, table.sort
local lower, reverse, sub, upper = string.lower, string.reverse, string.sub, string.upper
local find, gmatch, gsub, match, rep = string.find, string.gmatch, string.gsub, string.match, string.rep
local floor, log = math.floor, math.log

local BYTES = 2 ^ 24 -- of one string
local STEPS = 1e7    -- of one match, if it is as unlucky as it can be

-- charge(n): n instructions are spent; is_excused(): ours called, for an engine. guard.lua sets them.
local M = { string = {}, table = {}, charge = function() end, is_excused = function() return false end }

local function refuse(who, wanted)
  if not M.is_excused() then error(("%s: want %s"):format(who, wanted), 3) end
end

-- The steps that a match may take: every repetition may try every length, from every place.
local function steps_of(subject, pattern, at)
  local steps, length = 1, #subject + 2
  if pattern:byte(at) ~= 94 then steps = length end -- ^
  local class = false
  while at <= #pattern do
    local byte = pattern:byte(at)
    if byte == 37 then -- %: what follows is no repetition, but %b and %1 take any length
      at = at + 1
      local named = pattern:byte(at)
      if named and (named == 98 or named >= 48 and named <= 57) then steps = steps * length end
    elseif class then
      class = byte ~= 93
    elseif byte == 91 then
      class = true
      if pattern:byte(at + 1) == 94 then at = at + 1 end
      if pattern:byte(at + 1) == 93 then at = at + 1 end
    elseif byte == 42 or byte == 43 or byte == 45 then
      steps = steps * length
    elseif byte == 63 then
      steps = steps * 2
    end
    at = at + 1
  end
  return steps
end

local function look(who, subject, pattern)
  if type(subject) == "number" then subject = tostring(subject) end
  if type(subject) ~= "string" or type(pattern) ~= "string" then return end -- the original says what is wrong
  local steps = steps_of(subject, pattern, 1)
  if steps > STEPS and not M.is_excused() then
    error(("%s: a pattern that may take %.3g steps on %d bytes, want at most %.3g"):format(
      who, steps, #subject, STEPS), 3)
  end
  M.charge(floor(steps / 100) + floor(#subject / 64))
end

function M.string.find(subject, pattern, init, plain)
  if not plain then look("string.find", subject, pattern) end
  return find(subject, pattern, init, plain)
end

function M.string.match(subject, pattern, init)
  look("string.match", subject, pattern)
  return match(subject, pattern, init)
end

function M.string.gmatch(subject, pattern)
  look("string.gmatch", subject, pattern)
  return gmatch(subject, pattern)
end

function M.string.gsub(subject, pattern, by, most)
  look("string.gsub", subject, pattern)
  return gsub(subject, pattern, by, most)
end

function M.string.rep(text, n, between)
  if type(n) == "number" and type(text) == "string" then
    local bytes = n * (#text + (type(between) == "string" and #between or 0))
    if bytes > BYTES then refuse("string.rep", ("at most %d bytes"):format(BYTES)) end
    M.charge(floor(math.max(bytes, 0) / 64))
  end
  return rep(text, n, between)
end

-- What copies a string: its bytes are charged, for a long one in a short loop takes hours.
for name, original in pairs { lower = lower, reverse = reverse, sub = sub, upper = upper } do
  M.string[name] = function(text, ...)
    local copy = original(text, ...)
    if #copy > 1024 then M.charge(floor(#copy / 64)) end
    return copy
  end
end

function M.table.insert(t, ...)
  local at, value = ...
  if select("#", ...) < 2 or type(t) ~= "table" or type(at) ~= "number" then return insert(t, ...) end
  local n = #t
  if not (at >= 1 and at <= n + 1) then refuse("table.insert", ("a place in 1 .. %d"):format(n + 1)) end
  M.charge(floor((n + 1 - at) / 16))
  return insert(t, at, value)
end

function M.table.remove(t, ...)
  if type(t) == "table" then M.charge(floor(#t / 16)) end
  return remove(t, ...)
end

function M.table.concat(t, between, first, last)
  if type(t) == "table" then
    local bytes, extra = 0, type(between) == "string" and #between or 0
    for i = first or 1, last or #t do
      local part = t[i]
      if part == nil then break end
      bytes = bytes + extra + (type(part) == "string" and #part or 20)
      if bytes > BYTES then refuse("table.concat", ("at most %d bytes"):format(BYTES)) end
    end
    M.charge(floor(bytes / 64))
  end
  return concat(t, between, first, last)
end

function M.table.sort(t, before)
  if type(t) == "table" then
    local n = #t
    M.charge(floor(n * log(n + 1) / 4))
  end
  return sort(t, before)
end

for _, library in ipairs { M.string, M.table } do
  for _, f in pairs(library) do jit.off(f) end -- so that their own loops count, too
end

local depth, kept = 0, { string = {}, table = {} }
local LIBRARIES = { string = string, table = table }
local NAMES = { { "string", "find" }, { "string", "match" }, { "string", "gmatch" }, { "string", "gsub" },
                { "string", "rep" }, { "string", "lower" }, { "string", "reverse" }, { "string", "sub" },
                { "string", "upper" }, { "table", "insert" }, { "table", "remove" }, { "table", "concat" },
                { "table", "sort" } }

--- Into the libraries of the VM, until leave(). Nothing can yield in between.
function M.enter()
  depth = depth + 1
  if depth > 1 then return end
  for n = 1, #NAMES do
    local library, name = NAMES[n][1], NAMES[n][2]
    kept[library][name] = LIBRARIES[library][name]
    LIBRARIES[library][name] = M[library][name]
  end
end

function M.leave()
  depth = depth - 1
  if depth > 0 then return end
  for n = 1, #NAMES do
    local library, name = NAMES[n][1], NAMES[n][2]
    LIBRARIES[library][name] = kept[library][name]
  end
end

jit.off(M.enter)
jit.off(M.leave)

return M
