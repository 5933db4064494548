-- A host with an engine for which everything is scarce: up to five requests of a few tokens at a time, steps
-- of a few tokens, pools with room for little more than one of them. A request has to say all that it may.
local all_seen = require "spec.support.all_seen"
local requests = require "gdnmeta.engine.requests"

local M = {}

--- A configuration with little of everything.
---@param draw function draw(n): a number by chance in 1 .. n
function M.configuration(draw)
  local align, spec = draw(2) == 1, math.max(draw(4) - 2, 0)
  local block = align and spec + draw(3) or 16
  local seqs, async = draw(4), draw(3) == 1
  local c = { align = align, num_spec = spec, num_groups = draw(2), block = block, seqs = seqs, async = async,
              max_model_len = draw(12) + 2, kv_block = align and block or draw(3), check = false,
              full_cuda_graph = draw(2) == 1, kv_headroom = draw(4) == 1 and 512 or draw(3) - 1,
              admit_after_preemption = draw(4) == 1, preempt_limit = draw(3) - 1, forks = draw(3) == 1 }
  c.budget = math.max(seqs, align and block or 1, draw(6))
  c.threshold = draw(4) == 1 and math.max(align and block or 1, draw(3)) or 0
  if not align and draw(8) == 1 then
    c.chunked, c.threshold, c.budget = false, 0, math.max(seqs, draw(c.max_model_len))
  end
  c.num_slots = 1 + (align and spec + 2 + (async and 2 or 0) or spec + 1) + draw(2 * seqs) - 1
  if draw(4) > 1 then c.kv_tokens = c.kv_block + draw(12) end
  c.owns_blocks, c.kv_watermark = c.kv_tokens and draw(2) == 1, draw(6) == 1 and 0.2 or 0
  c.capture_sizes = draw(2) == 1 and { 1, 2, 4, 7 } or nil
  c.default_drafts = draw(2) == 1 and draw(spec + 1) - 1 or nil
  if c.chunked == nil and draw(2) == 1 then
    c.hash_block, c.host_slots = c.kv_block, draw(3) - 1
    c.cache = ({ "every_block", "last_block", "gdsf" })[draw(4)]
  end
  return c
end

-- There are two texts that begin alike.
local function tokens_of(id, from, n)
  local list = {}
  for k = 1, n do list[k] = from + k + (id % 3 == 0 and from + k > 3 and 100 or 0) end
  return list
end

-- What policies of every make look at.
local function enrich(r, draw, now)
  r.class, r.weight = draw(2) == 1 and "c" .. draw(2) or nil, draw(4) / 2
  r.ttft, r.tpot = draw(3) == 1 and draw(20) or nil, draw(3) == 1 and draw(6) or nil
  r.deadline = draw(4) == 1 and now + draw(30) or nil
  r.session = draw(3) == 1 and "s" .. draw(2) or nil
end

local function request_of(c, draw, id, now)
  local r = { id = id, prompt_tokens = draw(5), max_tokens = draw(7),
              user = "u" .. draw(2), priority = draw(2), arrival = now }
  if c.is_rich then enrich(r, draw, now) end
  if c.hash_block and draw(9) > 1 then r.tokens = tokens_of(id, 0, r.prompt_tokens) end
  return r
end

local World = {}
World.__index = World

function World:submit(id, now)
  local r = request_of(self.c, self.draw, id, now)
  local ok, message = self.engine:submit(r)
  self.note(ok or message)
  if ok then self.left[id] = math.min(r.max_tokens, self.c.max_model_len - r.prompt_tokens) end
end

function World:cancel(id)
  local ok, message = self.engine:cancel(id)
  self.note(ok or message)
  self.left[id] = nil
end

-- Another that has said what this one has.
function World:fork(id, other)
  local ok, message = self.engine:fork(id, { id = other })
  self.note(ok or message)
  if ok then self.left[other] = self.left[id] end
end

-- What comes of a row: some of its drafts are accepted, and now and then an answer ends. A state cache hears
-- of the tokens, most of the time.
function World:answer(step, row, results)
  if step.samples[row] == 0 then return end
  local draw, id = self.draw, step:id(row)
  local accepted = draw(math.max(step.drafts[row], 0) + 1) - 1
  local stop = draw(12) == 1 and draw(accepted + 1) or 0
  local request = results and self.engine:request(id)
  if request then
    results[id] = { stop = stop, accepted_drafts = accepted }
    if draw(20) > 1 then results[id].tokens = tokens_of(id, request.known, accepted + 1) end
  else
    step.accepted_drafts[row], step.stop[row] = accepted, stop
  end
end

-- Each list of running requests has a number of its own, above those before it.
function World:look_at_roster()
  local p, now = self.engine.private, {}
  for at = 0, p.num_running - 1 do now[at + 1] = p.requests.id[p.running[at]] end
  local running = table.concat(now, " ")
  assert(running == self.running or p.roster > self.roster, "a list of running requests seems an old one")
  self.running, self.roster = running, p.roster
end

-- Of a request that was evicted nothing is known of states that it was to leave, had left or has found.
function World:look_at_evicted(step)
  local r = self.engine.private.requests
  for _, id in ipairs(step.preempted) do
    local i = r.index[id]
    assert(r.keep_at[i] == 0 and r.kept[i] == requests.NONE, "it is to leave a state, or has")
    assert(not r.ids[i] or r.matched[i] == -1 and r.cross_at[i] == 0, "it has looked for a state")
  end
end

function World:complete()
  local step, left, results = table.remove(self.flying, 1), self.left, self.c.hash_block and {} or nil
  for row = 0, step.num_rows - 1 do self:answer(step, row, results) end
  assert(self.engine:complete(step, self.now + 0.5, results))
  self:look_at_roster()
  all_seen.done(self.note, step)
  for row = 0, step.num_rows - 1 do
    local id = step:id(row)
    if left[id] then
      left[id] = left[id] - step.emitted[row]
      assert(left[id] >= 0, "it says more than it may")
      if step.finish[row] == 1 then left[id] = 0 end -- it stopped
      assert((step.finish[row] > 0) == (left[id] == 0), "it ends when it has said all")
    end
    all_seen.request(self.note, self.engine, id)
  end
  for _, id in ipairs(step.finished) do
    assert(left[id] == 0, "it has said all")
    left[id] = nil
  end
end

function World:step()
  self.now = self.now + 1
  local step = assert(self.engine:step(self.now))
  self:look_at_roster()
  self:look_at_evicted(step)
  all_seen.step(self.note, step, self.engine)
  for _, id in ipairs(step.rejected) do self.left[id] = nil end
  if step.num_rows > 0 then self.flying[#self.flying + 1] = step end
  local most = self.c.async and 1 or 0
  while #self.flying > most or step.num_rows == 0 and #self.flying > 0 do self:complete() end
  return step
end

--- Some requests, in some order, one of them cancelled at some time; to the end.
---@param on_tick function|nil hears of each step before it
function World:burst(on_tick)
  local draw, n = self.draw, self.draw(5)
  local start, cancelled, at, forked, then_at = {}, draw(2 * n), draw(6), draw(4 * n), draw(9)
  for k = 1, n do start[k] = draw(4) end
  local quiet, tick = 0, 0
  repeat
    tick = tick + 1
    for k = 1, n do
      if start[k] == tick then self:submit(self.last + k, self.now) end
    end
    if tick == at and cancelled <= n then self:cancel(self.last + cancelled) end
    if tick == then_at and forked <= n then self:fork(self.last + forked, self.last + n + 1) end
    if on_tick then on_tick(tick) end
    local step = self:step()
    quiet = step.num_rows > 0 and 0 or quiet + 1
    assert(quiet < (self.patience or 20), "nothing runs")
  until tick > 9 and self.engine:idle()
  self.last = self.last + n + 1
  assert(next(self.left) == nil, "a request has not said all")
end

--- patience: steps in a row that may be empty; 20 if nil.
---@param c table of configuration(); is_rich: requests say all that a policy may look at
---@param note function takes all that is seen
function M.new(c, engine, draw, note, patience)
  return setmetatable({ c = c, engine = engine, draw = draw, note = note, patience = patience, now = 0,
                        last = 0, left = {}, flying = {}, running = "", roster = 0 }, World)
end

--- Nothing that was given stays with the engine.
function M.check_books(engine)
  local cached, kv = engine:cached() or { slots = 0, kv_blocks = 0 }, engine:kv()
  assert(cached.slots == engine:slots().used, "slots are not given back")
  assert(not kv or cached.kv_blocks == kv.used, "blocks are not given back")
  local s = engine.stats
  assert(s.arrived == s.finished + s.cancelled + s.rejected, "requests are lost")
  local r, is_free = engine.private.requests, {}
  for _, i in ipairs(r.free) do
    assert(not is_free[i], "a number is free twice")
    is_free[i] = true
  end
  assert(#r.free == r.used, "numbers are not given back")
  for i = 0, r.used - 1 do
    assert(r.slots_coming[i] == 0 and r.kv_coming[i] == 0, "what came back is still on its way")
  end
end

return M
