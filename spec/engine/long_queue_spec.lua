-- Who of a queue loses what it would begin with, where others need slots or blocks: the last one that may.
-- Of a long queue only those are looked for that hold something.
local drawer = require "spec.support.drawer"
local serve = require "spec.support.run_engine"

local NONE = -1

local function tokens_of(text)
  local list = {}
  for k = 1, 40 do list[k] = 1000 * text + k end
  return list
end

-- As many requests as slots run; all others wait.
local function crowded(n, texts)
  local e = serve.caching_engine({}, { num_slots = 6, max_num_seqs = 8 })
  for id = 1, n do
    assert(e:submit { id = id, prompt_tokens = 40, max_tokens = 150, tokens = tokens_of(id % texts) })
  end
  return e
end

-- Reads of a column, by Lua code.
local function watch(requests, name)
  local column, seen = requests[name], { reads = 0 }
  requests[name] = setmetatable({}, { __index = function(_, i)
    seen.reads = seen.reads + 1
    return column[i]
  end, __newindex = function(_, i, value) column[i] = value end })
  return seen
end

describe("A long queue", function()
  it("is not walked in each step where nobody in it holds anything", function()
    local e = crowded(3000, 3000)
    for now = 1, 20 do assert(e:complete(assert(e:step(now)), now)) end
    assert.is_true(e.stats.running > 3 and e.stats.waiting > 2900)
    local seen = watch(e.private.requests, "prev")
    for now = 21, 40 do assert(e:complete(assert(e:step(now)), now)) end
    assert.is_true(seen.reads < 100, seen.reads .. " reads")
    e:close()
  end)

  it("gives up what its last request holds that may lose it", function()
    local draw, found = drawer(7), 0
    for _ = 1, 300 do
      local n = draw(40)
      local r, holding = { next = {}, prev = {}, holds = {}, mark = {}, on_host = {} }, 0
      for i = 0, n - 1 do -- i is the place in the queue, too
        r.prev[i], r.next[i] = i - 1, i < n - 1 and i + 1 or NONE
        r.holds[i], r.mark[i], r.on_host[i] = draw(6) == 1 and 1 or 0, draw(3) == 1 and 1 or 0, draw(2) - 1
        holding = holding + r.holds[i]
      end
      local of_slots, but, want = draw(2) == 1, draw(2) == 1 and draw(n) - 1 or nil, NONE
      for i = 0, n - 1 do
        local may = r.holds[i] == 1 and r.mark[i] == 0 and i ~= but and not (of_slots and r.on_host[i] == 1)
        if may then want = i end
      end
      local cache = { num_holding = holding, engine = { requests = r, fifo = { head = 0, tail = n - 1 } } }
      local got = require "gdnmeta.engine.prefix.evict".last_holding(cache, but, of_slots)
      assert.are.equal(want, got)
      found = found + (want ~= NONE and 1 or 0)
    end
    assert.is_true(found > 60)
  end)

  it("is counted right: verify() asks for those that hold something", function()
    local e = crowded(30, 3)
    local held, now = 0, 0
    while not e:idle() do
      now = now + 1
      assert(e:complete(assert(e:step(now)), now))
      assert(e:verify())
      held = math.max(held, e.private.prefix.num_holding)
    end
    assert.is_true(held > 0)
    assert.are.equal(0, e.private.prefix.num_holding)
    e.private.prefix.num_holding = 1
    local _, message = e:verify()
    assert.are.equal("gdnmeta.engine: 1 requests wait with a node, want 0", message)
    e:close()
  end)
end)
