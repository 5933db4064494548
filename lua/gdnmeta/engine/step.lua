--- One step, as the host sees it: rows as C arrays in the order of the batch, lists of who came and went.
-- The object and its arrays are reused.
local ffi = require "ffi"
local clear = require "table.clear"

local int32s = ffi.typeof "int32_t[?]"

local Step = {}
Step.__index = Step

--- The id of a row's request.
---@param row integer 0-based
---@return any id
function Step:id(row)
  if not (row >= 0 and row < self.num_rows) then
    error(("gdnmeta.Step:id: row = %s, want 0 .. %d"):format(tostring(row), self.num_rows - 1), 2)
  end
  return self.ids[row + 1]
end

function Step:__tostring()
  return ("gdnmeta.Step(number=%d, rows=%d, tokens=%d, padded=%dx%d, graph=%s%s)"):format(
    self.number, self.num_rows, self.num_tokens, self.padded_rows, self.padded_tokens, self.graph,
    self.fallback and ", fallback" or "")
end

local LISTS = { "admitted", "preempted", "rejected", "reasons", "finished" }

-- Lists are cleared only where something is in them: most steps bring no news. Those of a step that was
-- not built nobody has seen: they go into the next one's.
function Step:begin(number, now)
  self.number, self.now, self.metadata, self.fallback = number, now, nil, false
  self.num_rows, self.num_decodes, self.num_tokens, self.prefill_tokens, self.decode_tokens = 0, 0, 0, 0, 0
  self.padded_rows, self.padded_tokens, self.graph = 0, 0, "eager"
  for n = 1, #LISTS do
    local list = self[LISTS[n]]
    if next(list) ~= nil and not self.untold then clear(list) end
  end
  self.untold = false
end

local M = {}

--- builder and batch: what the step is built with; max_rows: rows of the batch.
---@local
function M.new(builder, batch)
  local rows = batch.rows
  local n = rows.max_rows
  local self = {
    builder = builder, batch = batch, rows = rows, in_flight = false, untold = false,
    query_len = rows.query_len, seq_len = rows.seq_len, drafts = rows.num_draft_tokens,
    last_accepted = rows.num_accepted_tokens, prompt_done = rows.prompt_done, table_row = rows.table_row,
    read_column = rows.read_column,
    request = int32s(n), epoch = int32s(n), samples = int32s(n), column = int32s(n), read_before = int32s(n),
    planned = int32s(n), -- drafts of a decode, also in a step that drafts nothing
    accepted = int32s(n), stop = int32s(n), next_drafts = int32s(n), emitted = int32s(n), finish = int32s(n),
    ids = {},
  }
  for _, name in ipairs(LISTS) do self[name] = {} end
  Step.begin(self, 0, 0)
  return setmetatable(self, Step)
end

return M
