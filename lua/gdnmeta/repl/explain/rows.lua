-- What the tensors about rows are, for explain/init.lua: { what, readers, now(view, meta), none = when a step
-- has such a tensor at all }.
local say = require "gdnmeta.repl.explain.say"

local CONV_AND_RULE = "The causal convolution and the delta rule"
local SPEC = "a step has it when some row is speculative, and a bucket's step when the builder's rows may be"
local TOKENS = SPEC .. ": there may be two kinds of tokens"
local MASKS = "a step has it when some row is speculative, and a bucket's step never: it has token_class"
local PLAIN = "a step lacks it when all its tokens are those of speculative rows"
local STRICT = "; only rules strict read a state at another place than they write it"

local function bounds(what)
  return function(view)
    if #view < 2 then return "Here it bounds nothing." end
    local first = say.range(view[0], view[1])
    return ("Here %s 0 has positions %s of them, and all end at %d."):format(what, first, view[#view - 1])
  end
end

-- The value of padding after the real rows: pad_slot_id in the state indices.
local function padded(view, starts)
  local rows, columns = view.shape[1], view.shape[2] or 1
  local real = say.without_padding(rows, starts)
  if rows <= real then return "" end
  local rest = rows - real == 1 and "one stands" or say.stand(rows - real)
  return (" The last %s for padding: %s."):format(rest, tostring(view[rows * columns - 1]))
end

-- A list of tokens. A bucket's is as long as the bucket, and names one past its last token where there is
-- none.
local function tokens(view, meta, live)
  if not say.is_bucket(meta) then live = #view end
  local rest = #view - live
  return ("Here %s: %s."):format(say.count(live, "token"), say.list(view, live))
    .. (rest > 0 and (" %s for padding: %d."):format(say.stand(rest), #view) or "")
end

local function shift(view)
  for row = 0, #view - 1 do
    if view[row] > 0 then
      return ("Here %s; row %d had %s accepted last time."):format(say.list(view), row,
                                                                   say.count(view[row], "draft"))
    end
  end
  return "Here it is 0 everywhere: no draft was accepted in the previous step."
end

local function read(view)
  for row = 0, #view - 1 do
    if view[row] == 0 then
      return ("Here %s; row %d starts from zeros, or is padding."):format(say.list(view), row)
    end
  end
  return ("Here %s."):format(say.list(view))
end

return {
  spec_query_start_loc = {
    "Where each speculative row begins among the speculative tokens, and where the last one ends: row k has "
      .. "those from element k up to element k + 1.",
    CONV_AND_RULE .. " of speculative rows.", bounds "speculative row", none = SPEC,
  },
  non_spec_query_start_loc = {
    "Where each row without drafts begins among the tokens of such rows, and where the last one ends.",
    CONV_AND_RULE .. " of decodes and prefills: their cu_seqlens.", bounds "row", none = PLAIN,
  },
  spec_state_indices_tensor = {
    "For each speculative row the slots that its state is written to: column j after its j-th token. "
      .. "Whichever draft turns out to be the last right one, its state is kept.",
    "The recurrent delta rule of speculative rows, which writes there; the convolution uses column 0.",
    function(view, meta)
      local some = meta.num_spec_decodes > 0
      local first = some and "row 0 writes " .. say.row(view, 0) or "no row is speculative"
      return ("Here %d columns per row; %s."):format(view.shape[2], first)
        .. padded(view, meta.spec_query_start_loc)
    end, none = SPEC,
  },
  non_spec_state_indices_tensor = {
    "For each row without drafts the slot that its state is written to.",
    CONV_AND_RULE .. " of decodes and prefills.",
    function(view, meta)
      return ("Here %s."):format(say.list(view))
        .. padded(view, meta.non_spec_query_start_loc)
    end, none = PLAIN,
  },
  spec_sequence_masks = {
    "Which rows are speculative, in the order of the batch.",
    "The layer: without one it takes the path of a step without drafts.",
    function(view) return ("Here, of %s: %s."):format(say.count(#view, "row"), say.where(view, true)) end,
    none = MASKS,
  },
  spec_token_indx = {
    "Positions in the batch of the tokens of speculative rows. With non_spec_token_indx it takes the layer's "
      .. "input apart and puts the outputs together again.",
    "The layer, which gathers and scatters tokens by it.",
    function(view, meta) return tokens(view, meta, meta.num_spec_decode_tokens) end, none = TOKENS,
  },
  non_spec_token_indx = {
    "Positions in the batch of the tokens of rows without drafts: all that spec_token_indx has not.",
    "The layer, which gathers and scatters tokens by it.",
    function(view, meta)
      if #view == 0 then return "Here it is empty: all tokens are those of speculative rows." end
      return tokens(view, meta, meta.num_prefill_tokens + meta.num_decode_tokens)
    end, none = TOKENS,
  },
  num_accepted_tokens = {
    "For each speculative row how many tokens its last step emitted: 1 and its accepted drafts. It tells "
      .. "which of the states that were kept is the true one.",
    CONV_AND_RULE .. " of speculative rows, where they find their state by it.",
    function(view, meta)
      return ("Here %s."):format(say.list(view)) .. padded(view, meta.spec_query_start_loc)
    end, none = SPEC,
  },
  spec_read_state_indices = {
    "For each speculative row the slot that holds its state before this step; 0: it starts from zeros.",
    "The delta rule of speculative rows, which reads there and writes to spec_state_indices_tensor.", read,
    none = SPEC .. STRICT,
  },
  non_spec_read_state_indices = {
    "For each row without drafts the slot that holds its state before this step; 0: it starts from "
      .. "zeros. It differs from the slot that is written where a state moves to another block, or where the "
      .. "step before was speculative.",
    "The convolution and the delta rule of decodes and prefills.", read, none = PLAIN .. STRICT,
  },
  spec_conv_shift = {
    "For each speculative row how many tokens its window of the convolution moves on before this step: the "
      .. "drafts that were accepted last time.",
    "The causal convolution of speculative rows.", shift, none = SPEC .. STRICT,
  },
  non_spec_conv_shift = {
    "For each row without drafts how many tokens its window of the convolution moves on before this "
      .. "step: 0, but for the drafts accepted in a speculative step right before.",
    "The causal convolution of decodes and prefills.", shift, none = PLAIN .. STRICT,
  },
}
