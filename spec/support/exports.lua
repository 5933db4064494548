-- A builder whose tensors are exported.
local gdn = require "gdnmeta"

local M = {}

--- A step in which no tensor is missing, in two groups: speculative rows beside a prompt; or, without drafts,
-- a decode in front of two prompts.
function M.open(device, speculative)
  local builder = assert(gdn.builder { device = device, max_num_seqs = 4, max_num_batched_tokens = 400,
                                       num_groups = 2, num_speculative_tokens = 1 })
  local batch = assert(builder:batch())
  local function add(query_len, seq_len, block, drafts)
    batch:add { query_len = query_len, seq_len = seq_len, drafts = drafts, prompt_done = seq_len > query_len,
                blocks = { { block, block + 1 }, { block + 4, block + 5 } } }
  end
  if speculative then add(2, 9, 1, 1) else add(1, 9, 1) end
  add(130, 130, 3)
  if not speculative then add(7, 7, 7) end
  assert(builder:build(batch))
  return builder, batch
end

function M.collect()
  collectgarbage()
  collectgarbage()
end

return M
