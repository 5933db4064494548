-- What a reader of results should know about how a trace was read, in sentences.
local numbers = require "gdnmeta.sim.numbers"
local values = require "gdnmeta.sim.trace.values"

local M = {}

local MOST = 12 -- names in a sentence

local IDENTITY = { { "misfit", "with too few or too many" }, { "repeats", "with an id twice" } }

local function plural(n, what) return ("%s %s%s"):format(numbers.count(n), what, n == 1 and "" or "s") end

--- Rows that were left out, by reason.
---@return string
function M.skipped(t)
  local parts, unreadable = {}, nil
  for _, reason in ipairs(t.reasons) do
    local part = ("%s %s"):format(numbers.count(reason.n), reason.name)
    if reason.message then
      unreadable = ("%s, the first in line %d: %s"):format(part, reason.line, reason.message)
    else
      parts[#parts + 1] = part
    end
  end
  parts[#parts + 1] = unreadable
  return ("%s of %s skipped: %s"):format(numbers.count(t.skipped), plural(t.rows, "row"),
    table.concat(parts, "; "))
end

---@param t table requests of trace.read
---@return table sentences
function M.sentences(t)
  local list, names = {}, {}
  if t.skipped > 0 then list[#list + 1] = M.skipped(t) end
  if t.passed > 0 then list[#list + 1] = plural(t.passed, "request") .. " passed over (skip)" end
  if t.unsorted > 0 then
    list[#list + 1] = plural(t.unsorted, "row") .. " earlier than the row before, sorted by arrival"
  end
  if t.block_size then
    local text = ("hash_ids: prompts are known by blocks of %s"):format(plural(t.block_size, "token"))
    for _, kind in ipairs(IDENTITY) do
      local entry = t[kind[1]]
      if entry then
        text = ("%s; %s %s, the first in line %d: %s"):format(text, plural(entry.n, "prompt"), kind[2],
          entry.line, entry.text)
      end
    end
    list[#list + 1] = text
    if t.known < #t then
      list[#list + 1] = plural(#t - t.known, "request") .. " without hash_ids"
    end
  end
  for i, name in ipairs(t.unread) do
    if name == "hash_ids" then
      list[#list + 1] = "hash_ids ignored: no prefix is shared, every prompt is computed whole"
    elseif i <= MOST then
      names[#names + 1] = values.shown(name)
    end
  end
  if #names > 0 then list[#list + 1] = "not read: " .. table.concat(names, ", ") end
  return list
end

return M
