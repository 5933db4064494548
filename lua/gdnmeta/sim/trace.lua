-- Recorded workloads: reads the public formats, by the names of their columns, and returns requests by
-- arrival.
--   azure     TIMESTAMP,ContextTokens,GeneratedTokens, also with NumImages
--   burstgpt  Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type, also with Session ID
--             and Elapsed time
--   mooncake  JSON lines, timestamp or delay in milliseconds, also with session_id
--   bailian   JSON lines with chat_id and parent_chat_id, timestamp in seconds
--   compact   arrival_s,prompt_tokens,output_tokens and any of user, class, priority, weight, ttft_s,
--             tpot_s, deadline_s, session_id, think_s
--   csv       any other that has columns of arrivals, prompt and output tokens
local args = require "gdnmeta.native.args"
local columns = require "gdnmeta.sim.trace.columns"
local domains = require "gdnmeta.native.domains"
local identity = require "gdnmeta.sim.trace.identity"
local options = require "gdnmeta.native.options"
local lines_of = require "gdnmeta.sim.trace.lines"
local notices = require "gdnmeta.sim.trace.notices"
local request = require "gdnmeta.sim.trace.request"
local rows_of = require "gdnmeta.sim.trace.rows"
local foreign_text = require "gdnmeta.native.foreign_text"
local turns = require "gdnmeta.sim.trace.turns"
local units = require "gdnmeta.sim.trace.units"
local values = require "gdnmeta.sim.trace.values"

local M = { UNITS = columns.UNITS }

local ENOUGH = 1000 -- unreadable rows, after which a file that has mostly such rows is refused
local UNREADABLE = request.UNREADABLE

local function count(t, reason, line, message)
  local entry = t.by_reason[reason]
  if not entry then
    entry = { name = reason, n = 0, line = line, message = message }
    t.by_reason[reason], t.reasons[#t.reasons + 1] = entry, entry
  end
  entry.n, t.skipped = entry.n + 1, t.skipped + 1
end

-- Lowest and highest time as they stand in the file, for units.lua.
local function note(seen, raw)
  seen.n, seen.low, seen.high = seen.n + 1, math.min(seen.low, raw), math.max(seen.high, raw)
  if raw % 1 ~= 0 then seen.fraction = true end
end

-- A file that is mostly unreadable is none of ours.
local function mostly_bad(t)
  local bad = t.by_reason[UNREADABLE]
  if not bad or bad.n * 2 < t.rows then return nil end
  return ("%d: %s%s"):format(bad.line, bad.message,
    bad.n > 1 and (" (%d of %d rows are unreadable)"):format(bad.n, t.rows) or "")
end

-- Read rows up to the limit.
local function read_rows(t, lines, o, requests)
  local due, skip, limit = 0, o.skip or 0, o.limit or math.huge
  while #requests < limit do
    local line, message = lines:next()
    if not line then
      if message then return ("%d: %s"):format(lines.number + 1, message) end
      return nil
    end
    local n = lines.number
    if line:find "%S" then
      local bad = t.reader.read(line)
      local r, reason
      if t.reader.format then t.unit = t.reader.format == "mooncake" and 1e3 or 1 end
      if not bad then r, reason, bad = request.of(t, n) end
      t.rows = t.rows + 1
      if not r then
        count(t, reason or UNREADABLE, n, bad)
        if t.by_reason[UNREADABLE] and t.by_reason[UNREADABLE].n % ENOUGH == 0 then
          message = mostly_bad(t)
          if message then return message end
        end
      else
        if t.raw then note(t.seen, t.raw) end
        if t.passed < skip then
          t.passed = t.passed + 1
        else
          requests[#requests + 1] = r
        end
      end
    end
    due = due - 1
    if o.progress and due < 0 then
      o.progress(lines:position(), lines.total)
      due = 1000
    end
  end
end

-- The first line that holds something.
local function first_line(lines)
  local line, message
  repeat line, message = lines:next() until not line or line:find "%S"
  return line, message
end

local function none(t)
  local why = {}
  if t.passed > 0 then why[1] = ("skip passes over all %d"):format(t.passed) end
  if t.skipped > 0 then why[#why + 1] = notices.skipped(t) end
  return "no request in it" .. (#why > 0 and ": " or "") .. table.concat(why, "; ")
end

local function by_arrival(a, b)
  if a.arrival ~= b.arrival then return a.arrival < b.arrival end
  return a.line < b.line
end

-- In order of arrival; those of a calendar count from the first.
local function sort(requests, calendar)
  local before, low, unsorted = -math.huge, math.huge, 0
  for _, r in ipairs(requests) do
    if r.arrival < before then unsorted = unsorted + 1 end
    before, low = r.arrival, math.min(low, r.arrival)
  end
  if unsorted ~= 0 then table.sort(requests, by_arrival) end
  for _, r in ipairs(calendar and requests or {}) do
    r.arrival, r.deadline = r.arrival - low, r.deadline and r.deadline - low
  end
  return unsorted
end

-- A session's turns follow each other in order of their times; where one has none, in that of the file.
local function link_and_sort(requests, calendar)
  local untimed = false
  for _, r in ipairs(requests) do untimed = untimed or not r.arrival end
  if untimed then turns.link(requests) end
  requests.unsorted = sort(requests, calendar)
  if not untimed then turns.link(requests) end
end

-- Requests of lines, or nil and a message without the file's name.
local function parse(lines, o)
  local line, message = first_line(lines)
  if not line then return nil, ("%d: %s"):format(lines.number + 1, message or "nothing in it") end
  local header = lines.number
  local reader, problem = rows_of.reader(line, lines)
  if not reader then return nil, ("%d: %s"):format(header, problem) end
  if reader.json then lines:push(line) end
  local t = { reader = reader, by_reason = {}, reasons = {}, rows = 0, skipped = 0, passed = 0,
              unread = reader.unread, time_unit = M.UNITS[o.time_unit],
              seen = { n = 0, low = math.huge, high = -math.huge, name = reader.names.arrival } }
  local requests = {}
  message = read_rows(t, lines, o, requests) or mostly_bad(t)
  if message then return nil, message end
  if #requests == 0 then return nil, none(t) end
  t.seen.name = reader.names.arrival
  message = not t.time_unit and units.problem(t.seen, request.unit(t, "arrival"), reader.format)
  if message then return nil, ("%d: %s"):format(header, message) end
  if reader.json then table.sort(reader.unread) end -- an object's keys come in any order
  local calendar = t.dated or units.calendar(t.seen.low, request.unit(t, "arrival"))
  link_and_sort(requests, calendar)
  message = identity.chain(requests, reader.format, o.block_size)
  if message then return nil, message end
  requests.format, requests.rows, requests.passed = reader.format, t.rows, t.passed
  requests.skipped, requests.reasons, requests.unread = t.skipped, t.reasons, { unpack(t.unread) }
  return requests
end

local integer, of_type = domains.integer, domains.of_type

local OPTIONS = {
  skip = { nil, integer(0, args.INT32_MAX) }, limit = { nil, integer(1, args.INT32_MAX) },
  time_unit = { nil, of_type "string" }, progress = { nil, of_type "function" },
  block_size = { nil, integer(1, 2^20) },
}

local function check_unit(who, unit)
  if unit == nil or M.UNITS[unit] then return end
  error(("trace.%s: time_unit = %s, want s, ms, us or ns"):format(who, values.shown(unit)), 3)
end

-- A place in front of what is about no line.
local function placed(name, message)
  return name .. ":" .. (message:find "^%d+: " and "" or " ") .. message
end

--- Requests of a workload's text, by arrival: { arrival = seconds, prompt = tokens, output = tokens, line =
--- line in the text } and what else the text has of user, class, session, priority, weight, ttft, tpot,
--- deadline; `after` and `think` of a session's turns. `blocks` are ids of the
--- prompt's full blocks, each for all tokens up to its end, in the list's `block_size` tokens. The list also
--- says its `format`, `rows`, how many were `skipped` for which `reasons`, `passed` over and `unsorted`, and
--- which columns were `unread`.
---@param text string
---@param name string named in messages
---@param o? table skip, limit (requests), time_unit ("s", "ms", "us", "ns"), block_size (tokens that an id of
--- hash_ids stands for), progress(bytes, total or nil)
---@return table|nil requests, string? err
function M.parse(text, name, o)
  o = options.parse("trace.parse", o, OPTIONS)
  check_unit("parse", o.time_unit)
  local lines, message = lines_of.new(text)
  if not lines then return nil, placed(name, message) end
  local requests
  requests, message = parse(lines, o)
  if not requests then return nil, placed(name, message) end
  requests.name = name:match "[^/]*$"
  return requests
end

--- The same of a file, which is read as far as the limit wants.
---@param path string
---@param o? table
---@return table|nil requests, string? err
function M.read(path, o)
  o = options.parse("trace.read", o, OPTIONS)
  check_unit("read", o.time_unit)
  local file, why = io.open(path, "rb")
  if not file then return nil, foreign_text.message(why) end
  local lines, message, requests
  lines, message, why = lines_of.of(file)
  if lines then requests, message = parse(lines, o) end
  file:close()
  if not requests then return nil, why and path .. ": " .. message or placed(path, message) end
  requests.name = path:match "[^/]*$"
  return requests
end

--- What to say of how it was read, in sentences.
---@param requests table
---@return table sentences
function M.notices(requests) return notices.sentences(requests) end

return M
