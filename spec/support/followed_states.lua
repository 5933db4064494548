-- Follows every state of a play of cache_chaos.lua, slot by slot: what a row begins with is the state of
-- exactly its request's text, whatever was cached, kept, copied, forked, exported or lost before.
local cache_chaos = require "spec.support.cache_chaos"
local state_kernel = require "spec.support.state_kernel"

local M = {}

local Follower = {}
Follower.__index = Follower

--- A step was made: whose rows it has.
function Follower:made(step, live)
  local rows = {}
  for row = 0, step.num_rows - 1 do rows[row] = live[step:id(row)] or false end
  self.requests[step], self.last = rows, step.number
end

--- A host writes a state where it is to be; steps that were made before are not to overwrite it.
function Follower:fill(place, family)
  self.pending[#self.pending + 1] = { after = self.last, slots = place.slots, tokens = place.tokens,
                                      family = family }
end

local function write(self, slots, tokens, family)
  for group, slot in ipairs(slots) do
    self.kernel:place(group - 1, slot, family, tokens)
  end
end

--- A step is to be complete: what of it counts, and which places it fills.
function Follower:completes(step, live)
  local requests, list = self.engine.private.requests, {}
  for row = 0, step.num_rows - 1 do
    local request = self.requests[step][row]
    list[row + 1] = { id = step:id(row), row = row, family = request and request.family or 0,
                      is_dead = not request or live[step:id(row)] ~= request
                        or requests.epoch[step.request[row]] ~= step.epoch[row] }
  end
  self.rows, self.fills = list, {}
  for n, entry in ipairs(step.keeping) do
    local source = entry.keep[1]
    self.fills[n] = { slots = { unpack(source.slots) }, tokens = source.tokens,
                      family = list[entry.row + 1].family }
    for _, place in ipairs(step.kept) do
      if place.slots[1] == source.slots[1] then place.family = list[entry.row + 1].family end
    end
  end
end

--- It is: its kernels have run.
function Follower:done(step, where)
  local before, later = self.pending, {}
  for _, place in ipairs(before) do
    if place.after < step.number then write(self, place.slots, place.tokens, place.family)
    else later[#later + 1] = place end
  end
  self.pending = later
  for _, row in ipairs(self.rows) do
    local at = row.row
    row.n, row.drafts, row.accepted = step.query_len[at], step.drafts[at], step.accepted_drafts[at]
    row.computed, row.last_accepted = step.seq_len[at] - row.n, step.last_accepted[at]
    self.followed = self.followed + (row.is_dead and 0 or 1)
  end
  self.kernel:run(step, self.rows, ("%s, step %d"):format(where, step.number))
  for _, place in ipairs(self.fills) do write(self, place.slots, place.tokens, place.family) end
end

--- The device is lost.
function Follower:forget()
  self.kernel:forget()
  self.pending = {}
end

---@return table follower `followed`: rows that were
function M.new(engine)
  local config = engine.private.config
  local kernel = state_kernel.new(config.num_groups, config.num_speculative_tokens, cache_chaos.token)
  return setmetatable({ engine = engine, kernel = kernel, requests = {}, pending = {}, last = 0,
                        followed = 0 }, Follower)
end

return M
