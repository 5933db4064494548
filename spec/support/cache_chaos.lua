-- A host that does at random whatever can be done with a state cache, right and wrong, with caches that do
-- so, too. No call may break anything: engine:verify() is asked after each step.
local chaos = require "spec.support.chaos"
local serve = require "spec.support.run_engine"
local wild_cache = require "spec.support.wild_cache"

local M = {}

local function pick(list, draw) return list[draw(#list)] end

local Host = {}
Host.__index = Host

-- Families from 100 on, 100 v + f, begin as f does.
local PARTS = 13 -- tokens

local function family_at(family, p) return p < PARTS and family % 100 or family end

--- Token p (0-based) of a family's text.
function M.token(family, p) return 1000 * family_at(family, p) + math.floor((p + 1) / 16) end

local function tokens_of(family, first, n)
  local list = {}
  for k = 1, n do list[k] = M.token(family, first + k - 1) end
  return list
end

local function blocks_of(self, family, n)
  local list = {}
  for k = 1, math.floor(n / self.size) do list[k] = 10000 * family_at(family, k * self.size - 1) + k end
  return list
end

local function any(self, list)
  local keys = {}
  for key in pairs(list) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return pick(keys, self.draw)
end

local function join(self, request, ok, message)
  if self.note then self.note(ok and request.id or message) end
  if ok then self.live[request.id] = request end
  return ok
end

local function new_request(self)
  local draw = self.draw
  self.last = self.last + 1
  local r = { id = self.last, prompt_tokens = draw(70), max_tokens = draw(40), user = "u" .. draw(3),
              priority = draw(3), arrival = self.now, session = draw(2) == 1 and "s" .. draw(5) or nil }
  r.family, r.stops = draw(4), draw(40)
  if self.follower then r.family = r.family + 100 * (draw(3) - 1) end
  return r
end

local function fields_of(r)
  local given = {}
  for name, value in pairs(r) do given[name] = value end
  given.family, given.stops, given.said, given.says = nil, nil, nil, nil
  return given
end

-- Identity that does not fit its prompt, or is none.
local BAD = {
  function(r) r.blocks = { 1, -1, 2.5 } end,
  function(r) r.blocks = { "a", "a", "a", "a" } end,
  function(r) r.tokens = { 1, 2, 3 } end,
  function(r) r.blocks, r.tokens = {}, {} end,
  function(r) r.tokens = { [2] = 1 } end,
  function(r) for k = 1, 40 do r.blocks = r.blocks or {} r.blocks[k] = 2 ^ 53 + k end end,
}

local SHIPPED = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }

local ACTIONS = {
  submit = function(self)
    local r, kind = new_request(self), self.engine.cache and self.draw(10) or 10
    if kind < 5 then r.tokens = tokens_of(r.family, 0, r.prompt_tokens) end
    if kind > 4 and kind < 9 then r.blocks = blocks_of(self, r.family, r.prompt_tokens) end
    r.salt = self.draw(8) == 1 and "other" or nil
    local given = fields_of(r)
    if self.draw(12) == 1 then
      local n = self.draw(#BAD)
      if self.follower then r.family = 90 + n end -- what is said of it is another text
      BAD[n](given)
    end
    local ok, message = self.engine:submit(given)
    if not join(self, r, ok, message) then self.refused = self.refused + 1 end
  end,
  same_hash = function(self) -- every block has one id
    if not self.engine.cache then return end
    local r = new_request(self)
    r.blocks, r.family = {}, self.follower and 77 or r.family
    for k = 1, math.floor(r.prompt_tokens / self.size) do r.blocks[k] = 7 end
    join(self, r, self.engine:submit(fields_of(r)))
  end,
  fork = function(self)
    local id = any(self, self.live)
    self.last = self.last + 1
    local like = id and self.live[id] or { family = 1, stops = 9 }
    local r = { id = self.last, family = like.family, stops = like.stops + 5, tokens = like.tokens,
                blocks = like.blocks, said = like.said, max_tokens = self.draw(60) }
    join(self, r, self.engine:fork(id or "nobody", { id = r.id, max_tokens = r.max_tokens }))
  end,
  export = function(self)
    local id = any(self, self.live)
    local state = self.engine:export(id or "nobody")
    if not state then return end
    self.held[#self.held + 1], state.family = state, self.live[id].family
  end,
  receive = function(self)
    local is_whole, state = pcall(self.engine.receive, self.engine, self.draw(40))
    if is_whole and state then self.held[#self.held + 1] = state end
  end,
  arrive = function(self) -- with a state that is held, or was released
    local state, r = pick(self.held, self.draw), new_request(self)
    if not state then return end
    r.family = self.follower and state.family or r.family
    local given = fields_of(r)
    given.slot, given.computed = state, self.draw(9) == 1 and 3 or state.tokens
    if join(self, r, self.engine:submit(given)) and self.follower and not state.family then
      state.family = r.family
      self.follower:fill(state, r.family)
    end
  end,
  release = function(self)
    if #self.held > 0 then self.engine:release(table.remove(self.held, self.draw(#self.held))) end
  end,
  pin = function(self)
    local ok, message = self.engine:pin("s" .. self.draw(6))
    assert(ok or #message > 10)
  end,
  unpin = function(self) self.engine:unpin("s" .. self.draw(6)) end,
  cancel = function(self)
    local id = any(self, self.live)
    if id and self.engine:cancel(id) then self.live[id] = nil end
  end,
  policy = function(self)
    local n = self.draw(4)
    if self.note then return assert(self.engine:set_policy(SHIPPED[self.draw(#SHIPPED)])) end
    assert(self.engine:set_policy(n == 1 and "fcfs" or n == 2 and "priority"
                                  or n == 3 and chaos.hooks(self.draw) or chaos.step(self.draw)))
  end,
  cache = function(self)
    if not self.engine.cache then return end
    local n = self.draw(4)
    assert(self.engine:set_cache(n == 1 and "gdsf" or n == 2 and "every_block"
                                 or wild_cache(self.draw, self.has_host, self.note ~= nil)))
  end,
  lose = function(self)
    if self.draw(6) > 1 then return end
    self.engine:lose_states()
    self.flying = {}
    if self.follower then self.follower:forget() end
    while #self.held > 0 do self.engine:release(table.remove(self.held)) end
  end,
}
local NAMES = { "submit", "submit", "submit", "submit", "submit", "same_hash", "fork", "fork", "export",
                "receive", "arrive", "release", "release", "pin", "unpin", "cancel", "policy", "cache",
                "lose" }

-- What a row says; now and then more or less than it can.
local function result_of(self, step, row)
  local draw, r = self.draw, self.live[step:id(row)]
  local result = { next_drafts = draw(self.spec + 1) - 1 }
  local live = self.engine:request(step:id(row))
  if step.samples[row] == 0 or not r or not live then return result end
  local n = draw(math.max(step.drafts[row], 0) + 1)
  if draw(25) == 1 then n = n + 3 end
  if live.emitted + n >= r.stops then result.stop = draw(n) end
  if r.tokens and draw(30) > 1 then
    result.tokens = tokens_of(r.family, live.known, n)
  else
    result.accepted_drafts = n - 1
    if r.blocks and draw(3) > 1 then
      local first = r.said or #r.blocks + 1
      local known = live.known + math.min(result.stop or n, r.max_tokens - live.emitted)
      result.blocks = { unpack(blocks_of(self, r.family, math.min(known, 120)), first) }
      r.says = first + #result.blocks
    end
  end
  return result
end

local function complete(self)
  local step, results = table.remove(self.flying, 1), {}
  for row = 0, step.num_rows - 1 do results[step:id(row)] = result_of(self, step, row) end
  if self.follower then self.follower:completes(step, self.live) end
  local ok, done, message = pcall(self.engine.complete, self.engine, step, self.now, results)
  if not ok then -- a lie: refused, and nothing is changed
    self.lies = self.lies + 1
    assert(self.engine:verify())
    done, message = self.engine:complete(step, self.now)
  end
  if not done then error(("%s, step %d: %s"):format(self.where, self.now, message), 0) end
  if self.follower then self.follower:done(step, self.where) end
  if self.on_done then self.on_done(step) end
  for row = 0, step.num_rows - 1 do
    local r = self.live[step:id(row)]
    if r then r.said, r.says = ok and r.says or r.said, nil end
  end
  for _, id in ipairs(step.finished) do self.live[id] = nil end
end

local function verify(self, what)
  if self.note and self.now % 8 > 0 then return end
  local ok, message = self.engine:verify()
  if not ok then error(("%s, step %d, after %s: %s"):format(self.where, self.now, what, message), 0) end
end

local function step(self)
  self.now = self.now + 1
  local made = assert(self.engine:step(self.now))
  verify(self, "step")
  if self.follower then self.follower:made(made, self.live) end
  if self.on_step then self.on_step(made) end
  for _, id in ipairs(made.rejected) do self.live[id] = nil end
  if made.num_rows > 0 then self.flying[#self.flying + 1] = made end
  if #self.flying > (self.async and 1 or 0) or made.num_rows == 0 and #self.flying > 0 then
    complete(self)
    verify(self, "complete")
  end
end

local function release_all(self)
  while #self.held > 0 do self.engine:release(table.remove(self.held)) end
end

-- What is kept and pinned leaves room for any one request.
local function finish(self)
  assert(self.engine:set_policy "fcfs")
  self.engine:set_cache(nil)
  if not self.holds_on then release_all(self) end
  local quiet = 0
  while not self.engine:idle() do
    local before = self.engine.stats.scheduled
    step(self)
    quiet = self.engine.stats.scheduled > before and 0 or quiet + 1
    assert(quiet < 50, self.where .. ": does not come to an end")
  end
  release_all(self)
  for k = 1, 6 do self.engine:unpin("s" .. k) end
end

-- What a host does, each name as often as it is to be done.
local function names_of(more)
  local names = { unpack(NAMES) }
  for name in pairs(more or {}) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Plays `steps` steps at least, and then to the end. note(value): all is lawful but requests and results,
--- and what comes of each is noted; on_step(step), on_done(step) look on; more: other things that a host
--- does, by name, called with the host; follower: of followed_states.lua.
---@return table host with counts of what it did
function M.play(engine, o)
  local self = setmetatable({ engine = engine, draw = o.draw, where = o.where, async = o.async,
                              size = o.size, spec = o.spec, has_host = o.has_host, now = 0, last = 0,
                              live = {}, held = {}, flying = {}, refused = 0,
                              holds_on = o.more ~= nil and not o.note, follower = o.follower,
                              note = o.note, on_step = o.on_step, on_done = o.on_done,
                              lies = 0, done = {} }, Host)
  local names, more = o.more and names_of(o.more) or NAMES, o.more or {}
  while self.now < o.steps do
    for _ = 1, self.draw(2) do
      local name = pick(names, self.draw)
      if name ~= "submit" or self.engine.stats.waiting < 6 then
        self.done[name] = (self.done[name] or 0) + 1
        local act = ACTIONS[name] or more[name]
        act(self)
        if o.more then verify(self, name) end
      end
    end
    step(self)
  end
  finish(self)
  return self
end

--- An engine for it, of a random configuration.
function M.engine(draw, is_lawful)
  local align, spec, async = draw(2) == 1, draw(2) == 1 and draw(3) or 0, draw(2) == 1
  local size = 4 * draw(2)
  local b = { num_groups = draw(2), num_speculative_tokens = spec, num_slots = 8 + 4 * spec + draw(16),
              mamba_cache_mode = align and "align" or "none", mamba_block_size = align and 4 or nil,
              max_blocks_per_row = align and 32 + spec or spec + 2, max_requests = 8 }
  if spec == 3 and align then b.num_slots = b.num_slots + 8 end
  local e = { hash_block_size = size, max_model_len = 120, policy_budget = 5000, breaker = 1e6, async = async,
              kv_blocks = draw(2) == 1 and 40 + draw(20) or nil, kv_block_size = 4 }
  e.host_slots = draw(2) == 1 and draw(12) or 0
  e.cache = wild_cache(draw, e.host_slots > 0, is_lawful)
  if not e.kv_blocks then e.kv_tokens = draw(2) == 1 and 200 or nil end
  if async then e.second_builder = serve.builder(b) end
  return serve.engine("fcfs", e, b), { draw = draw, async = async, spec = spec, size = size,
                                      has_host = e.host_slots > 0 }
end

return M
