-- Readers of rows: a line, or a record over several, becomes a table of fields by meaning, still as they
-- stand in the file. One for CSV, by its header; one for JSON lines, by the keys of each object.
local raised = require "gdnmeta.policy.contained.raised"
local columns = require "gdnmeta.sim.trace.columns"
local csv = require "gdnmeta.sim.trace.csv"
local values = require "gdnmeta.sim.trace.values"

local M = {}

local MOST_NAMES = 64 -- that are reported as not read
local NEEDED = { "arrival", "prompt", "output" }

-- A column's name as messages have it.
local function plain(name) return (name:gsub("%c", " "):sub(1, 40)) end

-- Names that mean nothing here, in their order: reported as not read.
local function unread(reader, name)
  local list = reader.unread
  if #list < MOST_NAMES and not list[name] then list[#list + 1], list[name] = name, true end
end

-- Position of each meaning in a header.
local function positions(reader, header, n)
  local at, rank, seen = {}, {}, {}
  for i = 1, n do
    local name = header[i]
    local meaning = columns.meaning(name)
    if meaning then
      local field = meaning.field
      if seen[name] then return nil, ("column %s stands twice"):format(values.shown(name)) end
      if at[field] then unread(reader, meaning.rank < rank[field] and header[at[field]] or name) end
      if not at[field] or meaning.rank < rank[field] then
        at[field], rank[field], reader.units[field] = i, meaning.rank, meaning.unit
      end
    elseif name ~= "" then
      unread(reader, name)
    end
    seen[name] = true
  end
  return at
end

-- A comma before decimals, where fields are separated otherwise.
local function dotted(text)
  return text:find "^[+-]?%d+,%d+$" and text:gsub(",", ".") or text
end

-- A CSV's rows: row(line) fills reader.row.
local function csv_reader(reader, separator, header, n, lines)
  local at, message = positions(reader, header, n)
  if not at then return nil, message end
  local fields = {}
  reader.format = columns.format(header, false)
  for field, i in pairs(at) do reader.names[field] = plain(header[i]) end
  local row, comma = reader.row, separator ~= ","
  function reader.read(line)
    local count = csv.fields(line, separator, fields, lines)
    if not count then return "a quote is left open" end
    while count > n and fields[count] == "" do count = count - 1 end
    if count ~= n then return ("%d fields, want %d"):format(count, n) end
    for field, i in pairs(at) do
      local text = fields[i]
      row[field] = text ~= "" and (comma and dotted(text) or text) or nil
    end
  end
  return reader
end

-- The separator under which the header has all that is needed.
local function detect_csv(reader, line, lines)
  local best
  for _, separator in ipairs(csv.SEPARATORS) do
    local header = {}
    local n = csv.fields(line, separator, header)
    local has, found = {}, 0
    for i = 1, n or 0 do has[(columns.meaning(header[i]) or {}).field or ""] = true end
    has.arrival = has.arrival or has.delay and has.session -- turns after turns
    for _, field in ipairs(NEEDED) do found = found + (has[field] and 1 or 0) end
    if found == #NEEDED then
      return csv_reader(reader, separator, header, n, lines)
    end
    if not best or found > best.found then best = { has = has, found = found } end
  end
  local missing = {}
  for _, field in ipairs(NEEDED) do
    if not best.has[field] then
      missing[#missing + 1] = field == "arrival" and "arrivals" or field .. " tokens"
    end
  end
  return nil, ("first line %s is of no known format: no column of %s, "
    .. "want names such as arrival_s,prompt_tokens,output_tokens"):format(
    values.shown((line:gsub("%s+$", "")):sub(1, 60)), table.concat(missing, ", "))
end

local HASHES = { field = "hashes" } -- of a prompt's blocks; text of a CSV has no lists
local JSON_NAMES = { arrival = "timestamp", prompt = "input_length", output = "output_length" }

-- Does a key say more of its field than the one before? Keys come in no order: of one rank the lesser does.
local function counts(meaning, before)
  if meaning.rank ~= before.rank then return meaning.rank < before.rank end
  return meaning.key < before.key
end

local function json_reader(reader)
  local cjson, why = raised.module("cjson", "lua-cjson")
  if not cjson then return nil, "JSON lines: " .. why end
  local decode, null, row, names = cjson.new().decode, cjson.null, reader.row, reader.names
  local known, taken = {}, {} -- key -> meaning or false; field -> the meaning that a line's value has
  for field, name in pairs(JSON_NAMES) do names[field] = name end
  local function learn(key)
    local meaning = type(key) == "string" and (columns.meaning(key) or key == "hash_ids" and HASHES) or false
    if not meaning then unread(reader, tostring(key)) end
    known[key] = meaning and { field = meaning.field, rank = meaning.rank, unit = meaning.unit, key = key,
      name = plain(key) }
    return known[key]
  end
  function reader.read(line)
    local decoded, object = pcall(decode, line)
    if not decoded then return tostring(object):gsub("%c", "?"):sub(1, 200) end
    if type(object) ~= "table" or not line:find "^%s*{" then return "want a JSON object" end
    for field in pairs(row) do row[field] = nil end
    for field in pairs(taken) do taken[field] = nil end
    for key, value in pairs(object) do
      local meaning = known[key]
      if meaning == nil then meaning = learn(key) end
      local field = meaning and meaning.field
      if field and value ~= null and (not taken[field] or counts(meaning, taken[field])) then
        row[field], taken[field], reader.units[field] = value, meaning, meaning.unit
        names[field] = meaning.name
      end
    end
    if not reader.format then
      local keys = {}
      for key in pairs(object) do keys[#keys + 1] = tostring(key) end
      reader.format = columns.format(keys, true)
    end
  end
  return reader
end

--- The reader that the first line calls for: read(line) fills `row`, or returns what is wrong there;
--- `names` are the columns' own, `units` what their names say, `unread` those without a meaning.
---@param line string
---@param lines table where a record's further lines come from
---@return table|nil reader, string? message
function M.reader(line, lines)
  local reader = { row = {}, names = {}, units = {}, unread = {} }
  reader.json = line:find "^%s*{" ~= nil
  if line:find "^%s*{%s*$" then
    return nil, "a JSON object over several lines, want one per line: jq -c . first"
  end
  if reader.json then return json_reader(reader) end
  if line:find "^%s*%[" then return nil, "a JSON list, want one object per line: jq -c '.[]' first" end
  return detect_csv(reader, line, lines)
end

return M
