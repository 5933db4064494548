-- The lab of prefix caches: hits, ceilings and evictions as brute force over lists of prompts has them.
local gdn = require "gdnmeta"
local workload = require "gdnmeta.sim.workload"

local lab = gdn.sim.lab
local SIZE = 4

-- Prompts that are made of texts of blocks: "ab" is two blocks, and its ids are "a" and "ab".
local function prompts(texts)
  local requests = { block_size = SIZE }
  for i, text in ipairs(texts) do
    local blocks = {}
    for k = 1, #text do blocks[k] = text:sub(1, k) end
    requests[i] = { arrival = i, prompt = #text * SIZE + 1, output = 1, blocks = blocks }
  end
  return requests
end

local function random_prompts(seed, n)
  local random, texts = workload.random(seed), {}
  for i = 1, n do
    local from = texts[math.floor(random() * i)] or ""
    local text = from:sub(1, math.floor(random() * (#from + 1)))
    for _ = 1, math.floor(random() * 4) + 1 do text = text .. string.char(97 + math.floor(random() * 3)) end
    texts[i] = text:sub(1, 12)
  end
  return prompts(texts), texts
end

local function common(a, b)
  local n = 0
  while n < math.min(#a, #b) and a:byte(n + 1) == b:byte(n + 1) do n = n + 1 end
  return n
end

-- Cached tokens of each prompt, with every state in a plain list that is sorted by use: the brute force.
local function brute_force(texts, slots, points)
  local list, cached = {}, {}
  for i, text in ipairs(texts) do
    local hit, known = nil, 0
    for k = 1, i - 1 do known = math.max(known, common(texts[k], text)) end
    for k, state in ipairs(list) do
      if text:sub(1, #state) == state and (not hit or #state > #list[hit]) then hit = k end
    end
    local from = hit and #list[hit] or 0
    if hit then table.insert(list, table.remove(list, hit)) end -- it was used, and none that is shorter
    cached[i] = from * SIZE
    for at = from + 1, #text do
      local state, have = text:sub(1, at), false
      for _, other in ipairs(list) do have = have or other == state end
      if points(at, #text, known) and not have then
        if #list == slots then table.remove(list, 1) end
        list[#list + 1] = state
      end
    end
  end
  return cached
end

local POINTS = {
  every_block = function() return true end,
  last_block = function(at, n) return at == n end,
  fork_and_last = function(at, n, known) return at == n or at == known end,
  retain_tail = function(at, n) return at > n - 3 end,
}

describe("The lab #lua", function()
  it("agrees with brute force on every hit of random traces, for any number of slots", function()
    for seed = 1, 12 do
      local requests, texts = random_prompts(seed, 60)
      for _, slots in ipairs { 1, 2, 7, 30, 1000 } do
        for name, points in pairs(POINTS) do
          local run = lab.replay(requests, gdn.cache(name), { slots = slots })
          assert.are.same(brute_force(texts, slots, points), run.cached,
            ("%s, %d slots, seed %d"):format(name, slots, seed))
        end
      end
    end
  end)

  it("reaches the ceiling with a state at every block where none goes; no cache passes it", function()
    for seed = 20, 30 do
      local requests = random_prompts(seed, 80)
      local run = lab.replay(requests, gdn.cache "every_block", { slots = 5000 })
      assert.are.equal(run.ceiling, run.hit)
      for _, name in ipairs { "gdsf", "marconi", "turns_by_tokens", "superseded_first", "fifo", "offsets",
                              "segment_length" } do
        local other = lab.replay(requests, gdn.cache(name), { slots = 9 })
        assert.is_true(other.hit <= run.ceiling + 1e-12, name)
        assert.are.equal(other.made, other.evictions + math.min(9, other.made), name)
      end
    end
  end)

  it("computes the last token of a prompt in any case", function()
    local requests = prompts { "ab", "ab" }
    for _, r in ipairs(requests) do r.prompt = 2 * SIZE end
    assert.are.same({ 0, SIZE }, lab.replay(requests, gdn.cache "every_block").cached)
    assert.are.equal(SIZE / (4 * SIZE), lab.ceiling(requests))
  end)

  it("shows the hits of each window of requests, the last one too", function()
    local function windows(texts, n)
      local list = {}
      for _, w in ipairs(lab.replay(prompts(texts), gdn.cache "every_block", { windows = n }).over_time) do
        list[#list + 1] = ("%g: %d/17"):format(w.at, w.hit * 17 + 0.5)
      end
      return list
    end
    assert.are.same({ "2: 8/17", "4: 16/17", "5: 0/17" },
                    windows({ "abcd", "abcd", "abcd", "abcd", "wxyz" }, 3))
    assert.are.same({ "2: 8/17", "4: 8/17" }, windows({ "abcd", "abcd", "wxyz", "wxyz" }, 2))
  end)

  it("drops the least by worth, and shows what a state saves", function()
    local seen = {}
    local run = lab.replay(prompts { "aaaa", "aaaab", "bbbb", "bbcc", "aaaac", "c" }, gdn.cache {
      checkpoints = function(r) return { r.junction, r.prompt_end } end,
      worth = function(nodes, n, values, ctx)
        for i = 1, n do
          local x = nodes[i]
          values[i] = x.parent_gap
          seen[#seen + 1] = ("%g: %d/%d gap %d hits %d age %g%s"):format(ctx.now, x.tokens / SIZE, x.children,
            x.parent_gap / SIZE, x.state_hits, x.state_age, x.superseded and " superseded" or "")
        end
      end,
    }, { slots = 3 })
    assert.are.same({ 0, 16, 0, 0, 16, 0 }, run.cached)
    local first = { seen[1], seen[2], seen[3] }
    table.sort(first)
    assert.are.same({ "4: 4/0 gap 4 hits 0 age 1", "4: 4/1 gap 4 hits 1 age 2 superseded",
      "4: 5/0 gap 1 hits 0 age 2" }, first)
  end)

  it("without worth drops the least of keep's numbers, of equal ones the one used longest ago", function()
    local NUMBER = { a = 3, b = 1, c = 1, d = 2, e = true }
    local function cached(second)
      local i, texts = 0, { "a", "b", "c", second, "d", "b", "c", "a", "d", "e", "b", "e" }
      local keep = function() return NUMBER[texts[i]] or 0 end
      local checkpoints = function(r) i = r.id return { r.prompt_end } end
      local cache = gdn.cache { keep = keep, checkpoints = checkpoints }
      return table.concat(lab.replay(prompts(texts), cache, { slots = 3 }).cached, " ", 6)
    end
    assert.are.equal("4 0 4 4 0 0 0", cached "b") -- d took the place of c
    assert.are.equal("0 0 4 4 0 0 0", cached "c") -- of b
  end)

  it("leaves positions alone that are no ends of blocks or outside of what is computed", function()
    local points = { -4, 0, 3, 4.5, 4, 4, 8, 9, 12, 1e9, 1 / 0 }
    local run = lab.replay(prompts { "ab", "ab" }, gdn.cache { checkpoints = function() return points end })
    assert.are.same({ 2, 1 }, { run.made, run.used })
    points[12] = 0 / 0
    assert.has_error(function()
      lab.replay(prompts { "ab" }, gdn.cache { name = "c", checkpoints = function() return points end })
    end, "checkpoints[12] is nan, want a number of tokens")
  end)

  it("takes prompts of no whole block, and hands over a slot for each group of its index", function()
    local figures = lab.replay({ { arrival = 1, prompt = 3, output = 1, blocks = {} },
                                 { arrival = 2, prompt = 2, output = 1 }, block_size = SIZE }, "every_block")
    assert.are.same({ 0, 0, 0, 5 }, { figures.hit, figures.made, figures.evictions, figures.prompt_tokens })
    local states = require("gdnmeta.sim.lab.states").new({}, { block_size = SIZE },
      { slots = 2, batch = 4, kv_bytes = 1, state_bytes = 1 }, 0)
    assert.are.equal(1, states.index.num_groups)
    states:close()
  end)

  it("has blocks of a token at least", function()
    for _, size in ipairs { 0, 2 ^ 20 + 1, 1.5 } do
      local ok, message = pcall(lab.ceiling, { block_size = size })
      assert.is_false(ok)
      assert.matches("lab.ceiling: requests of no block_size, want those of a trace with hash_ids", message)
    end
  end)

  it("refuses a list without identity, at the caller's line", function()
    assert.has_error(function() lab.replay({ { prompt = 1 } }, gdn.cache "fifo") end,
      "lab.replay: requests of no block_size, want those of a trace with hash_ids, or of dialogues")
  end)
end)

describe("A replay", function()
  it("refuses requests that are none, by name, at the caller's line", function()
    local function refused(message, ...)
      local requests = { block_size = 4, ... }
      assert.has_error(function() lab.replay(requests, "fifo") end, "lab.replay: " .. message)
      assert.has_error(function() return lab.ceiling(requests), nil end, "lab.ceiling: " .. message)
    end
    local good = { prompt = 9, arrival = 0, blocks = { 1, "b" } }
    lab.replay({ block_size = 4, good }, "fifo")
    refused "no requests"
    refused("requests[2] = 3, want a table", good, 3)
    refused("requests[1].prompt = nil, want an integer in 1 .. 2147483647", {})
    refused("requests[2].prompt = 1.5, want an integer in 1 .. 2147483647", good, { prompt = 1.5 })
    refused("requests[1].arrival = nan, want a finite number of seconds", { prompt = 9, arrival = 0 / 0 })
    refused('requests[1].blocks = "x", want a list of ids', { prompt = 9, blocks = "x" })
    refused("requests[1].blocks has 3 ids, want at most 2", { prompt = 9, blocks = { 1, 2, 3 } })
    refused("requests[1].blocks[2] = 1.5, want an integer in 0 .. 2^53 - 1 or a string",
      { prompt = 9, blocks = { 1, 1.5 } })
  end)

  it("takes a cache as gdn.cache does, and refuses others by name", function()
    local requests = random_prompts(1, 60)
    local loaded = lab.replay(requests, assert(gdn.cache "gdsf"), { slots = 8 })
    assert.are.same(loaded, lab.replay(requests, "gdsf", { slots = 8 }))
    for _, wrong in ipairs { false, 7, print } do
      assert.has_error(function() lab.replay(requests, wrong, {}) end, ("lab.replay: cache = %s, want a "
        .. "gdnmeta.Cache, or what gdn.cache takes"):format(require("gdnmeta.native.args").show(wrong)))
    end
    local ok, message = pcall(lab.replay, requests, "gdfs", {})
    assert.is_false(ok)
    assert.truthy(message:find("lab.replay: ", 1, true) and message:find("gdsf", 1, true), message)
  end)

  it("refuses a cache whose checkpoints are a map", function()
    local cache = { name = "map", checkpoints = function(_, _, to) return { at = to } end }
    local ok, message = pcall(lab.replay, random_prompts(1, 9), cache, { slots = 8 })
    assert.is_false(ok)
    assert.truthy(message:find("checkpoints returned a table without [1], want a list", 1, true), message)
  end)

  it("keeps the keys of states that have gone, so that no table is laid out anew for each", function()
    local kept = require("gdnmeta.sim.lab.sessions").new()
    kept:enter({ session = "a", user = "u" }, 1)
    kept:left(7)
    kept:lost(7)
    kept:enter({}, 2)
    kept:left(8)
    assert.are.same({ { [7] = false, [8] = false }, { [7] = false, [8] = "" } }, { kept.at, kept.user_at })
    local node = { id = 7 }
    kept:show(node, 3)
    assert.are.same({ id = 7, session_requests = 0 }, node)
  end)

  it("tells hooks of wrong names and arguments as an engine does", function()
    for said, hook in pairs {
      ["r has no field promptend"] = function(r) return { r.promptend } end,
      ["ctx.flops(a table, 0): want two numbers, called with a dot"] =
        function(_, _, _, ctx) return { ctx:flops(0, 8) } end,
      ["ctx.every(a table): want a number of tokens, called with a dot"] =
        function(_, _, _, ctx) return ctx:every(8) end,
    } do
      local ok, message = pcall(lab.replay, random_prompts(1, 9), { checkpoints = hook }, { slots = 8 })
      assert.is_false(ok)
      assert.truthy(message:find(said, 1, true), message)
    end
  end)
end)

describe("Values that a cache's worth leaves in the lab", function()
  it("are read without their metamethods, which would have no limits there", function()
    local outside = 0
    local ok, message = pcall(lab.replay, prompts { "a", "b", "c", "d" }, {
      worth = function(_, n, values)
        for k = 1, n do values[k] = nil end
        setmetatable(values, { __index = function()
          outside = outside + 1
          return 1
        end })
      end,
    }, { slots = 2 })
    assert.is_false(ok)
    assert.matches("worth left values%[1%] = nil, want a number", message)
    assert.are.equal(0, outside)
  end)
end)
