-- Bytes as edits of a document of JSON lines, which random bytes alone would hardly ever leave well-formed.
-- Each edit takes five bytes: a place (two), what to do there, a value (two).
local cjson = require "cjson"

local M = {}

local EDGES = { -1, 0, 1, 2 ^ 31 - 1, 2 ^ 31, -2 ^ 31, -2 ^ 31 - 1, 2 ^ 32, 2 ^ 53, 2 ^ 53 + 2, 1e300, -1e300,
                0.5, 65536 }

local function nested(depth) return depth == 0 and 1 or { nested(depth - 1) } end

-- What may stand at a place, by the value's two bytes.
local VALUES = {
  function(n) return n - 32768 end,
  function(n) return n % 64 - 4 end,
  function(n) return EDGES[n % #EDGES + 1] end,
  function(n) return ("x"):rep(n % 300) end,
  function(n) return n % 2 == 0 end,
  function() return cjson.null end,
  function() return nil end,
  function() return {} end,
  function(n) return nested(n % 8) end,
  function(n) return ("\1\n\"\255"):rep(n % 9) end,
}

-- Every place in a document: the table it is in, and its key there.
local function places(value, list)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(keys) do
    list[#list + 1] = { value, key }
    if type(value[key]) == "table" then places(value[key], list) end
  end
  return list
end

local function edit(list, place, what, n)
  local at, key = unpack(list[place % #list + 1])
  what = what % (#VALUES + 4) + 1
  local value = at[key]
  if VALUES[what] then
    at[key] = VALUES[what](n)
  elseif type(key) == "number" and what == #VALUES + 1 then
    table.insert(at, key, value) -- twice
  elseif type(key) == "number" and what == #VALUES + 2 then
    table.remove(at, key)
  elseif type(key) == "string" and what == #VALUES + 3 then
    at[key .. "_"] = value
  elseif type(value) == "number" then
    at[key] = value + n % 5 - 2
  end
end

--- The document of `text`, edited as `bytes` say, until it has twice its places: a list of lists, put twice
--- again and again, would double it without end.
---@param text string JSON lines
---@param bytes string
---@return string
function M.apply(text, bytes)
  local lines = {}
  for line in text:gmatch "[^\n]+" do lines[#lines + 1] = cjson.decode(line) end
  local list = places(lines, {})
  local most = 2 * #list
  for i = 1, #bytes - 4, 5 do
    if #list == 0 or #list > most then break end
    local a, b, what, c, d = bytes:byte(i, i + 4)
    edit(list, a * 256 + b, what, c * 256 + d)
    list = places(lines, {})
  end
  local parts = {}
  for i = 1, table.maxn(lines) do
    local ok, line = pcall(cjson.encode, lines[i])
    parts[#parts + 1] = ok and line or "?"
  end
  text = table.concat(parts, "\n") .. "\n"
  local rest = #bytes % 5
  return rest == 1 and text:sub(1, bytes:byte(-1) * 16) or text -- cut
end

return M
