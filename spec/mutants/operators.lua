-- One-line faults. A site is where one could be put into a file: { line, from, to, with, what }, the
-- characters from .. to of that line become `with`.
local mask = require "spec.mutants.mask"

local SWAPS = {
  c = { [" < "] = " <= ", [" <= "] = " < ", [" > "] = " >= ", [" >= "] = " > ", [" == "] = " != ",
        [" != "] = " == ", [" && "] = " || ", [" || "] = " && ", [" + "] = " - ", [" - "] = " + ",
        [" * "] = " + ", [" / "] = " * ", [" % "] = " / ", [" & "] = " | ", [" | "] = " & ", [" ^ "] = " | ",
        [" << "] = " >> ", [" >> "] = " << ", ["++"] = "--", [" += "] = " -= ", [" -= "] = " += ",
        [" |= "] = " &= " },
  lua = { [" < "] = " <= ", [" <= "] = " < ", [" > "] = " >= ", [" >= "] = " > ", [" == "] = " ~= ",
          [" ~= "] = " == ", [" and "] = " or ", [" or "] = " and ", [" + "] = " - ", [" - "] = " + ",
          [" * "] = " + ", [" / "] = " * ", [" % "] = " / ", ["not "] = "", ["true"] = "false",
          ["false"] = "true" },
}
local WORD = { ["not "] = true, ["true"] = true, ["false"] = true }

local function escape(text) return (text:gsub("%p", "%%%0")) end

-- Of two that are equal either is the larger: `if (a > b) b = a;` and `a < b ? a : b` say the same with
-- >= and <=.
local function is_extreme(code, from, to)
  local a, b = code:sub(1, from - 1):match "([%w_.%->%[%]*]+)$", code:sub(to + 1):match "^[%w_.%->%[%]*]+"
  local before = a and code:sub(1, from - 1 - #a)
  local is_whole = before and (before:find "[=(,:] ?$" or before:find "%f[%l]if $" or before:find "return $")
  if not b or not is_whole then return false end
  local rest = code:sub(to + 1 + #b)
  local x, y = rest:match "^ %? ([%w_.%->%[%]*]+) : ([%w_.%->%[%]*]+)"
  if not x then x, y = rest:match "^%) ([%w_.%->%[%]*]+) = ([%w_.%->%[%]*]+);" end
  if not x then x, y = rest:match "^ then ([%w_.%->%[%]*]+) = ([%w_.%->%[%]*]+) end" end
  return x == a and y == b or x == b and y == a
end

-- After `if a ~= b then return`, `a < b` and `a <= b` are the same.
local function is_tie(code, from, to)
  local a, b = code:match "if ([%w_.%[%]]+) ~= ([%w_.%[%]]+) then return "
  return a ~= nil and code:find("then return " .. a, 1, true) ~= nil
    and code:sub(1, from - 1):sub(-#a) == a and code:sub(to + 1, to + #b) == b
end

local ORDERS = { [" < "] = true, [" <= "] = true, [" > "] = true, [" >= "] = true }

local function swaps(code, language, put)
  for token, with in pairs(SWAPS[language]) do
    local at = 1
    while true do
      local from, to = code:find(token, at, true)
      if not from then break end
      local is_site = not WORD[token] or code:find("^%f[%w_]" .. escape(token), from)
      if ORDERS[token] and (is_extreme(code, from, to) or is_tie(code, from, to)) then is_site = false end
      local pads = with:sub(1, 1) == " " and 1 or 0 -- the blanks around an operator stay
      if is_site then put(from + pads, to - pads, with:sub(1 + pads, #with - pads), "swap") end
      at = to + (pads == 1 and 0 or 1)
    end
  end
end

-- Whole numbers; the exponent of 1e-9 is none.
local function constants(code, put)
  local at = 1
  while true do
    local from, to = code:find("%f[%w_.]%d+%f[^%w_.]", at)
    if not from then return end
    local n = tonumber(code:sub(from, to))
    if not code:sub(1, from - 1):find "%f[%w_.]%d[%d.]*[eE][+-]$" then
      put(from, to, ("%d"):format(n + 1), "constant")
      if n > 0 then put(from, to, ("%d"):format(n - 1), "constant") end
    end
    at = to + 1
  end
end

-- `line` is the text that `code` masks.
local function conditions(code, line, language, put)
  if language == "c" then
    local from, to = code:find "%f[%w_]if %b()"
    if not from then return end
    local condition = line:sub(from + 3, to)
    put(from + 3, to, "(!" .. condition .. ")", "negated")
    put(from + 3, to, "(0 && " .. condition .. ")", "dropped")
    return
  end
  local from, to = code:find "%f[%w_]if .- then%f[^%w_]"
  if not from then return end
  local condition = line:sub(from + 3, to - 5)
  put(from + 3, to - 5, "not (" .. condition .. ")", "negated")
  put(from + 3, to - 5, "false and (" .. condition .. ")", "dropped")
end

local function balanced(code)
  for _, pair in ipairs { "()", "{}", "[]" } do
    local _, opened = code:gsub(escape(pair:sub(1, 1)), "")
    local _, closed = code:gsub(escape(pair:sub(2, 2)), "")
    if opened ~= closed then return false end
  end
  return true
end

local LUA_HEADS = { ["local"] = true, ["return"] = true, ["end"] = true, ["else"] = true, ["elseif"] = true,
                    ["function"] = true, ["until"] = true, ["repeat"] = true, ["while"] = true }

-- A whole statement on a line of its own. C declarations begin with two words.
local function statements(code, before, language, put)
  local from, to = code:find "%S.*%S"
  if not from or not balanced(code) then return end
  local text = code:sub(from, to)
  if language == "c" then
    local continues = not before:find "[;{}:)]%s*$" and before:find "%S"
    if continues or not text:find ";$" or text:find "^[%a_][%w_]*%s+[%a_*]" then return end
    -- Nothing, on every machine that there is a LuaJIT for; and no program at all.
    if text:find "^va_end%(" or text:find "^%(void%)[%w_]+;$" then return end
    put(from, to, ";", "removed")
    return
  end
  local head = text:match "^[%a_]+"
  if not head or LUA_HEADS[head] or before:find "[,={(%.]%s*$" or before:find "[%l]or%s*$" then return end
  local is_one = text:find "^[%w_.:%[%], ]+ = " or text:find "^[%w_.:%[%]]+%(.*%)$" or text:find " end$"
  if is_one then put(from, to, "", "removed") end
end

local M = {}

---@param text string
---@param language string "c" or "lua"
---@return table sites in an order that depends on the text alone
function M.sites(text, language)
  local sites, number, before, at = {}, 0, "", 1
  for code in (mask(text, language) .. "\n"):gmatch "([^\n]*)\n" do
    local line = text:sub(at, at + #code - 1)
    number, at = number + 1, at + #code + 1
    local function put(from, to, with, what)
      sites[#sites + 1] = { line = number, from = from, to = to, with = with, what = what }
    end
    swaps(code, language, put)
    constants(code, put)
    conditions(code, line, language, put)
    statements(code, before, language, put)
    if code:find "%S" then before = code end
  end
  table.sort(sites, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    if a.from ~= b.from then return a.from < b.from end
    if a.what ~= b.what then return a.what < b.what end
    return a.with < b.with
  end)
  return sites
end

--- The text with one fault in it, the line as it was and is, and the two below it.
---@return string mutated, string was, string is, string below
function M.apply(text, site)
  local at, number = 1, 1
  while number < site.line do
    at = text:find("\n", at, true) + 1
    number = number + 1
  end
  local stop = text:find("\n", at, true) or #text + 1
  local was = text:sub(at, stop - 1)
  local is = was:sub(1, site.from - 1) .. site.with .. was:sub(site.to + 1)
  return text:sub(1, at - 1) .. is .. text:sub(stop), was:match "^%s*(.-)%s*$", is:match "^%s*(.-)%s*$",
    text:match("^[^\n]*\n?[^\n]*", stop + 1)
end

return M
