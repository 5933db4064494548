-- Random mixes of users for `fair`, and books of their service from what the engine reports: the policy's own
-- are not asked.
local fairness = require "gdnmeta.sim.fairness"
local serve = require "spec.support.run_engine"

local M = {}

local random = math.random
local function chance(p) return random() < p end
local function pick(list) return list[random(#list)] end

-- Service by user, as seen from outside: { total, waiting, busy (tokens of the user's running requests) }.
local Books = {}
Books.__index = Books

local function books_of(names, weights)
  local self = setmetatable({
    names = names, users = {}, requests = {}, observer = fairness.new(), spread = {},
    apart = 0, -- the most that two came apart who both waited
    longest = 0, busiest = 0, -- prompt; tokens that one user's running requests come to
  }, Books)
  for _, name in ipairs(names) do
    self.users[name] = { weight = weights[name], total = 0, waiting = 0, busy = 0,
                         account = self.observer:user(name, weights[name]) }
  end
  return self
end

local function serve_user(user, tokens, price, now)
  user.total = user.total + tokens * price / user.weight
  fairness.serve(user.account, tokens, price, now)
end

function Books:wait(id, now)
  local r = self.requests[id]
  local user = self.users[r.user]
  user.waiting, r.waits = user.waiting + 1, true
  self.observer:wait(user.account, now)
end

function Books:leave_queue(id, now)
  local r = self.requests[id]
  local user = self.users[r.user]
  user.waiting, r.waits = user.waiting - 1, false
  self.observer:leave(user.account, now)
end

-- Between two users who both wait all the time: how far their totals come apart.
function Books:look()
  self.observer:observe()
  for a = 1, #self.names do
    for b = a + 1, #self.names do
      local one, other = self.users[self.names[a]], self.users[self.names[b]]
      local key, difference = a * 100 + b, one.total - other.total
      local seen = self.spread[key]
      if one.waiting == 0 or other.waiting == 0 then
        self.spread[key] = nil
      elseif not seen then
        self.spread[key] = { difference, difference }
      else
        seen[1], seen[2] = math.min(seen[1], difference), math.max(seen[2], difference)
        self.apart = math.max(self.apart, seen[2] - seen[1])
      end
    end
  end
end

function Books:submit(r, now)
  self.requests[r.id] = { user = r.user, prompt = r.prompt_tokens, most = r.prompt_tokens + r.max_tokens,
                          cached = r.checkpoint and r.checkpoint.tokens or 0 }
  self.longest = math.max(self.longest, r.prompt_tokens)
  self:wait(r.id, now)
  self:look()
end

function Books:planned(step, now)
  for _, id in ipairs(step.preempted) do
    local user = self.users[self.requests[id].user]
    user.busy = user.busy - self.requests[id].most
    self:wait(id, now)
  end
  for _, id in ipairs(step.admitted) do
    local r = self.requests[id]
    local user = self.users[r.user]
    if not r.charged then serve_user(user, r.prompt - r.cached, 1, now) end
    r.charged, user.busy = true, user.busy + r.most
    self.busiest = math.max(self.busiest, user.busy)
    self:leave_queue(id, now)
  end
  self:look()
end

function Books:gone(id, now)
  local r = self.requests[id]
  if r.waits then
    self:leave_queue(id, now)
  else
    self.users[r.user].busy = self.users[r.user].busy - r.most
  end
end

function Books:completed(step, now)
  for row = 0, step.num_rows - 1 do
    local r = self.requests[step:id(row)]
    if step.emitted[row] > 0 then serve_user(self.users[r.user], step.emitted[row], 2, now) end
  end
  for _, id in ipairs(step.finished) do self:gone(id, now) end
  self:look()
end

-- U: the longest prompt, or what a user's running requests come to as output, over the least weight.
function Books:bound()
  local least = math.huge
  for _, user in pairs(self.users) do least = math.min(least, user.weight) end
  return math.max(self.longest, 2 * self.busiest) / least
end

-- A mix of users: how often each sends, how much at once, how long.
local function mix()
  local names, weights, habits = {}, {}, {}
  local is_weighted = chance(0.5)
  for n = 1, random(2, 6) do
    local name = "user " .. n
    names[n], weights[name] = name, is_weighted and pick { 0.25, 1, 3, 10 } or 1
    habits[name] = { often = pick { 0.02, 0.1, 0.4, 1 }, burst = pick { 1, 1, 2, 8 },
                     prompt = pick { 3, 20, 70 },
                     output = pick { 1, 6, 75 }, from = chance(0.3) and random(100) or 0,
                     until_then = chance(0.3) and random(100, 200) or 200 }
  end
  return names, weights, habits
end

local function engine_for_mix()
  local align, seqs = chance(0.3), random(1, 8)
  local builder = { max_num_seqs = seqs, max_num_batched_tokens = pick { 16, 64, 256 }, max_requests = seqs,
                    mamba_cache_mode = align and "align" or "none", mamba_block_size = align and 8 or nil,
                    max_blocks_per_row = align and 64 or nil, num_slots = align and 400 or nil }
  local engine = { kv_tokens = chance(0.7) and random(152, 220) or nil, kv_block_size = 4,
                   max_model_len = 150, on_policy_error = "raise" }
  return serve.engine("fair", engine, builder), align
end

--- Any request may be cancelled, and where states are kept by the block, begin with what another computed.
---@param steps integer
---@return table books, table stats of the engine
function M.play(steps)
  local names, weights, habits = mix()
  local engine, align = engine_for_mix()
  local books, alive, last_id, checkpoint = books_of(names, weights), {}, 0, nil
  local function submit(name, now)
    last_id = last_id + 1
    local prompt = random(habits[name].prompt)
    local r = { id = last_id, user = name, weight = weights[name], prompt_tokens = prompt,
                max_tokens = random(habits[name].output), arrival = now,
                checkpoint = checkpoint and checkpoint.tokens < prompt and checkpoint or nil }
    assert(engine:submit(r))
    alive[#alive + 1] = last_id
    books:submit(r, now)
  end
  for now = 1, steps do
    for _, name in ipairs(names) do
      local h = habits[name]
      if now >= h.from and now < h.until_then and chance(h.often) and books.users[name].waiting < 20 then
        for _ = 1, random(h.burst) do submit(name, now) end
      end
    end
    if #alive > 0 and chance(0.1) then
      local id = pick(alive)
      if engine:request(id) then
        assert(engine:cancel(id))
        books:gone(id, now)
        books:look()
      end
    end
    local step = assert(engine:step(now))
    books:planned(step, now)
    if step.num_rows > 0 then
      assert(engine:complete(step, now))
      books:completed(step, now)
    end
    if align and not checkpoint and #alive > 0 then checkpoint = engine:checkpoint(pick(alive)) end
  end
  engine:close()
  return books, engine.stats
end

return M
