-- The orders of waiting requests, call by call as the engine makes them, against lists: who comes next, and
-- whose key is asked for when.
local by_group = require "gdnmeta.engine.queue.by_group"
local by_key = require "gdnmeta.engine.queue.by_key"
local fifo = require "gdnmeta.engine.queue.fifo"
local models = require "spec.support.queue_model"
local requests = require "gdnmeta.engine.requests"

local random = math.random
local GROUPS = 4
local COSTS = { 1, 1, 4, 20, 31, 32, 33, 64 }

-- The key of request i as of a step: few values, so that some are equal.
local function key_of(self, i, step)
  if self.is_static then return i * 7 % 5 end
  return (i * 7 + step * 11 + i * step) % 5
end

local function noted(log, step, i) log[#log + 1] = ("%d in step %d"):format(i, step) end

-- The hooks that a queue calls, and the keys of its model.
local function keys_for(self, r)
  local hooks, keys = { log = {} }, { log = {}, now = self.now, asked = self.asked }
  function hooks.key(_, i) r.key[i], r.keyed[i] = key_of(self, i, self.step), -1 end
  local function fails_alone(i, step) return self.kind == "keyed" and (i + step) % 13 == 0 end
  function hooks.key_now(_, i, step)
    noted(hooks.log, step, i)
    r.key[i], r.keyed[i] = key_of(self, i, step), step
    return not fails_alone(i, step)
  end
  function hooks.keys(_, items, n, step)
    for k = 0, n - 1 do hooks:key_now(items[k], step) end
    return not self.fails
  end
  function keys.join(_, i)
    self.now[i], self.asked[i] = key_of(self, i, self.step), -1
    return self.now[i]
  end
  function keys.ask_one(_, i, step)
    noted(keys.log, step, i)
    self.now[i], self.asked[i] = key_of(self, i, step), step
    return not fails_alone(i, step)
  end
  function keys.ask(_, items, step)
    for _, i in ipairs(items) do keys:ask_one(i, step) end
    return not self.fails
  end
  return hooks, keys
end

-- A queue of a kind and its model, which take in what waits already.
local function follow(self)
  local r, hooks, keys = self.requests, keys_for(self, self.requests)
  self.hooks, self.keys = hooks, keys
  if self.kind == "fifo" then
    self.queue, self.model = self.fifo, self.arrivals
    return
  end
  local policy = { static = self.is_static, group = "user" }
  if self.kind == "group" then
    self.queue = by_group.new(r, self.fifo, policy, self.limit)
    self.model = models.by_group(keys, self.user, self.tie, self.limit)
  else
    self.queue = by_key.new(r, self.fifo, policy, self.limit)
    self.model = models.by_key(keys, self.arrivals, self.tie, self.is_static, self.limit)
  end
  for _, i in ipairs(self.arrivals.list) do r.parked[i] = 0 end
  self.queue:fill(hooks)
  for _, i in ipairs(self.arrivals.list) do self.model:push(i, false) end
end

local function enqueue(self, i, front)
  if front then self.fifo:push_front(i) else self.fifo:push_back(i) end
  self.arrivals:push(i, front)
  if self.queue ~= self.fifo then
    self.queue:push(i, front)
    self.model:push(i, front)
  end
end

local function dequeue(self, i)
  self.fifo:remove(i)
  self.arrivals:remove(i)
  if self.queue ~= self.fifo then
    self.queue:remove(i)
    self.model:remove(i)
  end
end

local function submit(self)
  local r = self.requests
  local i = r:next_number()
  if self.queue ~= self.fifo then assert(self.queue:reserve() == 0) end
  r:take(i, "id" .. self.submitted)
  self.submitted = self.submitted + 1
  r.tie[i], r.user[i], r.parked[i], r.keyed[i], r.key[i] = self.submitted, random(0, GROUPS - 1), 0, -1, 0
  self.tie[i], self.user[i], self.asked[i], self.now[i] = self.submitted, r.user[i], -1, 0
  enqueue(self, i, false)
end

local function leave(self, i)
  self.requests:forget(i)
  self.requests:put(i)
end

local function assert_same_asked(self, where)
  table.sort(self.hooks.log)
  table.sort(self.keys.log)
  assert.are.same(self.keys.log, self.hooks.log, where)
  self.hooks.log, self.keys.log = {}, {}
end

-- One packing. taken: by number, those that a packing of this step has admitted.
local function pack(self, taken, where)
  self.queue:begin(self.step)
  self.model:begin(self.step)
  local looks = self.drains and 1000 or random(0, 40)
  local compared = random(0, 6) -- looks: what waits is held against what runs first, as the engine does
  for look = 1, looks do
    self.fails = not self.drains and random(60) == 1
    local i, want = self.queue:candidate(look <= compared), self.model:candidate(look <= compared)
    assert.are.equal(want, i, where .. ", look " .. look)
    if not i or i < 0 then break end
    local draw, cost = random(10), COSTS[random(#COSTS)]
    if taken[i] or self.drains or draw < 6 then
      self.queue:advance()
      self.model:advance()
      taken[i] = taken[i] or self.drains or random(3) > 1
    else
      local way = draw < 9 and "hold" or "pass"
      self.queue[way](self.queue, cost)
      self.model[way](self.model, cost)
    end
  end
  self.queue:finish()
  self.model:finish()
  assert_same_asked(self, where)
end

-- A step of the engine, of one packing or, where a policy's step() asks for it, of more. Who is admitted
-- leaves the queue after it.
local function step(self, where)
  self.step = self.step + 1
  local taken = {}
  for n = 1, random(4) == 1 and 2 or 1 do pack(self, taken, where .. ", packing " .. n) end
  for i in pairs(taken) do
    if taken[i] then self.running[#self.running + 1] = i end
  end
  table.sort(self.running)
  for _, i in ipairs(self.running) do
    if taken[i] then dequeue(self, i) end
  end
end

local function play(kind, seed)
  math.randomseed(seed)
  local r = requests.new(4)
  local self = { kind = kind, requests = r, fifo = fifo.new(r), arrivals = models.fifo(), step = 0,
                 submitted = 0, tie = {}, user = {}, now = {}, asked = {}, running = {},
                 limit = ({ 1, 3, 128 })[random(3)], is_static = kind == "static" }
  follow(self)
  assert.are.equal(-1, self.fifo:rotate())
  for n = 1, 60 do
    local where = ("%s, seed %d, step %d"):format(kind, seed, n)
    for _ = 1, random(n < 30 and 6 or 2) - 1 do submit(self) end
    local list = self.arrivals.list
    if #list > 0 and random(4) == 1 then
      local i = list[random(#list)]
      dequeue(self, i)
      leave(self, i)
    end
    step(self, where)
    while #self.running > 3 do
      local i = table.remove(self.running)
      if random(3) == 1 then enqueue(self, i, true) else leave(self, i) end
    end
    if random(20) == 1 then follow(self) end
    assert.are.equal(#list, self.fifo.size, where)
  end
  self.drains = true
  for n = 1, 40 do step(self, ("%s, seed %d, drained %d"):format(kind, seed, n)) end
  assert.are.same({ {}, 0 }, { self.arrivals.list, self.fifo.size })
end

describe("A queue of waiting requests #lua", function()
  for _, kind in ipairs { "fifo", "static", "keyed", "group" } do
    it("goes as lists do: " .. kind, function()
      for seed = 1, 20 do play(kind, seed) end
    end)
  end
  teardown(function() math.randomseed(os.time()) random() end)
end)
