-- What `=value` shows at the prompt: our objects as drawings, tables one level deep, the rest as it prints.
local batches = require "gdnmeta.batch"
local draw = require "gdnmeta.metadata.draw"
local engine_drawing = require "gdnmeta.engine.draw"
local draw_rows = require "gdnmeta.metadata.draw_rows"
local methods = require "gdnmeta.native.methods"
local printed = require "gdnmeta.native.printed"

local ELEMENTS = 64 -- of a tensor
local LINES = 40    -- of a table, or rows of a tensor
local RUN = 8       -- equal elements that become one entry

local M = {}

local function is_metadata(value)
  local mt = type(value) == "table" and getmetatable(value)
  return mt and rawget(value, "struct") ~= nil and rawget(value, "core") ~= nil
end

local function is_engine(value)
  return type(value) == "table" and getmetatable(value) == methods.Engine
end

local function is_tensor(value)
  return type(value) == "cdata" and tostring(value):find "^%a+%d*%[[%d, ]+%] {" ~= nil
end

-- Elements from .. to - 1, long runs as "-1 x 2040".
local function elements(view, from, to)
  local parts, i = {}, from
  while i < to and #parts < ELEMENTS do
    local run = 0
    repeat run = run + 1 until i + run >= to or view[i + run] ~= view[i]
    local entry = tostring(view[i])
    if run >= RUN then entry = ("%s x %d"):format(entry, run) else run = 1 end
    parts[#parts + 1] = entry
    i = i + run
  end
  if i < to then parts[#parts + 1] = ("... %d more"):format(to - i) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function tensor(view)
  local shape = view.shape
  local lines = { ("%s[%s]"):format(view.dtype, table.concat(shape, ", ")) }
  if not shape[2] then return lines[1] .. " " .. elements(view, 0, #view) end
  for row = 0, math.min(shape[1], LINES) - 1 do
    lines[#lines + 1] = ("%6d  %s"):format(row, elements(view, row * shape[2], (row + 1) * shape[2]))
  end
  if shape[1] > LINES then lines[#lines + 1] = ("   ... %d rows more"):format(shape[1] - LINES) end
  return table.concat(lines, "\n")
end

local function brief(value)
  if type(value) == "string" then return ("%q"):format(value) end
  return (tostring(value):match "^[^\n]*")
end

local function by_kind(a, b)
  if type(a) == "number" and type(b) == "number" then return a < b end
  if (type(a) == "number") ~= (type(b) == "number") then return type(a) == "number" end
  return tostring(a) < tostring(b)
end

local function listing(value)
  local keys, lines = {}, {}
  for key in next, value do keys[#keys + 1] = key end
  if #keys == 0 then return "{}" end
  table.sort(keys, by_kind)
  for n = 1, math.min(#keys, LINES) do
    local key = keys[n]
    local name = type(key) == "string" and key or ("[%s]"):format(brief(key))
    lines[#lines + 1] = ("  %s = %s"):format(name, brief(rawget(value, key)))
  end
  if #keys > LINES then lines[#lines + 1] = ("  ... %d more"):format(#keys - LINES) end
  return table.concat(lines, "\n")
end

-- Rule sets other than strict let steps through whose rows contradict each other.
local function metadata(meta, paint)
  if meta.core.stamp[0] < 0 then return tostring(meta) end
  local text = draw.step(meta, paint)
  local ok, rows = pcall(draw_rows.draw, meta, paint)
  return ok and text .. "\n" .. rows or text
end

--- A value as text.
---@param value any
---@param paint function see colors.lua
---@return string
function M.text(value, paint)
  if batches.is_batch(value) then
    return rawget(value, "rows") and draw.batch(value.rows, paint) or tostring(value)
  elseif is_metadata(value) then
    return metadata(value, paint)
  elseif is_engine(value) then
    return engine_drawing.draw(value, paint)
  elseif is_tensor(value) then
    return tensor(value)
  end
  local mt = type(value) == "table" and getmetatable(value)
  local has_text = mt and mt.__tostring and not printed.is_figures(value)
  if type(value) == "table" and not has_text then return listing(value) end
  return tostring(value)
end

return M
