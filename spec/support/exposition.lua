-- Reads Prometheus' text format 0.0.4 back, by its grammar and not by what our writer does.
local M = {}

local UNESCAPED = { ["\\\\"] = "\\", ["\\n"] = "\n", ['\\"'] = '"' }

-- name="value" pairs up to the closing brace, in any order.
local function read_labels(line, at)
  local labels = {}
  while line:sub(at, at) ~= "}" do
    local name, from = line:match('^([%a_][%w_]*)="()', at)
    assert(name, "no label in: " .. line)
    local to = from
    while line:sub(to, to) ~= '"' do
      assert(to <= #line, "label without end in: " .. line)
      to = to + (line:sub(to, to) == "\\" and 2 or 1)
    end
    assert(labels[name] == nil, name .. " twice in: " .. line)
    labels[name] = line:sub(from, to - 1):gsub("\\.", function(pair)
      return assert(UNESCAPED[pair], "escape in: " .. line)
    end)
    at = to + 1
    if line:sub(at, at) == "," then at = at + 1 end
  end
  return labels, at + 1
end

local function key_of(name, labels)
  local parts = {}
  for label, value in pairs(labels) do parts[#parts + 1] = ("%s=%q"):format(label, value) end
  table.sort(parts)
  return name .. "{" .. table.concat(parts, ",") .. "}"
end

local SUFFIXES = { histogram = { "_bucket", "_sum", "_count" }, counter = { "" }, gauge = { "" } }

local function belongs(name, family)
  for _, suffix in ipairs(SUFFIXES[family.kind]) do
    if name == family.name .. suffix then return true end
  end
end

--- Families by name: kind, help, samples (a list of { name, labels, value }).
---@param text string
---@return table families
function M.read(text)
  local families, seen, family = {}, {}, nil
  assert(text:sub(-1) == "\n", "the last line has no end")
  for line in text:gmatch "([^\n]*)\n" do
    local help_of, help = line:match "^# HELP (%S+) (.+)$"
    local type_of, kind = line:match "^# TYPE (%S+) (%S+)$"
    if help_of then
      assert(not families[help_of], help_of .. " twice")
      family = { name = help_of, help = help, samples = {} }
      families[help_of] = family
    elseif type_of then
      assert(family and family.name == type_of and not family.kind and SUFFIXES[kind], line)
      family.kind = kind
    else
      local name, at = line:match "^([%a_:][%w_:]*)()"
      assert(name and family and belongs(name, family), "a line of no family: " .. line)
      local labels = {}
      if line:sub(at, at) == "{" then labels, at = read_labels(line, at + 1) end
      local value = tonumber(line:match("^ (%S+)$", at))
      assert(value and value == value, "no value: " .. line)
      local key = key_of(name, labels)
      assert(not seen[key], key .. " twice")
      seen[key] = true
      family.samples[#family.samples + 1] = { name = name, labels = labels, value = value }
    end
  end
  return families
end

local function fits(sample, wanted)
  for label, value in pairs(wanted or {}) do
    if sample.labels[label] ~= value then return false end
  end
  return true
end

--- The sum over the samples of that name that have those labels.
function M.sum(families, name, labels)
  local family = families[name] or families[name:gsub("_%a+$", "")]
  local sum = 0
  for _, sample in ipairs(assert(family, name).samples) do
    if sample.name == name and fits(sample, labels) then sum = sum + sample.value end
  end
  return sum
end

--- A histogram's buckets, checked: { { le, count } ... }, count, sum.
function M.histogram(families, name, labels)
  local buckets, last = {}, 0
  for _, sample in ipairs(assert(families[name], name).samples) do
    if sample.name == name .. "_bucket" and fits(sample, labels) then
      local le = sample.labels.le == "+Inf" and math.huge or tonumber(sample.labels.le)
      assert(le > (buckets[#buckets] and buckets[#buckets][1] or -math.huge), name .. ": bounds do not rise")
      assert(sample.value >= last, name .. ": a bucket has less than the one before")
      last = sample.value
      buckets[#buckets + 1] = { le, sample.value }
    end
  end
  local count = M.sum(families, name .. "_count", labels)
  assert(#buckets == 0 and count == 0 or buckets[#buckets][1] == math.huge, name .. ": no bucket of +Inf")
  assert(last == count, name .. ": +Inf is not the count")
  return buckets, count, M.sum(families, name .. "_sum", labels)
end

return M
