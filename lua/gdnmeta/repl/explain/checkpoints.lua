-- What the checkpoint_* of a step are, for explain/init.lua: { what, readers, now(value, meta), none = }.
local say = require "gdnmeta.repl.explain.say"

local NONE = "a step has it when a prefill keeps a state before its end: under strict as its row asks, "
  .. "under vllm-2026-11 in mode align"
local CHUNK = "a step has it under strict, when a prefill keeps a state before its end; not with flashinfer"
local PLAN = "a step has it when a prefill keeps a state, with flashinfer and an alignment of whole chunks"
local CHUNKED = "The chunked delta rule of prefills"

local function list(view) return ("Here %s."):format(say.list(view)) end

return {
  checkpoint_every_n_tokens = {
    "How many tokens of a prefill lie between two states that its kernel keeps.", CHUNKED .. ", on the host.",
    function(value) return ("Here %d."):format(value) end, none = PLAN,
  },
  num_checkpoints = {
    "How many states the kernel keeps of all prefills.", "The layer, which makes room for them.",
    function(value) return ("Here %d."):format(value) end, none = PLAN,
  },
  checkpoint_offsets = {
    "For each row of prefills (vllm-2026-11: without drafts) how many of its tokens stand before "
      .. "the state that is kept; 0: none is.",
    CHUNKED .. ", or what copies the state out of its chunk states.", list, none = NONE,
  },
  checkpoint_state_indices = {
    "For each row of prefills (vllm-2026-11: without drafts) the slot that the kept state goes to; "
      .. "the null slot where there is none.",
    "What copies the state.", list, none = NONE,
  },
  checkpoint_chunk = {
    "For each prefill the chunk of all prefills' chunks that the kept state enters; -1 where there "
      .. "is none, or where "
      .. "it stands within a chunk.",
    "What copies the state out of the chunk states.", list, none = CHUNK,
  },
  checkpoint_cu_starts = {
    "How many kept states stand before those of each prefill, and how many there are in all.", CHUNKED .. ".",
    list, none = PLAN,
  },
  checkpoint_rows = {
    "For each row of prefills (vllm-2026-11: without drafts) which of the kept states is the one to "
      .. "copy; 0 where there is none.",
    "What copies the state.", list, none = PLAN,
  },
}
