-- What the tensors of steps with prefills are, for explain/init.lua: { what, readers, now(view, meta),
-- none = }.
local say = require "gdnmeta.repl.explain.say"

local NONE = "a step has it when it has prefills, and a bucket's step always"
local CHUNKS = "a step has it when it has prefills that the Triton kernels compute, and a bucket's step "
  .. "always"
local STRICT = NONE .. "; only rules strict read a state at another place than they write it"
local CHUNKED = "The chunked delta rule of prefills"
local CONV = "The causal convolution of prefills"

-- Rows with a state and without, of those that have tokens.
local function beginnings(what, bounds)
  return function(view, meta)
    local form = "Here these %s have one: %s. These begin: %s."
    return form:format(what, say.where(view, true, meta[bounds]), say.where(view, false, meta[bounds]))
  end
end

-- Tiles of 8 tokens: the entries before the padding, which is -1.
local function tiles(view)
  local n = 0
  while n < #view and view[n] >= 0 do n = n + 1 end
  return n
end

return {
  has_initial_state = {
    "For each row without drafts whether something of it was computed before this step. Where not, the "
      .. "state and the window of the convolution begin with zeros, whatever the slot held before.",
    CONV .. ", and the layer, which zeroes the states of new requests.",
    beginnings("rows", "non_spec_query_start_loc"), none = NONE,
  },
  chunk_indices = {
    "A line for every chunk of 64 tokens: the prefill that it belongs to, and its number within that.",
    CHUNKED .. ": one block of threads per line; prefill_query_start_loc and the number say which tokens.",
    function(view, meta)
      local n, lines = tonumber(meta.chunk_offsets[#meta.chunk_offsets - 1]), view.shape[1]
      local padding = lines > n and (" Behind them %s for padding."):format(say.stand(lines - n)) or ""
      if n == 0 then return "Here there is no chunk." .. padding end
      if n == 1 then return ("Here 1 chunk: %s."):format(say.chunk(view, 0)) .. padding end
      local last = say.chunk(view, n - 1)
      return ("Here %d chunks: from %s to %s."):format(n, say.chunk(view, 0), last) .. padding
    end, none = CHUNKS,
  },
  chunk_offsets = {
    "How many chunks of 64 tokens stand before each prefill, and how many there are in all.",
    CHUNKED .. ": where a row's chunk states lie in its scratch memory.",
    function(view) return ("Here %s: %d in all."):format(say.list(view), view[#view - 1]) end,
    none = CHUNKS,
  },
  batch_ptr = {
    "The row of every tile of 8 tokens that the convolution works on, -1 after the last. Its length does "
      .. "not depend on the step while there are few tiles, so that launches look alike.",
    CONV .. ": one program a tile; it looks up whose tokens are its own, and leaves at -1.",
    function(view)
      local n = tiles(view)
      return ("Here %s in %d entries: %s, then -1."):format(say.count(n, "tile"), #view, say.list(view, n))
    end, none = NONE,
  },
  token_chunk_offset_ptr = {
    "The number of each of the tiles of batch_ptr within its row, -1 after the last.",
    CONV .. ", together with batch_ptr: tile i is tokens 8 * [i] and on of row batch_ptr[i].",
    function(view) return ("Here %s, then -1."):format(say.list(view, tiles(view))) end, none = NONE,
  },
  nums_dict = {
    "The host's record of the convolution's launch, under the key 8: nums, the tiles of each row; tot, "
      .. "how many a launch covers; mlist and offsetlist, which batch_ptr and token_chunk_offset_ptr repeat "
      .. "on the device.",
    CONV .. ", on the host: the size of its grid.",
    function(value) return ("Here tot = %d, nums = %s."):format(value[8].tot, say.list(value[8].nums)) end,
    none = NONE,
  },
  prefill_query_start_loc = {
    function(meta)
      local among = say.is_bucket(meta) and "tokens of rows without drafts, decodes in front"
        or "tokens of the prefills alone"
      return ("Where each prefill begins among the %s, and where the last one ends."):format(among)
    end,
    CHUNKED .. ": its cu_seqlens, when decodes in front went to the recurrent kernel.",
    function(view) return ("Here %s."):format(say.list(view)) end, none = NONE,
  },
  prefill_state_indices = {
    "For each prefill the slot that its state is written to: those of non_spec_state_indices_tensor "
      .. "behind the decodes.",
    CHUNKED .. ", when it stores the last state of a row.",
    function(view) return ("Here %s."):format(say.list(view)) end, none = NONE,
  },
  prefill_has_initial_state = {
    "has_initial_state of the prefills alone.",
    CHUNKED .. ": a row without one starts from zeros.",
    beginnings("prefills", "prefill_query_start_loc"), none = NONE,
  },
  prefill_read_state_indices = {
    "For each prefill the slot that holds its state before this step; 0: it starts from zeros.",
    CHUNKED .. ", when it loads the first state of a row.",
    function(view) return ("Here %s."):format(say.list(view)) end, none = STRICT,
  },
}
