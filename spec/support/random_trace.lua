-- Traces at random, in every public format and in any dialect, with the requests that they should give.
local M = {}

local SEPARATORS = { ",", ",", ",", "\t", ";", "|" }

-- random(n): an integer in 1 .. n.
local function pick(random, list) return list[random(#list)] end

-- What a column of no interest may hold.
local function noise(random, d)
  return pick(random, { "", "x", "GPT-4", "a b", ("a%sb"):format(d.separator), 'say ""', "l1\nl2", "-1",
    "nan", "\"",
                        "ünï", "1,2,3" })
end

local function field(random, d, text, quotable)
  local needs = text:find('[%c"]') or text:find(d.separator, 1, true) or text:find "^%s" or text:find "%s$"
  if needs or d.quotes and quotable and random(3) == 1 then
    text = '"' .. text:gsub('"', '""') .. '"'
  end
  return d.blanks and random(4) == 1 and " " .. text .. " " or text
end

local function dialect(random)
  return { separator = pick(random, SEPARATORS), quotes = random(2) == 1, blanks = random(3) == 1,
           newline = random(2) == 1 and "\n" or "\r\n", mark = random(3) == 1 and "\239\187\191" or "",
           last = random(2) == 1, empty = random(3) == 1, capitals = random(4) == 1 }
end

local function shuffle(random, list)
  for i = #list, 2, -1 do
    local k = random(i)
    list[i], list[k] = list[k], list[i]
  end
  return list
end

-- A date of so many eighths of a second after one midnight, in some zone.
local function date(random, eighths)
  local zone = pick(random, { 0, 0, 0, 2, -5 })
  local total = eighths + zone * 3600 * 8
  local seconds = math.floor(total / 8)
  local day, of_day = 28 + math.floor(seconds / 86400), seconds % 86400
  local month = 2
  if day > 29 then month, day = 3, day - 29 end -- of 2024
  local text = ("2024-%02d-%02d%s%02d:%02d:%02d"):format(month, day, pick(random, { " ", "T" }),
    math.floor(of_day / 3600), math.floor(of_day / 60) % 60, of_day % 60)
  if total % 8 > 0 or random(2) == 1 then text = text .. ("%.3f"):format(total % 8 / 8):sub(2) end
  if zone ~= 0 then return text .. ("%s%02d:00"):format(zone < 0 and "-" or "+", math.abs(zone)) end
  return text .. pick(random, { "", "Z", "+00:00" })
end

-- format -> { columns: header -> cell(request), extra columns }
local CSV = {
  compact = {
    { "arrival_s", function(r) return ("%.3f"):format(r.eighths / 8) end },
    { "prompt_tokens", function(r) return tostring(r.prompt) end },
    { "output_tokens", function(r) return tostring(r.output) end },
    { "user", function(r) return r.user or "" end, "user" },
    { "class", function(r) return r.class or "" end, "class" },
    { "priority", function(r) return r.priority and tostring(r.priority) or "" end, "priority" },
    { "ttft_ms", function(r) return r.ttft and tostring(r.ttft * 1000) or "" end, "ttft" },
    { "tpot_s", function(r) return r.tpot and tostring(r.tpot) or "" end, "tpot" },
  },
  azure = {
    { "TIMESTAMP", function(r, random) return date(random, r.eighths + 23 * 3600 * 8) end },
    { "ContextTokens", function(r) return tostring(r.prompt) end },
    { "GeneratedTokens", function(r) return tostring(r.output) end },
    { "NumImages", function() return "3" end, false },
  },
  burstgpt = {
    { "Timestamp", function(r) return tostring(r.eighths / 8) end },
    { "Model", function() return "ChatGPT" end },
    { "Request tokens", function(r) return tostring(r.prompt) end },
    { "Response tokens", function(r) return tostring(r.output) end },
    { "Total tokens", function(r) return tostring(r.prompt + r.output) end },
    { "Log Type", function(r) return r.class or "" end },
    { "Session ID", function(r) return r.session or "" end, "session" },
    { "Elapsed time", function(r) return r.session and "0.5" or "" end, "session" },
  },
}

local function csv(random, format, rows, has)
  local d, columns = dialect(random), {}
  for _, column in ipairs(CSV[format]) do
    if column[3] == nil or column[3] and has[column[3]] or column[3] == false and random(2) == 1 then
      columns[#columns + 1] = column
    end
  end
  for i = 1, random(3) - 1 do columns[#columns + 1] = { "Extra " .. i, function() return noise(random,
    d) end } end
  if format ~= "burstgpt" or random(2) == 1 then shuffle(random, columns) end
  local lines, names = {}, {}
  for i, column in ipairs(columns) do
    names[i] = field(random, d, d.capitals and column[1]:upper():gsub("_", " ") or column[1], true)
  end
  lines[1] = table.concat(names, d.separator)
  for _, r in ipairs(rows) do
    local cells = {}
    for i, column in ipairs(columns) do cells[i] = field(random, d, column[2](r, random), true) end
    lines[#lines + 1] = table.concat(cells, d.separator)
    if d.empty and random(3) == 1 then lines[#lines + 1] = "" end
  end
  return d.mark .. table.concat(lines, d.newline) .. (d.last and d.newline or ""), d
end

local function json(random, format, rows)
  local d, lines = dialect(random), {}
  for _, r in ipairs(rows) do
    local time = format == "bailian" and ("%.3f"):format(r.eighths / 8) or tostring(r.eighths * 125)
    local parts = { '"timestamp": ' .. time, '"input_length": ' .. r.prompt, '"output_length":' .. r.output }
    if r.hashes or random(2) == 1 then parts[#parts + 1] = '"hash_ids": [1, 2, 3]' end
    if format == "bailian" then
      parts[#parts + 1] = ('"chat_id": %d'):format(r.chat)
      parts[#parts + 1] = ('"parent_chat_id": %s'):format(r.parent or pick(random, { "-1", "null" }))
      parts[#parts + 1] = ('"type": "%s"'):format(r.class)
      parts[#parts + 1] = '"turn": 1'
    elseif r.session then
      parts[#parts + 1] = ('"session_id": "%s"'):format(r.session)
    end
    if random(4) == 1 then parts[#parts + 1] = '"more": {"a": [1, "x,y", null], "timestamp": 9}' end
    lines[#lines + 1] = "{" .. table.concat(shuffle(random, parts), ", ") .. "}"
    if d.empty and random(3) == 1 then lines[#lines + 1] = "" end
  end
  return d.mark .. table.concat(lines, d.newline) .. (d.last and d.newline or ""), d
end

M.FORMATS = { "compact", "azure", "burstgpt", "mooncake", "bailian" }

local NAMES = { "ada", "bo", "Conversation log", 'a "b", c', "7" }

-- Rows of one format, and which optional fields they have.
local function rows_of(random, format)
  local rows, at = {}, random(40) - 1
  local has = { user = random(2) == 1, class = random(2) == 1, priority = random(2) == 1,
    ttft = random(2) == 1,
                tpot = random(2) == 1, session = random(2) == 1 }
  if format == "burstgpt" then has.class = true end
  for i = 1, 3 + random(30) do
    at = at + random(24) - 1
    local r = { eighths = at, prompt = random(5000), output = random(500) }
    if random(12) == 1 then r[pick(random, { "prompt", "output" })] = 0 end
    if format == "compact" then
      r.user = has.user and random(3) > 1 and pick(random, NAMES) or nil
      r.priority = has.priority and random(2) == 1 and random(9) - 5 or nil
      r.ttft = has.ttft and random(2) == 1 and random(16) / 8 or nil
      r.tpot = has.tpot and random(2) == 1 and random(16) / 16 or nil
    end
    if format == "compact" or format == "burstgpt" then
      r.class = has.class and random(3) > 1 and pick(random, NAMES) or nil
    end
    if (format == "burstgpt" or format == "mooncake") and has.session and random(3) > 1 then
      r.session = tostring(random(4))
    elseif format == "bailian" then
      r.chat, r.class, r.parent = 100 + i, pick(random, { "text", "image" }), nil
      local before = i > 1 and random(2) == 1 and rows[random(i - 1)]
      if before then r.parent = before.chat end
    end
    rows[i] = r
  end
  if random(3) == 1 then shuffle(random, rows) end
  return rows, has
end

--- A trace: its text, the rows as they stand in it, and the dialect.
---@param random function random(n): an integer in 1 .. n
---@param format string one of FORMATS
---@return string text, table rows, table dialect
function M.new(random, format)
  local rows, has = rows_of(random, format)
  local text, d
  if CSV[format] then text, d = csv(random, format, rows, has) else text, d = json(random, format, rows) end
  return text, rows, d
end

--- What the rows should give, in order of arrival: arrivals of dates count from the first one.
---@param rows table
---@param format string
---@return table requests arrival, prompt, output, user, class, priority, ttft, tpot, session, after (a place)
---@return integer skipped
function M.wanted(rows, format)
  local list, skipped, root, last = {}, 0, {}, {}
  for i, r in ipairs(rows) do
    if r.prompt == 0 or r.output == 0 then
      skipped = skipped + 1
    else
      local q = { place = i, arrival = r.eighths / 8, prompt = r.prompt, output = r.output, user = r.user,
                  class = r.class, priority = r.priority, ttft = r.ttft, tpot = r.tpot, session = r.session,
                  chat = r.chat, parent = r.parent }
      list[#list + 1] = q
    end
  end
  table.sort(list, function(a, b)
    if a.arrival ~= b.arrival then return a.arrival < b.arrival end
    return a.place < b.place
  end)
  for _, q in ipairs(list) do
    if format == "bailian" then
      local parent = root[q.parent]
      q.session, q.follows = parent and parent.session or tostring(q.chat), parent
      root[q.chat] = q
    elseif q.session then
      q.follows, last[q.session] = last[q.session], q
    end
    q.chat, q.parent = nil, nil
  end
  local first = format == "azure" and list[1] and list[1].arrival or 0
  for i, q in ipairs(list) do q.arrival, q.place = q.arrival - first, i end
  for _, q in ipairs(list) do q.after = q.follows and q.follows.place end
  for _, q in ipairs(list) do q.place, q.follows = nil, nil end
  return list, skipped
end

return M
