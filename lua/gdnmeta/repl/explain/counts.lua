-- What the counts of a step are, for explain/init.lua: { what, readers, now(value, meta) }.
local say = require "gdnmeta.repl.explain.say"

local function tokens(name)
  return function(value, meta)
    return ("Here %d of the step's %d tokens, in %s."):format(value, meta.num_actual_tokens,
                                                              say.count(meta[name], "row"))
  end
end

-- A total with its padding: the rest of it are the three counts.
local function padded(what, prefills, decodes, spec_decodes)
  return function(value, meta)
    local real = meta[prefills] + meta[decodes] + meta[spec_decodes]
    return ("Here %d: %d of %s, %d of padding."):format(value, real, what, math.max(value - real, 0))
  end
end

local function rows(value, meta)
  return ("Here %d of the step's %d rows."):format(value, meta.num_rows)
end

local LAYER = "The layer, on the host: it decides which kernels are launched and cuts the batch for them."

return {
  step = {
    "How many builds of this builder have succeeded. Views remember it: one of an older step is stale.",
    "Hosts, and the views themselves.",
    function(value) return ("This is build %d."):format(value) end,
  },
  num_prefills = {
    function(meta)
      local from = "Rows that the chunked kernels compute: without drafts, from the first on that has more "
        .. "than one token, or (strict, vllm-2026-11) nothing computed yet."
      if say.is_bucket(meta) then return from end
      return from .. " In a speculative step every row without drafts that has tokens, plain decodes too."
    end,
    LAYER, rows,
  },
  num_prefill_tokens = { "Tokens of the rows that num_prefills counts.", LAYER, tokens "num_prefills" },
  num_decodes = {
    function(meta)
      local what = "Rows without drafts in front of the prefills: they compute one token each."
      if say.is_bucket(meta) then return what .. " Speculative rows may stand among them." end
      return what .. " A speculative step has none: it counts them among the prefills."
    end,
    LAYER, rows,
  },
  num_decode_tokens = { "Tokens of the rows that num_decodes counts.", LAYER, tokens "num_decodes" },
  num_spec_decodes = {
    "Rows that verify drafts: each computes its next token and the drafts after it.", LAYER, rows,
  },
  num_spec_decode_tokens = {
    "Tokens of the rows that num_spec_decodes counts, drafts included.", LAYER, tokens "num_spec_decodes",
  },
  num_actual_tokens = {
    "Tokens of the batch with its padding: how much of the layer's input counts.",
    "The layer, on the host: it cuts its input and its output to this length.",
    padded("rows", "num_prefill_tokens", "num_decode_tokens", "num_spec_decode_tokens"),
  },
  num_rows = {
    "Rows of the batch with its padding: the size that a captured graph was made for.",
    "The layer, on the host.",
    padded("requests", "num_prefills", "num_decodes", "num_spec_decodes"),
  },
  num_tiles = {
    function(meta)
      if say.is_bucket(meta) then
        return "Tiles of 8 tokens that a launch of the convolution covers, whatever the step has: tot of "
          .. "nums_dict, without making that."
      end
      return "Tiles of 8 tokens that the convolution of prefills works on: tot of nums_dict, without making "
        .. "that."
    end,
    "The layer, on the host: the size of the convolution's grid.",
    function(value) return ("Here %d."):format(value) end,
  },
  uniform_spec_sequence_length = {
    "Tokens that every row with drafts computes.", "Kernels for rows of one length.",
    function(value) return ("Here %d."):format(value) end,
    none = "a step has it when it has speculative rows, all equally long",
  },
}
