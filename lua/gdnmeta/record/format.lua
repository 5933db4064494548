-- The format of a recording: one JSON document per line. First the header, then one per built step, one per
-- step in which nothing ran but requests changed; then optionally one of later events, then the end. A file
-- without the end was truncated, or is still being written: every complete line counts.
--
--   {"gdnmeta":"record", "version":2, "library":, "builder":{options of gdn.builder}, "engine":{limits}}
--   {"step":, "now":, "graph":, "padded_rows":, "padded_tokens":, columns, "blocks":, "counts":, "sums":,
--    news}
--   {"empty":the step, "now":, news}
--   {"after":the last step, news; steps up to that one that have no line changed nothing}
--   {"end":why, "steps":lines of steps before it}
--
-- Columns are lists with one element per row, "ids" among them. Where prefills keep states before their end,
-- "checkpoint_len" says after how many tokens (0: none), and "checkpoint_slot" where, a list per group.
-- A step that was built again, because drafts before it were rejected, has another line. News are what
-- happened to requests since the line before, in order: "who", a list of ids, and what each "did": came,
-- started, preempted, stop, length (finished), cancelled or rejected. "waiting" is how many wait, "waits"
-- those that do so for another reason than before, and "why" has their reasons, words of waiting_reasons.lua.
-- "cached" says with how many tokens of the state cache a row's request began in this step (0: none, or not
-- now), "restored" whether that state is copied from the host (1). Version 1 has neither ids nor news.
local raised = require "gdnmeta.policy.contained.raised"

local cjson, why = raised.module("cjson", "lua-cjson")

local M = {
  VERSION = 2,
  OLDEST = 1, -- that is read
  MAX_LINE = 4 * 2 ^ 20, -- bytes; neither written nor read beyond
  END_BYTES = 128,        -- bytes that the end line fits in
  HEADER = { "gdnmeta", "version", "library", "builder", "engine" },
  STEP = { "step", "now", "graph", "padded_rows", "padded_tokens", "query_len", "seq_len", "drafts",
           "accepted", "prompt_done", "table_row", "read_column", "checkpoint_len", "checkpoint_slot",
           "blocks", "read_blocks", "counts", "sums", "ids", "cached", "restored", "who", "did", "waiting",
           "waits", "why" },
  EMPTY = { "empty", "now", "who", "did", "waiting", "waits", "why" },
  AFTER = { "after", "who", "did" },
  END = { "end", "steps" },
}

local DEPTH = 4 -- of nesting: {"blocks":[[1]]} has 3

--- A codec of its own, so that other settings of cjson do not matter.
---@return table|nil cjson
---@return string? message
function M.json()
  if not cjson then return nil, why end
  local json = cjson.new()
  json.decode_max_depth(DEPTH)
  json.decode_invalid_numbers(false)
  json.encode_number_precision(14)
  return json
end

--- A document as a line, its fields in the order of `names`.
---@param json table
---@param names table
---@param document table
---@return string
function M.line(json, names, document)
  local parts = {}
  for _, name in ipairs(names) do
    local value = document[name]
    if value ~= nil then parts[#parts + 1] = ("%q:"):format(name) .. json.encode(value) end
  end
  return "{" .. table.concat(parts, ",") .. "}\n"
end

--- Columns that the build of a row reads: `width` of them from the first on.
---@param facts table mamba_cache_mode, mamba_block_size, num_speculative_blocks, num_speculative_tokens
---@param seq_len integer
---@return integer first, integer width
function M.window(facts, seq_len)
  if facts.mamba_cache_mode ~= "align" then return 0, facts.num_speculative_tokens + 1 end
  return math.max(math.floor((seq_len - 1) / facts.mamba_block_size), 0), facts.num_speculative_blocks + 1
end

return M
