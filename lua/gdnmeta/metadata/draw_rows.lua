-- Which row of a step is what, which tokens are its own, and where its state is read and written. It is all
-- read out of the metadata: the drawing shows what the kernels read.
local colors = require "gdnmeta.metadata.colors"

local ROWS = 24  -- that are shown
local SLOTS = 6  -- of a row that are shown
local SPEC = 1   -- GDN_TOKEN_SPEC

local M = {}

local NAMES = { d = "decode", s = "spec decode", p = "prefill", ["."] = "padding" }

-- The k-th length of boundaries.
local function length(bounds, k) return bounds[k + 1] - bounds[k] end

local function slots(view, k)
  if not view then return "-" end
  local shape, list = view.shape, {}
  for column = 0, math.min(shape[2] or 1, SLOTS) - 1 do
    list[#list + 1] = ("%d"):format(shape[2] and view:at(k, column) or view[k])
  end
  return table.concat(list, " ") .. (shape[2] and shape[2] > SLOTS and " ..." or "")
end

local function state(row, meta, kind, k)
  local reads = meta[kind .. "_read_state_indices"]
  row.writes = slots(meta[kind .. "_state_indices_tensor"], k)
  row.reads = reads and (reads[k] == 0 and "fresh" or slots(reads, k)) or "-"
end

-- Where row k of those without drafts keeps a state before its end: slot and tokens in front, or nothing.
-- Under strict, which alone has read indices, prefills alone may keep one.
local function kept(meta, k, prefills_from)
  local offsets = meta.checkpoint_offsets
  if not offsets then return "" end
  if meta.non_spec_read_state_indices then k = k - prefills_from end
  if k < 0 or k >= #offsets or offsets[k] == 0 then return "" end
  return ("; %d after %d"):format(meta.checkpoint_state_indices[k], offsets[k])
end

--- The rows of a step in their order; padding is one entry, with all of its rows and tokens.
---@param meta table of a builder, or of a group
---@param most integer|nil rows whose reads and writes are drawn, in addition to the last one's; default all
---@return table list of { row, mark, tokens, first (token), reads, writes, rows (padding) }
---@return boolean agrees the rows have no more tokens than the step, as they may under rules of vLLM
function M.list(meta, most)
  local masks, rows = meta.spec_sequence_masks, meta.num_rows
  local classes = meta.token_class -- of a bucket, which has no masks
  local spec, plain = meta.spec_query_start_loc, meta.non_spec_query_start_loc
  local list, at, num_spec, num_plain = {}, 0, 0, 0
  for number = 0, rows - 1 do
    local row = { row = number, first = at, tokens = 0 }
    local is_wanted = not most or number < most or number == rows - 1
    local is_spec = masks and number < #masks and masks[number]
    if classes then is_spec = at < #classes and classes[at] == SPEC end
    if is_spec then
      row.mark, row.tokens = "s", length(spec, num_spec)
      if is_wanted then state(row, meta, "spec", num_spec) end
      num_spec = num_spec + 1
    elseif plain and num_plain < #plain - 1 then
      row.tokens = length(plain, num_plain)
      -- A speculative step has no decodes but in a bucket.
      row.mark = num_plain >= meta.num_decodes and "p" or "d"
      if is_wanted then
        state(row, meta, "non_spec", num_plain)
        row.writes = row.writes .. kept(meta, num_plain, meta.num_decodes)
      end
      num_plain = num_plain + 1
    end
    if row.tokens == 0 then break end
    at = at + row.tokens
    list[#list + 1] = row
  end
  local padding = { row = #list, mark = ".", first = at, rows = rows - #list,
                    tokens = meta.num_actual_tokens - at }
  if padding.rows > 0 or padding.tokens > 0 then list[#list + 1] = padding end
  return list, padding.tokens >= 0
end

local function place(row)
  if row.tokens == 0 then return "-" end
  if row.tokens == 1 then return ("%d"):format(row.first) end
  return ("%d .. %d"):format(row.first, row.first + row.tokens - 1)
end

local function number(row)
  if row.mark ~= "." then return ("%d"):format(row.row) end
  if row.rows <= 1 then return row.rows == 1 and ("%d"):format(row.row) or "-" end
  return ("%d..%d"):format(row.row, row.row + row.rows - 1)
end

local FORM = "%9s  %-11s %7s  %-15s %-6s %-14s %s"

--- Those rows as a table. The state after the first 448 tokens of row 2 is kept in slot 90:
---
---      row  class        tokens  positions       reads  writes
---        0  decode            1  0               7      7
---        1  spec decode       4  1 .. 4          10     9 10 11 12
---        2  prefill         512  5 .. 516        fresh  13; 90 after 448
---     3..4  padding           3  517 .. 519
---@param meta table
---@param paint function|nil see colors.lua
---@param names table|nil of the requests, row 0 first
---@return string text
---@return boolean is_whole no row was left out, and they agree with the step
function M.draw(meta, paint, names)
  paint = paint or colors.plain
  local last, list, agrees = names and "request" or "", M.list(meta, ROWS)
  local head = FORM:format("row", "class", "tokens", "positions", "reads", "writes", last):gsub("%s+$", "")
  local lines = { paint("head", head) }
  for i, row in ipairs(list) do
    -- Padding is last, and shown whatever stands before it.
    if i < ROWS or i == #list then
      local name = names and names[row.row + 1] or ""
      local text = FORM:format(number(row), NAMES[row.mark], row.tokens, place(row), row.reads or "",
                               row.writes or "", row.mark == "." and "" or tostring(name))
      lines[#lines + 1] = paint(row.mark, (text:gsub("%s+$", "")))
    elseif i == ROWS then
      lines[#lines + 1] = ("%9s  %d rows more"):format("...", #list - ROWS)
    end
  end
  return table.concat(lines, "\n"), agrees and #list <= ROWS
end

return M
