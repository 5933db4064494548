-- Domains of values. domain(value) returns the value as it is used, or nil and what is wanted, in words
-- that args.wrong(name, value, wanted) completes. Domains are made once, when a module is loaded.
local M = {}

--- What `holds` is true for.
---@param holds function value -> boolean
---@param wanted string
---@return function domain
function M.where(holds, wanted)
  return function(value)
    if holds(value) then return value end
    return nil, wanted
  end
end
local where = M.where

--- Whole numbers, those beyond an int32 too. No bound is NaN, and no infinity is whole.
---@param low number
---@param high number
---@param wanted? string
---@return function domain
function M.integer(low, high, wanted)
  return where(function(value)
    return type(value) == "number" and value >= low and value <= high and value % 1 == 0
  end, wanted or ("an integer in %.15g .. %.15g"):format(low, high))
end

---@param low number
---@param high number
---@param wanted? string
---@return function domain
function M.number(low, high, wanted)
  return where(function(value) return type(value) == "number" and value >= low and value <= high end,
    wanted or ("a number in %.15g .. %.15g"):format(low, high))
end

---@param name string of a Lua type
---@param wanted? string
---@return function domain
function M.of_type(name, wanted)
  return where(function(value) return type(value) == name end, wanted or "a " .. name)
end

--- What either of two domains takes, as the first one that takes it uses it.
---@param a function
---@param b function
---@return function domain
function M.either(a, b)
  local wanted = ("%s or %s"):format(select(2, a(nil)):gsub(" or ", ", "), select(2, b(nil)))
  return function(value)
    local used = a(value)
    if used == nil then used = b(value) end
    if used == nil then return nil, wanted end
    return used
  end
end

M.flag = where(function(value) return type(value) == "boolean" end, "true or false")

-- "a", "b" or "c"
local function alternatives(names)
  local quoted = {}
  for i, name in ipairs(names) do quoted[i] = ("%q"):format(name) end
  return (table.concat(quoted, ", "):gsub(", ([^,]*)$", " or %1"))
end

--- One of the names, or its value where the names have values of their own.
---@param names table list of strings
---@param values? table name -> value; the names themselves
---@return function domain
function M.one_of(names, values)
  local wanted = alternatives(names)
  if not values then
    values = {}
    for _, name in ipairs(names) do values[name] = name end
  end
  return function(value) return values[value], wanted end
end

--- One of the names, as its place in the list, from 0.
---@param names table list of strings
---@return function domain
function M.code_of(names)
  local codes = {}
  for i, name in ipairs(names) do codes[name] = i - 1 end
  return M.one_of(names, codes)
end

return M
