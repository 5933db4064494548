-- Any value as lines of "name value", for texts that are compared whole. Numbers have 9 digits: more would
-- tell
-- one machine's libm from another's.
local function shown(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) == "number" then return ("%.9g"):format(value) end
  return type(value) == "function" and "a function" or tostring(value)
end

local function walk(name, value, lines)
  if type(value) ~= "table" then
    lines[#lines + 1] = name .. " " .. shown(value)
    return
  end
  local keys = {}
  for key in next, value do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == "number" and type(b) == "number" then return a < b end
    return tostring(a) < tostring(b)
  end)
  if #keys == 0 then lines[#lines + 1] = name .. " {}" end
  local is_list, parts = #keys == #value and #keys > 0, {}
  for _, item in ipairs(value) do
    is_list = is_list and type(item) ~= "table"
    parts[#parts + 1] = shown(item)
  end
  if is_list then
    lines[#lines + 1] = ("%s {%s}"):format(name, table.concat(parts, ", "))
    return
  end
  for _, key in ipairs(keys) do walk(name .. "." .. tostring(key), value[key], lines) end
end

---@param name string
---@param value any
---@return string
return function(name, value)
  local lines = {}
  walk(name, value, lines)
  return table.concat(lines, "\n")
end
