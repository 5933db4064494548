-- Prometheus' text format, version 0.0.4: families of samples, each under a line of HELP and one of TYPE.
local Text = {}
Text.__index = Text

local ESCAPES = { ["\\"] = "\\\\", ["\n"] = "\\n", ['"'] = '\\"' }

local function number(value)
  if value == math.floor(value) and math.abs(value) < 2 ^ 53 then return ("%.0f"):format(value) end
  local short = ("%.15g"):format(value)
  return tonumber(short) == value and short or ("%.17g"):format(value)
end

local function label(name, value) return ('%s="%s"'):format(name, (value:gsub('[\\\n"]', ESCAPES))) end

local function add(self, line) self[#self + 1] = line end

-- Labels of all samples, then this sample's own: pairs of name and value.
local function sample(self, name, value, ...)
  local parts = {}
  for i, text in ipairs(self.labels) do parts[i] = text end
  for i = 1, select("#", ...), 2 do
    local of, text = select(i, ...)
    if of then parts[#parts + 1] = label(of, text) end
  end
  local list = #parts > 0 and "{" .. table.concat(parts, ",") .. "}" or ""
  add(self, name .. list .. " " .. number(value))
end

--- Begin a family; `sample` adds to it.
---@param name string without the prefix
---@param kind string counter, gauge or histogram
---@param help string
function Text:family(name, kind, help)
  self.name = "gdnmeta_" .. name
  add(self, ("# HELP %s %s"):format(self.name, help))
  add(self, ("# TYPE %s %s"):format(self.name, kind))
end

--- A sample of the family that was begun last, with pairs of label and value.
---@param value number
function Text:sample(value, ...) sample(self, self.name, value, ...) end

--- A series of a histogram: its buckets, each with all below it, their sum and count.
---@param h table
---@param series integer
---@param of string|nil label and value
---@param text string|nil
function Text:histogram(h, series, of, text)
  local upto, first = 0, series * (h.n + 1)
  for b = 0, h.n do
    upto = upto + h.counts[first + b]
    local bound = b < h.n and number(h.bounds[b]) or "+Inf"
    if of then sample(self, self.name .. "_bucket", upto, of, text, "le", bound)
    else sample(self, self.name .. "_bucket", upto, "le", bound) end
  end
  sample(self, self.name .. "_sum", h.sums[series], of, text)
  sample(self, self.name .. "_count", upto, of, text)
end

---@return string
function Text:close() return table.concat(self, "\n") .. "\n" end

local M = {}

--- Labels in order of their names.
---@param labels table name -> text
function M.new(labels)
  local self, names = { labels = {} }, {}
  for name in pairs(labels) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do self.labels[i] = label(name, labels[name]) end
  return setmetatable(self, Text)
end

return M
