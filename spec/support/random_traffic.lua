-- Plays random traffic through an engine: submits, cancels, checkpoints, accepted drafts and stops, with
-- the books and the kernel looking on. What a request says depends on the request alone, not on steps.
local invariants = require "spec.support.invariants"
local kernels = require "spec.support.state_kernel"
local lost_books = require "spec.support.lost_books"
local random_kept = require "spec.support.random_kept"
local engines = require "spec.support.traffic_engines"
local texts = require "spec.support.traffic_requests"

local M = { configuration = engines.configuration, in_buckets = engines.in_buckets, engine = engines.engine,
            requests = texts.requests, identity = texts.identity }

local random = math.random

local function chance(p) return random() < p end
local function pick(list) return list[random(#list)] end

local Play = {}
Play.__index = Play

--- How many of a row's drafts are right: a matter of where it stands in its text.
function M.accepts(row)
  return row.used > 0 and (row.id * 31 + row.computed * 17) % 7 % (row.used + 1) or 0
end

local accepts = M.accepts

local function identify(c, request, given)
  if not c.hash_block then return nil end
  if request.family % 2 == 0 then
    given.tokens = texts.tokens(c, request, 0, request.prompt_tokens)
  else
    given.blocks = texts.identity(c, request, request.prompt_tokens)
  end
  return texts.identity(c, request, c.max_model_len)
end

function Play:submit(request)
  local checkpoint
  for _, pinned in ipairs(self.pinned) do
    if pinned.family == request.family and pinned.checkpoint.tokens < request.prompt_tokens then
      checkpoint = pinned.checkpoint
    end
  end
  local given = { id = request.id, prompt_tokens = request.prompt_tokens, max_tokens = request.max_tokens,
                  user = request.user, class = request.class, weight = request.weight,
                  priority = request.priority, ttft = request.ttft, tpot = request.tpot,
                  deadline = request.deadline, arrival = self.now, checkpoint = checkpoint }
  local labels = identify(self.c, request, given)
  if self.keeps then self.keeps:offer(given, request) end
  local ok = self.engine:submit(given)
  if not ok then
    if self.keeps then self.keeps:take_back(given) end
    return false
  end
  self.books:submit(given, labels)
  if self.on_submit then self.on_submit(given) end
  self.by_id[request.id] = request
  return true
end

-- What the model says to a step that is about to complete.
function Play:answer(flying)
  local step = flying.step
  for n, row in ipairs(flying.rows) do
    local q, request = self.books.live[row.id], self.by_id[row.id]
    row.family, row.is_dead, row.accepted = request.family, q == nil, 0
    if q and row.samples == 1 then
      local accepted = accepts(row)
      row.accepted, step.accepted_drafts[n - 1] = accepted, accepted
      local left = request.output - q.emitted
      if accepted + 1 >= left then step.stop[n - 1] = left end
      if not self.c.async then
        step.next_drafts[n - 1] = (row.id + q.known) % 5 == 0 and random(0, self.c.num_spec)
          or self.c.num_spec
      end
    end
  end
end

-- The same in results, with what is said. Every fourth request says nothing.
function Play:say(flying)
  local c, step, results = self.c, flying.step, {}
  for n, row in ipairs(flying.rows) do
    local q, request, at = self.books.live[row.id], self.by_id[row.id], n - 1
    local result = { accepted_drafts = step.accepted_drafts[at], stop = step.stop[at],
                     next_drafts = step.next_drafts[at] }
    results[row.id] = result
    if q and row.samples == 1 and row.id % 4 > 0 and #q.blocks > 0 then
      local emitted = row.accepted + 1
      if request.family % 2 == 0 then
        result.tokens = texts.tokens(c, request, q.known, emitted)
      else
        if result.stop > 0 then emitted = result.stop end
        emitted = math.min(emitted, q.max - q.emitted, c.max_model_len - q.known)
        local labels = texts.identity(c, request, q.known + emitted)
        result.blocks = { unpack(labels, q.num_blocks + 1) }
        q.num_blocks = #labels
      end
    end
  end
  return results
end

-- On a device the kernels of a step run before the next one is built, which uses the same memory. On the
-- CPU they run when the step before is complete, for only then is the step's metadata final.
function Play:launch(step, rows)
  for _, row in ipairs(rows) do row.family, row.accepted = self.by_id[row.id].family, accepts(row) end
  self.kernel:run(step, rows, ("%s step %d"):format(self.where, step.number))
end

function Play:complete()
  local flying = table.remove(self.flying, 1)
  local options = self.engine.private.options
  local second = options.second_builder
  local found = select(2, options.builder:peek_check_result())
    or second and select(2, second:peek_check_result())
  if found then error(self.where .. ": " .. found, 0) end
  local where = ("%s step %d"):format(self.where, flying.step.number)
  self:answer(flying)
  if not self.c.device then self.kernel:run(flying.step, flying.rows, where) end
  self.now = self.now + 1
  assert(self.engine:complete(flying.step, self.now, self.c.hash_block and self:say(flying) or nil))
  self.books:complete(flying.step, flying.rows, where)
  self:verify(where)
  if self.keeps then
    self.keeps:begin(flying.step, self.c.max_model_len - 1, function(request, given)
      if not self.engine:submit(given) then return end
      self.books:submit(given)
      self.by_id[request.id], self.stats.kept = request, self.stats.kept + 1
    end)
  end
  if self.on_complete then self.on_complete(flying.step) end
end

-- A request is forked; or its state is exported, and another request with its text begins with it.
function Play:branch(id)
  local request, q = self.by_id[id], self.books.live[id]
  local other = {}
  for name, value in pairs(request) do other[name] = value end
  self.last_id = (self.last_id or 100000) + 1
  other.id = self.last_id
  if chance(0.7) then
    other.max_tokens = request.max_tokens + random(0, 5)
    if not self.engine:fork(id, { id = other.id, max_tokens = other.max_tokens }) then return end
    self.books:fork(other.id, id, other.max_tokens)
    self.by_id[other.id] = other
    self.stats.forks = self.stats.forks + 1
    return
  end
  local state = self.engine:export(id)
  if not state then return end
  local begins_at = q.flight == 0 and q.accepted or q.latest.last_accepted
  assert(state.tokens == q.computed - q.ahead)
  local most = self.c.max_model_len - 1
  if state.tokens < most then
    local given = { id = other.id, prompt_tokens = random(state.tokens + 1, most), max_tokens = random(30),
                    computed = state.tokens, slot = state, arrival = self.now }
    if self.engine:submit(given) then
      self.books:submit(given)
      local books = self.books.live[other.id]
      books.begins_at, books.accepted, books.last_drafts = begins_at, begins_at, begins_at - 1
      self.by_id[other.id] = other
      self.stats.exports = self.stats.exports + 1
    end
  end
  self.engine:release(state)
end

-- The engine's own look at itself, every few steps.
function Play:verify(where)
  if self.now % 8 > 1 then return end
  local ok, message = self.engine:verify()
  if not ok then error(where .. ": " .. message, 0) end
end

-- Now and then a request is cancelled, or a state is kept for others, or not any longer.
function Play:disturb()
  local live = {}
  for id in pairs(self.books.live) do live[#live + 1] = id end
  table.sort(live)
  if #live > 0 and chance(self.cancel or 0) then
    local id = pick(live)
    assert(self.engine:cancel(id))
    self.books:cancel(id)
    if self.on_cancel then self.on_cancel(id) end
  end
  local branches = self.stats.forks + self.stats.exports
  if self.forks and #live > 0 and branches < 20 and chance(self.forks) then self:branch(pick(live)) end
  if not self.c.align or self.checkpoints == false then return end
  if #live > 0 and #self.pinned < 2 and chance(0.2) then
    local id = pick(live)
    local checkpoint = self.engine:checkpoint(id)
    if checkpoint then
      self.pinned[#self.pinned + 1] = { family = self.by_id[id].family, checkpoint = checkpoint }
    end
  end
  if #self.pinned > 0 and (chance(0.05) or self.engine.stats.running == 0) then
    self.engine:release(table.remove(self.pinned).checkpoint)
  end
end

function Play:step()
  self.now = self.now + 1
  local step = assert(self.engine:step(self.now))
  local rows = self.books:step(step, ("%s step %d"):format(self.where, step.number))
  self:verify(self.where)
  if self.on_step then self.on_step(step) end
  if self.c.device and step.num_rows > 0 then self:launch(step, rows) end
  if step.num_rows > 0 then self.flying[#self.flying + 1] = { step = step, rows = rows } end
  return step.num_rows > 0
end

--- Play to the end. opts: engine, requests, where, cancel, lose (probabilities a step), checkpoints, forks,
--- keeps; kernel, in place of state_kernel.lua's; now (where an engine that has played before stopped);
--- on_submit(request), on_step(step), on_complete(step), on_cancel(id) look on.
---@return table books
---@return number now
function M.run(c, opts)
  local e = opts.engine
  local self = setmetatable({ c = c, engine = e, where = opts.where, cancel = opts.cancel,
                              now = opts.now or 0, flying = {},
                              checkpoints = opts.checkpoints, pinned = {}, by_id = {},
                              forks = opts.forks,
                              stats = { forks = 0, exports = 0, kept = 0, losses = 0 } }, Play)
  self.keeps = opts.keeps and random_kept.new(e)
  for _, name in ipairs { "on_submit", "on_step", "on_complete", "on_cancel" } do self[name] = opts[name] end
  self.books = invariants.new(e, {
    budget = c.budget, max_num_seqs = c.seqs, max_model_len = c.max_model_len, threshold = c.threshold,
    chunked = c.chunked, align = c.align, block = c.block, num_spec = c.num_spec,
    kv_block = c.kv_block, sizes = e.private.options.capture_sizes,
    buckets = e.private.options.mixed_capture_sizes, has_buckets = c.full_cuda_graph == "mixed",
    reorder_threshold = 1 + c.num_spec, admit_after_preemption = c.admit_after_preemption,
  })
  self.kernel = opts.kernel or kernels.new(c.num_groups, c.num_spec)
  local at, quiet, began = 1, 0, self.now
  local requests = opts.requests
  local depth = c.async and 2 or 1
  while at <= #requests or not e:idle() do
    while at <= #requests and requests[at].start <= self.now - began do
      self:submit(requests[at])
      at = at + 1
    end
    local ran = self:step()
    if #self.flying >= depth or not ran and #self.flying > 0 then self:complete() end
    self:disturb()
    if opts.lose and self.stats.losses < 5 and chance(opts.lose) then lost_books(self) end
    quiet = ran and 0 or quiet + 1
    if quiet > 200 or self.now - began > 20000 then error(self.where .. ": does not come to an end", 0) end
  end
  for _, pinned in ipairs(self.pinned) do e:release(pinned.checkpoint) end
  if self.keeps then self.keeps:close() end
  self.books:close(self.where)
  self.books.branches = self.stats
  return self.books, self.now
end

return M
