-- An engine to play with: requests keep coming, steps take made-up time, and drafts are right by chance.
local gdn = require "gdnmeta"

local FEW = 3        -- live requests below which others arrive
local BASE, EACH = 0.012, 0.00005 -- seconds of a step, and of each of its tokens

local Sample = {}
Sample.__index = Sample

-- "a" .. "z", then "a1" and so on.
local function name(n)
  return string.char(97 + (n - 1) % 26) .. (n > 26 and math.floor((n - 1) / 26) or "")
end

local function arrive(self)
  while self.engine.stats.waiting + self.engine.stats.running < FEW do
    self.arrived = self.arrived + 1
    local n = self.arrived
    assert(self.engine:submit { id = name(n), prompt_tokens = 6 + n * 67 % 130, max_tokens = 4 + n * 5 % 13,
                                arrival = self.now })
  end
end

-- Drafts of a row that the model agrees with: the same in every session.
local function verify(self, step)
  for row = 0, step.num_rows - 1 do
    local drafts = math.max(step.drafts[row], 0)
    self.luck = (self.luck * 16807 + 7) % 2147483647
    step.accepted_drafts[row] = self.luck % (drafts + 1)
  end
end

--- Run one step: requests arrive, the step is built, then completed.
---@return table step its metadata and batch stay readable until the next one
function Sample:step()
  arrive(self)
  local step = assert(self.engine:step(self.now))
  self.started = self.now
  self.now = self.now + BASE + EACH * step.padded_tokens
  verify(self, step)
  assert(self.engine:complete(step, self.now))
  return step
end

local M = {}

--- A builder of 6 rows with drafts and graphs, and an engine on it.
function M.new()
  local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 6, max_num_batched_tokens = 128,
    num_speculative_tokens = 2, full_cuda_graph = true, max_cudagraph_capture_size = 18, max_rows = 8 })
  local engine = assert(gdn.engine { builder = builder, policy = "decode_first", max_num_seqs = 6,
    max_num_batched_tokens = 96, max_model_len = 256, capture_sizes = { 6, 12, 18 } })
  return setmetatable({ builder = builder, engine = engine, now = 0, started = 0, arrived = 0, luck = 1 },
                      Sample)
end

return M
