-- What an engine did, as text: a step as it was built, what came of it, and scalars of any table.
local M = {}

local function list(title, values)
  if #values == 0 then return "" end
  local words = {}
  for i, value in ipairs(values) do words[i] = tostring(value) end
  return " " .. title .. " " .. table.concat(words, ",")
end

local function row_text(step, row)
  return ("%s:%d/%d%s t%d r%d"):format(step:id(row), step.query_len[row], step.seq_len[row],
    step.drafts[row] >= 0 and "+" .. step.drafts[row] or "", step.table_row[row], step.read_column[row])
end

--- A step before it is complete.
---@return string
function M.step(step, engine)
  local rows = {}
  for row = 0, step.num_rows - 1 do rows[row + 1] = row_text(step, row) end
  local slots, kv = engine:slots(), engine:kv()
  return ("%d %s %d/%d dec %d pre %d pad %dx%d%s%s%s | %s | slots %d+%d kv %s"):format(step.number,
    step.graph, step.num_rows, step.num_tokens, step.num_decodes, step.prefill_tokens, step.padded_rows,
    step.padded_tokens, list("in", step.admitted), list("out", step.preempted), list("no", step.rejected),
    table.concat(rows, " "), slots.used, slots.free, kv and kv.used .. "/" .. kv.size or "-")
end

--- The same step after.
---@return string
function M.done(step)
  local rows = {}
  for row = 0, step.num_rows - 1 do
    rows[row + 1] = ("%d%s"):format(step.emitted[row], ({ [0] = "", "s", "l" })[step.finish[row]] or "?")
  end
  return ("   gave %s%s"):format(table.concat(rows, " "), list("done", step.finished))
end

--- Numbers of a flat table by name.
---@return string
function M.numbers(stats)
  local names, parts = {}, {}
  for name, value in pairs(stats) do
    if type(value) == "number" then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = ("%s %.6g"):format(name, stats[name]) end
  return table.concat(parts, ", ")
end

--- Scalars of a result by name, deep, a line each; what the host's clock says is left out.
---@param lines table is extended
function M.flatten(prefix, value, lines)
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local field, where = value[name], prefix .. tostring(name)
    if name == "wall" then
      assert(type(field) == "table", where)
    elseif type(field) == "table" then
      if #field <= 12 then M.flatten(where .. ".", field, lines) end
    elseif type(field) == "number" then
      lines[#lines + 1] = ("%s %.6g"):format(where, field)
    elseif type(field) == "string" or type(field) == "boolean" then
      lines[#lines + 1] = ("%s %s"):format(where, tostring(field))
    end
  end
end

local SPAN = 4294967291

--- A checksum with another value taken in: a number, a text, or any other scalar.
---@param sum number
---@return number
function M.sum(sum, value)
  if type(value) == "number" and value - value == 0 then return (sum * 33 + value) % SPAN end
  value = type(value) == "function" and "function" or tostring(value)
  for at = 1, #value do sum = (sum * 33 + value:byte(at)) % SPAN end
  return sum
end

return M
