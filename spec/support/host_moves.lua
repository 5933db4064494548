-- What a host of cache_chaos.lua may do beyond a state cache: requests with every field, states kept at block
-- ends and on the way, empty steps of a bucket, policies of every make, calls that are refused. Each notes
-- what came of it.
local all_seen = require "spec.support.all_seen"
local random_policy = require "spec.support.random_policy"

local M = {}

-- What a method gives. Of an error the file that it is blamed on and the words, without the line.
local function ask(self, method, ...)
  local a, b, c, d = ...
  local is_done, given, message, code = pcall(function()
    local given, message, code = self.engine[method](self.engine, a, b, c, d)
    return given, message, code
  end)
  if not is_done then given, message = nil, given:gsub(":%d+:", ":") end
  self.note(given and "yes" or message)
  self.note(code)
  if not given then self.refused = self.refused + 1 end
  return given
end

-- A state or a place that is held, not always one that fits.
local function held(self)
  local n = #self.held
  return n > 0 and self.held[self.draw(n)] or nil
end

local function fields(self)
  local draw = self.draw
  self.last = self.last + 1
  local r = { id = self.last, prompt_tokens = draw(draw(3) == 1 and 3 or 60), max_tokens = draw(30),
              user = "u" .. draw(3), class = draw(2) == 1 and "c" .. draw(3) or nil, priority = draw(3),
              weight = draw(4) / 2, arrival = draw(3) > 1 and self.now - draw(5) or nil }
  if draw(3) == 1 then r.ttft = draw(20) end
  if draw(3) == 1 then r.tpot = draw(6) end
  if draw(3) == 1 then r.session = "s" .. draw(5) end
  if draw(4) == 1 then r.deadline = self.now + draw(30) end
  return r
end

local function submit(self, r)
  if ask(self, "submit", r) then
    self.live[r.id] = { id = r.id, prompt_tokens = r.prompt_tokens, max_tokens = r.max_tokens, family = 1,
                        stops = self.draw(40) }
    all_seen.request(self.note, self.engine, r.id)
  end
end

local function live(self)
  local ids = {}
  for id in pairs(self.live) do ids[#ids + 1] = id end
  table.sort(ids)
  return ids[self.draw(#ids + 1)] or "nobody"
end

function M.rich(self) submit(self, fields(self)) end

function M.burst(self) -- and makes room for it
  while #self.held > 2 do self.engine:release(table.remove(self.held, self.draw(#self.held))) end
  for _ = 1, self.draw(5) do submit(self, fields(self)) end
end
M.another_burst = M.burst

function M.begins(self) -- with a state that is kept
  local r = fields(self)
  r.checkpoint = held(self)
  if r.checkpoint and self.draw(2) == 1 then r.prompt_tokens = r.checkpoint.tokens + self.draw(9) end
  submit(self, r)
end

function M.keeps(self) -- and leaves its own on the way
  local r = fields(self)
  r.keep = held(self)
  if r.keep and self.draw(4) > 1 then r.prompt_tokens = r.keep.tokens + self.draw(70) end
  if self.draw(4) == 1 then r.slot = held(self) end
  submit(self, r)
end

local function hold(self, state)
  if not state then return end
  all_seen.state(self.note, state)
  self.held[#self.held + 1] = state
end

function M.checkpoint(self)
  hold(self, ask(self, "checkpoint", live(self)))
end

function M.place(self) -- for a state that a request leaves within a chunk
  hold(self, ask(self, "receive", self.draw(2) == 1 and 64 or self.draw(30)))
end

function M.idle_step(self)
  local sizes = self.engine.mixed_capture_sizes
  local size = sizes[self.draw(#sizes + 1)] or { rows = 1, tokens = 3 }
  local step = ask(self, "idle_step", size.rows, size.tokens)
  if step then all_seen.step(self.note, step, self.engine) end
end

function M.any_policy(self)
  if self.draw(3) > 1 then return end
  local policy, kind = random_policy.draw(self.note)
  self.note(kind)
  ask(self, "set_policy", policy)
end

function M.reset(self)
  if self.draw(3) == 1 then ask(self, "policy_reset") end
end

return M
