-- All figures of the lab, for each shipped cache, few slots and many, and indexes that know few prompts; and
-- what its options may be: against spec/goldens/texts.
local gdn = require "gdnmeta"
local noted = require "spec.support.noted"
local workload = require "gdnmeta.sim.workload"

local lab = gdn.sim.lab
local notes = noted.new "lab-"

-- Prompts of blocks of four tokens, of which many begin alike; some have no identity.
local function random_prompts(seed, n)
  local random, requests, lists = workload.random(seed), { block_size = 4 }, {}
  for i = 1, n do
    local from, list = lists[1 + math.floor(random() * i)] or {}, {}
    for k = 1, math.floor(random() * (#from + 1)) do list[k] = from[k] end
    for k = #list + 1, #list + math.floor(random() * 4) do list[k] = 1000 * i + k end
    lists[i] = list
    requests[i] = { arrival = i / 4, prompt = 4 * #list + 1 + math.floor(random() * 4), output = 1,
                    blocks = random() < 0.9 and list or nil, session = random() < 0.5 and i % 3 or nil }
  end
  return requests
end

local function figures(run)
  local windows = {}
  for k, w in ipairs(run.over_time) do windows[k] = ("%g:%.4g/%d"):format(w.at, w.hit, w.prompt_tokens) end
  return { run.hit, run.ceiling, run.hit_tokens, run.prompt_tokens, run.hit_requests }, "made", run.made,
    "used", run.used, run.unused, "evicted", run.evictions, run.bytes, table.concat(windows, " "),
    table.concat(run.cached, " ")
end

describe("The lab's figures #lua", function()
  before_each(notes.clear)

  it("are those of every cache, with few slots and prompts and with many", function()
    local requests = random_prompts(7, 40)
    for _, cache in ipairs { "every_block", "fifo", "fork_and_last", "gdsf", "last_block", "marconi",
                             "offsets", "retain_tail", "segment_length", "superseded_first",
                             "turns_by_tokens" } do
      for _, o in ipairs { { slots = 3, windows = 3, state_bytes = 10 },
                           { slots = 12, batch = 1, kv_bytes = 0 }, { slots = 5, nodes = 6, windows = 1 },
                           { slots = 30, nodes = 3, batch = 2 } } do
        notes.note(cache, o, figures(lab.replay(requests, cache, o)))
      end
      notes.note(cache, figures(lab.replay(requests, cache)))
    end
    notes.check "figures"
  end)

  it("are of worth that is asked about nodes alone, also where all are in use or none is known", function()
    for seed = 1, 6 do
      for _, o in ipairs { { slots = 1, nodes = 1 }, { slots = 1, nodes = 2 }, { slots = 2, nodes = 3 } } do
        local asked = 0
        local run = lab.replay(random_prompts(seed, 30), gdn.cache { worth = function(nodes, n, values)
          assert(n > 0)
          asked = asked + n
          for i = 1, n do values[i] = nodes[i].tokens end
        end, checkpoints = function(_, _, _, ctx) return ctx.every(4) end }, o)
        notes.note("few", seed, o, asked, figures(run))
      end
    end
    notes.check "few"
  end)

  it("are none where a hook fails, and the hook and what it did are named", function()
    local requests, bodies = random_prompts(2, 6), {
      checkpoints = {
        "error('text')", "error({})", "error(nil)", "return 5", "return { -1 }", "return { 1.5 }",
        "error(setmetatable({}, { __tostring = function() return 'worded' end }))", "while true do end",
        "local x = r.nope", "r.id = 1", "coroutine.yield(1)", "ctx.now = 3",
      },
      keep = { "return nil", "return 'x'", "return 0 / 0", "error('text')" },
      worth = { "values[1] = nil", "values[1] = 0 / 0", "values[1] = 'x'", "error('text')" },
    }
    local parameters = { checkpoints = "r, from, to, ctx", keep = "node, ctx",
                         worth = "nodes, n, values, ctx" }
    for _, hook in ipairs { "checkpoints", "keep", "worth" } do
      for _, body in ipairs(bodies[hook]) do
        local source = ("return { %s = function(%s) %s end }"):format(hook, parameters[hook], body)
        for _, trusted in ipairs { false, true } do
          if not (trusted and body:find "while") then
            local cache = assert(gdn.cache("c.lua", { source = source, trusted = trusted }))
            local ok, message = pcall(lab.replay, requests, cache, { slots = 1 })
            notes.note(hook, trusted, body .. ":", ok or message)
          end
        end
      end
    end
    notes.check "failures"
  end)

  it("are of requests as hooks see them", function()
    local requests = random_prompts(4, 5)
    requests[1].user, requests[2].class, requests[3].session, requests[4].arrival = "u", "c", "s", nil
    lab.replay(requests, gdn.cache { checkpoints = function(r, from, to, ctx)
      notes.note("r", r.id, r.user, r.session, r.class, r.arrival, r.deadline, r.prompt_tokens, r.known,
        r.max_tokens, r.hit, r.cached_tokens, r.cached_prefix, r.computed_tokens, r.want, r.junction,
        r.prompt_end, r.slots, r.weight, r.priority)
      notes.note("ctx", from, to, ctx.from, ctx.to, ctx.block_size, ctx.slots, ctx.host_slots, ctx.now,
        ctx.blocks_end, ctx.flops(4, 8), ctx.every(4), ctx.every(8))
      return { r.prompt_end }
    end }, { slots = 2 })
    notes.check "views"
  end)

  it("are of nodes as hooks see them, also after a session's states have left and come again", function()
    local requests = random_prompts(11, 40)
    for i, r in ipairs(requests) do r.session, r.user = i % 4, "u" .. i % 3 end
    lab.replay(requests, gdn.cache { worth = function(nodes, n, values, ctx)
      assert(n > 0)
      for i = 1, n do
        local node = nodes[i]
        values[i] = (node.tokens * 7 + node.state_hits) % 11
        notes.note(ctx.now, node.tokens, node.session, node.user, node.superseded, node.session_age,
          node.session_requests, node.state_hits, node.state_age, node.children)
      end
    end }, { slots = 3, nodes = 8 })
    notes.check "nodes"
  end)

  it("are of states that keep is asked about", function()
    lab.replay(random_prompts(3, 12), gdn.cache { keep = function(node, ctx)
      notes.note(ctx.now, node.tokens, node.parent_gap, node.session, node.is_new)
      return node.tokens
    end, checkpoints = function(_, _, _, ctx) return ctx.every(4) end }, { slots = 3 })
    notes.check "keep"
  end)

  it("are, without options, those of the options that are named as default", function()
    local requests, seen = random_prompts(5, 300), {}
    for k, o in ipairs { false, { slots = 256, windows = 20, state_bytes = 2 ^ 20, kv_bytes = 2 ^ 14 } } do
      local sums = {}
      local cache = gdn.cache { worth = function(nodes, n, values, ctx)
        for i = 1, n do
          values[i] = nodes[i].tokens
          sums[#sums + 1] = nodes[i].kv_bytes .. " " .. nodes[i].state_bytes .. " " .. ctx.slots
        end
      end, checkpoints = function(_, from, _, ctx) return ctx.every(4) or { from } end }
      seen[k] = { lab.replay(requests, cache, o or nil), sums }
    end
    assert.is_true(#seen[1][2] > 0)
    assert.are.same(seen[2], seen[1])
  end)

  it("are of options in their ranges", function()
    local requests = random_prompts(1, 3)
    for _, name in ipairs { "slots", "batch", "nodes", "windows", "state_bytes", "kv_bytes", "slot" } do
      for _, value in ipairs { -1, 0, 1, 256, 257, 1000, 1001, 2 ^ 22, 2 ^ 22 + 1, 2 ^ 26, 2 ^ 26 + 1, 2 ^ 40,
                               2 ^ 40 + 1, 1.5, "7" } do
        local o, size = { [name] = value }, tonumber(value)
        -- An index of so many nodes takes too much memory to try out.
        if not (name == "nodes" and size > 1001 and size <= 2 ^ 26) then
          local ok, message = pcall(lab.replay, requests, "fifo", o)
          notes.note(name, value, ok or message:gsub("^[^:]*:%d+: ", ""))
        end
      end
    end
    for _, cache in ipairs { false, 7, "lru", print } do
      local ok, message = pcall(lab.replay, requests, cache or nil)
      notes.note("cache", ok or message:gsub("^[^:]*:%d+: ", ""):gsub("function: %S+", "a function"))
    end
    notes.check "options"
  end)
end)
