-- What admissions leave to those that run, by upkeep.lua and outlook.lua, against the same counted anew each
-- time, of drawn requests.
local drawer = require "spec.support.drawer"
local outlooks = require "gdnmeta.engine.decide.outlook"
local plans = require "gdnmeta.engine.plan"
local upkeeps = require "gdnmeta.engine.decide.upkeep"

local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min
local PREEMPTED = plans.PREEMPTED
local REQUESTS = 8

-- Columns of requests, of which some run.
local function engine_of(draw)
  local r = { prompt = {}, max_tokens = {}, computed = {}, known = {}, mark = {}, kv_blocks = {},
              kv_shared = {} }
  local e = { requests = r, running = {}, num_running = draw(6) - 1, align = draw(5) > 1, block = draw(4),
              num_spec = max(draw(5) - 3, 0), max_num_batched_tokens = draw(12), max_num_seqs = draw(6),
              token_limits = { max_model_len = 4 + draw(16) }, step_number = 1, held = {} }
  for i = 0, REQUESTS - 1 do
    r.prompt[i], r.max_tokens[i] = draw(9), draw(7)
    r.known[i] = r.prompt[i] + draw(r.max_tokens[i]) - 1
    r.computed[i] = draw(r.known[i] + 1) - 1
    r.mark[i], e.held[i] = 0, draw(4) - 1
    r.kv_blocks[i], r.kv_shared[i] = draw(5) - 1, draw(3) - 1
  end
  local first = draw(REQUESTS)
  for at = 0, REQUESTS - 1 do e.running[at] = (first + at) % REQUESTS end -- beyond num_running: who ran once
  e.states = { kv_block = draw(4), held_slots = function(_, i)
    assert(e.align, "nobody wants to know in mode none")
    return e.held[i]
  end }
  return e
end

local function longest(e, i)
  return min(e.requests.prompt[i] + e.requests.max_tokens[i] - 1, e.token_limits.max_model_len - 1)
end

local function share_of(e, i)
  local columns = floor((longest(e, i) - 1) / e.block) + 1
  return min(1 + e.num_spec, columns + (e.requests.max_tokens[i] > 1 and e.num_spec or 0))
end

-- What some requests lack, each { i, tokens that the plan has of it }.
local function needed(e, list)
  local r, lacking, prompts, decodes = e.requests, 0, 0, 0
  for _, entry in ipairs(list) do
    local i, n = entry[1], entry[2]
    lacking = lacking + share_of(e, i) - e.held[i]
    local last, at = floor((longest(e, i) - 1) / e.block), floor(max(r.computed[i] - 1, 0) / e.block)
    if e.num_spec == 0 and last ~= at then
      if r.known[i] - r.computed[i] - n > e.block then prompts = prompts + 1 else decodes = decodes + 1 end
    end
  end
  local most = max(floor(e.max_num_batched_tokens / e.block), 1)
  return lacking + min(prompts + decodes, min(prompts, most) + ceil(decodes / e.block))
end

local function remaining(e)
  local list = {}
  for at = 0, e.num_running - 1 do
    if e.requests.mark[e.running[at]] ~= PREEMPTED then list[#list + 1] = { e.running[at], 0 } end
  end
  return list
end

-- Of those that run, as they were when they were counted last, and of newcomers.
local function lacks_model(self, i, n, free)
  local e = self.e
  if not e.align or free >= (e.max_num_seqs + 1) * (2 + e.num_spec) then return 0 end
  self.counted = self.counted or remaining(e)
  local list = { { i, n } }
  for _, part in ipairs { self.counted, self.new } do
    for _, entry in ipairs(part) do list[#list + 1] = entry end
  end
  return needed(e, list) - free
end

local function drop(list, i)
  for k, entry in ipairs(list) do
    if entry[1] == i then return table.remove(list, k) end
  end
end

local ACTS = {
  function(self)
    self.of:begin()
    self.counted, self.new = nil, {}
  end,
  function(self) -- a request leaves in the plan, and others are counted again
    if self.e.num_running > 0 then
      self.e.requests.mark[self.e.running[self.draw(self.e.num_running) - 1]] = self.draw(4) - 3
    end
    if self.draw(3) > 1 then
      self.of:forget()
      self.counted = nil
    end
  end,
  function(self)
    local i, n = self.draw(REQUESTS) - 1, self.draw(6) - 1
    self.of:add(i, n)
    self.new[#self.new + 1] = { i, n }
  end,
  function(self) -- would one leave, what would be lacking?
    if self.e.num_running == 0 then return end
    local i = self.e.running[self.draw(self.e.num_running) - 1]
    if self.e.requests.mark[i] == PREEMPTED then return end
    self.counted = self.e.align and (self.counted or remaining(self.e)) or self.counted
    if self.counted and not drop(self.counted, i) then self.counted = nil return self.of:forget() end
    self.of:leave(i)
  end,
}

describe("Slots that those that run will need", function()
  it("are counted as one by one", function()
    for case = 1, 1500 do
      local draw = drawer(16807 * case + 3)
      local e = engine_of(draw)
      local self = { e = e, draw = draw, of = upkeeps.new(e), new = {} }
      for n = 1, 8 do
        local where = ("case %d, act %d"):format(case, n)
        ACTS[draw(#ACTS)](self)
        local i, tokens, free = draw(REQUESTS) - 1, draw(6) - 1, draw(20) - 1
        local want = lacks_model(self, i, tokens, free)
        assert.are.equal(want, self.of:lacks(i, tokens, free), where)
        assert.are.equal(want <= 0, self.of:suffices(i, tokens, free), where)
        assert.are.equal(share_of(e, i), self.of:share(i), where)
        local unplanned = 0
        for at = 0, e.num_running - 1 do
          local other = e.running[at]
          if other ~= i and e.requests.mark[other] == 0 then unplanned = unplanned + 1 end
        end
        assert.are.equal(unplanned, self.of:unplanned(i), where)
      end
    end
  end)
end)

local function blocks_of(e, i, headroom)
  local known = e.requests.known[i]
  return ceil(max(known, min(known + headroom, longest(e, i))) / e.states.kv_block)
end

local function promised(e, headroom)
  local sum = 0
  for _, entry in ipairs(remaining(e)) do
    sum = sum + max(blocks_of(e, entry[1], headroom) - e.requests.kv_blocks[entry[1]], 0)
  end
  return sum
end

describe("Blocks that those that run will need", function()
  it("are counted as one by one, and once a step where nobody leaves", function()
    for case = 1, 1500 do
      local draw = drawer(16807 * case + 9)
      local e, headroom = engine_of(draw), draw(9) - 1
      local of, where = outlooks.new(e, headroom), "case " .. case
      for i = 0, REQUESTS - 1 do
        assert.are.equal(blocks_of(e, i, headroom), of:blocks(i), where)
        assert.are.equal(blocks_of(e, i, headroom) - e.requests.kv_shared[i], of:lack(i), where)
      end
      local first = of:promised_to_all()
      assert.are.equal(promised(e, headroom), first, where)
      for i = 0, REQUESTS - 1 do e.requests.mark[i], e.requests.kv_blocks[i] = draw(5) - 3, draw(3) - 1 end
      assert.are.equal(promised(e, headroom), of:promised(), where)
      assert.are.equal(first, of:promised_to_all(), where)
      e.step_number = 2
      assert.are.equal(promised(e, headroom), of:promised_to_all(), where)
      for _, plan in ipairs { { e.num_running, 0, false }, { e.num_running, 1, false }, { 0, 0, false },
                              { e.num_running, 0, true }, { 0, 1, false } } do
        local runs = e.num_running - plan[1] + plan[2]
        assert.are.equal(runs == 0 and not plan[3],
                         of:is_alone { num_victims = plan[1], admitted = plan[2], has_passed = plan[3] },
                         where)
      end
    end
  end)
end)
