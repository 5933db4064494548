-- What the tensors of buckets alone are, for explain/init.lua: { what, readers, now(view, meta), none = }.
local say = require "gdnmeta.repl.explain.say"

local NONE = 'full_cuda_graph = "mixed" has it in every step'
local RULE = "The recurrent delta rule of decodes"
local NAMES = { [0] = "padding", "speculative rows", "decodes", "prefills" }

local function list(view) return ("Here %s."):format(say.list(view)) end

-- Slots of decodes, and how many entries stand for padding.
local function decodes(view, meta)
  local n = meta.num_decodes
  local rest = #view - n
  return ("Here %s."):format(say.list(view, n))
    .. (rest > 0 and (" Behind them %s for padding."):format(say.stand(rest)) or "")
end

-- Tokens of each class that has any.
local function classes(view)
  local counts, parts = { [0] = 0, 0, 0, 0 }, {}
  for i = 0, #view - 1 do counts[view[i]] = counts[view[i]] + 1 end
  for class = 0, 3 do
    if counts[class] > 0 then parts[#parts + 1] = ("%d of %s"):format(counts[class], NAMES[class]) end
  end
  return ("Here %s."):format(#parts > 0 and table.concat(parts, ", ") or "there is no token")
end

return {
  decode_query_start_loc = {
    "Where each decode begins among the tokens of rows without drafts, and where the last one ends.",
    RULE .. ": its cu_seqlens.", list, none = NONE,
  },
  decode_state_indices = {
    "For each decode the slot that its state is written to: the beginning of non_spec_state_indices_tensor.",
    RULE .. ", which writes there.", decodes, none = NONE,
  },
  decode_read_state_indices = {
    "For each decode the slot that holds its state before this step.",
    RULE .. ", which reads there.", decodes, none = NONE,
  },
  token_class = {
    "What each token of the batch is: 0 padding, 1 a speculative row's, 2 a decode's, 3 a prefill's.",
    "Kernels that merge what the branches of a graph computed.", classes, none = NONE,
  },
  live_counts = {
    "The counts of this step from num_prefills to num_actual_tokens, then its rows without padding.",
    "Kernels of a captured graph, which cannot be told the host's numbers.", list, none = NONE,
  },
}
