-- Padding of a step to what graphs were captured for, and which graph runs it.
local buckets = require "gdnmeta.engine.decide.buckets"

local huge = math.huge

local M = {}

-- Query length of all rows when they are decodes of one length that graphs were captured for, else 0.
local function uniform_length(e, step)
  local least, most = huge, 0
  for row = 0, step.num_rows - 1 do
    local n = step.query_len[row]
    least, most = math.min(least, n), math.max(most, n)
  end
  return least == most and (most == 1 or most == e.num_spec + 1) and most or 0
end

-- I27. A graph of a bucket runs a step of any rows.
local function pad_to_bucket(e, step)
  local place = buckets.find(e.buckets, step.num_rows, step.num_tokens)
  if place < 0 then return false end
  step.padded_rows, step.padded_tokens = e.buckets.rows[place], e.buckets.tokens[place]
  step.graph = "full"
  return true
end

--- I19, I20. A full graph of decodes wants rows of one length; any other step up to the largest size has its
--- tokens padded alone; beyond, it runs without graphs as it is.
---@param e table engine
---@param step table
function M.pad(e, step)
  local tokens, rows = step.num_tokens, step.num_rows
  if e.buckets.n > 0 and pad_to_bucket(e, step) then return end
  step.padded_rows, step.padded_tokens, step.graph = rows, tokens, "eager"
  if tokens > e.largest_size then return end
  local padded = e.padded_size[tokens]
  step.padded_tokens, step.graph = padded, "piecewise"
  if not e.full_graphs or step.prefill_tokens > 0 then return end
  local length = uniform_length(e, step)
  if length == 0 or padded % length ~= 0 then return end
  if padded > e.max_graph_tokens or padded / length > e.max_rows then return end
  step.padded_rows, step.graph = padded / length, "full"
end

-- By the classes that have rows: 1 speculative, 2 decode, 4 prefill.
local BRANCHES = {
  "speculative", "decode", "speculative+decode", "prefill", "speculative+prefill",
  "decode+prefill", "speculative+decode+prefill",
}

--- The branches of the layer that a step needs: those whose class has rows.
---@param metadata gdnmeta.Metadata
---@return string
function M.branches(metadata)
  return BRANCHES[(metadata.num_spec_decodes > 0 and 1 or 0) + (metadata.num_decodes > 0 and 2 or 0)
                  + (metadata.num_prefills > 0 and 4 or 0)]
end

return M
