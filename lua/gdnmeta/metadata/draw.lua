-- Steps and batches as text, for a person at a prompt.
local M = {}

local BAR = 64  -- characters
local ROWS = 16 -- of a batch that are shown

local function count(n, what)
  return ("%d %s%s"):format(n, what, n == 1 and "" or "s")
end

local function plain(_, text) return text end

-- Rows and tokens by class of a metadata object, or of a table with its counts.
local function classes_of(meta)
  local classes = {
    { mark = "d", name = "decodes", rows = meta.num_decodes, tokens = meta.num_decode_tokens },
    { mark = "s", name = "spec decodes", rows = meta.num_spec_decodes, tokens = meta.num_spec_decode_tokens },
    { mark = "p", name = "prefills", rows = meta.num_prefills, tokens = meta.num_prefill_tokens },
  }
  local padding = { mark = ".", name = "padding", rows = meta.num_rows, tokens = meta.num_actual_tokens }
  for _, class in ipairs(classes) do
    padding.rows, padding.tokens = padding.rows - class.rows, padding.tokens - class.tokens
  end
  classes[4] = padding
  -- The reference rules pass counts on that no step can have.
  for _, class in ipairs(classes) do
    class.rows, class.tokens = math.max(class.rows, 0), math.max(class.tokens, 0)
  end
  return classes
end

-- Characters for each class: in proportion to its tokens, at least one for a class that has any. What the
-- rounding leaves over, or takes too much, is the widest one's.
local function bar(classes, width, paint)
  local total, rest, widest = 0, width, nil
  for _, class in ipairs(classes) do total = total + class.tokens end
  if total == 0 then return nil end
  for _, class in ipairs(classes) do
    local tokens = class.tokens
    class.width = tokens > 0 and math.max(1, math.floor(width * tokens / total + 0.5)) or 0
    rest = rest - class.width
    if not widest or class.width > widest.width then widest = class end
  end
  widest.width = widest.width + rest
  local parts = {}
  for i, class in ipairs(classes) do parts[i] = paint(class.mark, class.mark:rep(class.width)) end
  return "|" .. table.concat(parts) .. "|"
end

--- The tokens of a step as a bar alone.
---@param counts table those of a metadata object, by name
---@param width integer characters
---@param paint function|nil see colors.lua
---@return string
function M.bar(counts, width, paint)
  return bar(classes_of(counts), width, paint or plain) or ""
end

--- A step by class of rows, with a bar of its tokens:
---
---   gdnmeta.Metadata: step 1, 4 rows, 520 tokens
---     s  spec decodes      1 row         4 tokens
---     p  prefills          2 rows      513 tokens
---     .  padding           1 row         3 tokens
---     |spppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp.|
---@param meta table
---@param paint function|nil see colors.lua
---@return string
function M.step(meta, paint)
  paint = paint or plain
  local classes = classes_of(meta)
  local lines = { ("gdnmeta.Metadata: step %d, %s, %s"):format(
    meta.step, count(meta.num_rows, "row"), count(meta.num_actual_tokens, "token")) }
  for _, class in ipairs(classes) do
    if class.rows ~= 0 or class.tokens ~= 0 then
      local text = ("  %s  %-12s %6d row%s %8d token%s"):format(class.mark, class.name, class.rows,
        class.rows == 1 and " " or "s", class.tokens, class.tokens == 1 and "" or "s")
      lines[#lines + 1] = paint(class.mark, text)
    end
  end
  local drawn = bar(classes, BAR, paint)
  lines[#lines + 1] = drawn and "  " .. drawn
  return table.concat(lines, "\n")
end

local function cell(value, hidden)
  return value == hidden and "-" or tostring(value)
end

-- What a row will count as, as far as the row alone can tell.
local function mark_of(rows, i)
  if rows.num_draft_tokens[i] >= 0 then return "s" end
  return rows.prompt_done[i] ~= 0 and rows.query_len[i] == 1 and "d" or "p"
end

local HEAD = "   row  query_len   seq_len  drafts  accepted  prompt_done  table_row  read_column"

-- Where a row asks for its state to be kept, and in which slots; most rows do not.
local function checkpoint(rows, i)
  if rows.checkpoint_len[i] == 0 then return "" end
  local slots = {}
  for group = 0, rows.num_groups - 1 do
    slots[group + 1] = ("%d"):format(rows.checkpoint_slot[group * rows.max_rows + i])
  end
  return ("  keeps %d in %s"):format(rows.checkpoint_len[i], table.concat(slots, " "))
end

local function row_line(rows, i, paint)
  local table_row, mark = rows.table_row[i], mark_of(rows, i)
  return paint(mark, ("%s %4d %10d %9d %7s %9d %12s %10s %12s"):format(mark, i, rows.query_len[i],
    rows.seq_len[i], cell(rows.num_draft_tokens[i], -1), rows.num_accepted_tokens[i],
    rows.prompt_done[i] ~= 0 and "yes" or "no", table_row < 0 and "~" .. -1 - table_row or table_row,
    cell(rows.read_column[i], -2)) .. checkpoint(rows, i))
end

--- A batch, its first rows as a table: decodes, speculative ones and prefills by their mark; "-" where the
--- build decides, ~k is a table row of the batch.
---@param rows ffi.cdata* gdn_batch
---@param paint function|nil see colors.lua
---@return string
function M.batch(rows, paint)
  paint = paint or plain
  local n, tokens = rows.num_rows, 0
  for i = 0, math.min(n, rows.max_rows) - 1 do tokens = tokens + rows.query_len[i] end
  local lines = { ("gdnmeta.Batch: %d of %s, %s"):format(n, count(rows.max_rows, "row"),
                                                         count(tokens, "token")) }
  if n > 0 then lines[2] = paint("head", HEAD) end
  for i = 0, math.min(n, rows.max_rows, ROWS) - 1 do lines[#lines + 1] = row_line(rows, i, paint) end
  if n > ROWS then lines[#lines + 1] = ("   ... %s more"):format(count(n - ROWS, "row")) end
  if rows.padded_rows > n or rows.padded_tokens > tokens then
    lines[#lines + 1] = paint(".", (".      padded to %s and %s"):format(count(rows.padded_rows, "row"),
                                                                         count(rows.padded_tokens, "token")))
  end
  return table.concat(lines, "\n")
end

return M
