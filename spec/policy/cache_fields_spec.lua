-- What a cache's hooks ask for by a wrong name, and what they write, is a named failure at the hook's line:
-- of code that has a budget and of code that has none, in an engine and in the lab.
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"

local NODE = "node has no field hit, want one of age, answer, children, created, hits, id, is_new, "
  .. "kv_bytes, length, on_host, parent_gap, pinned, priority, refs, session, "
local CTX = "ctx has no field block, want one of block_size, blocks_end, every, flops, from, host_slots, "
  .. "now, slots, to"

-- Hook, what it does, what is said.
local WRONGS = {
  { "worth", function(nodes) return nodes[1].hit end, NODE },
  { "keep", function(node) return node.hit end, NODE },
  { "demote", function(node) return node.hit end, NODE },
  { "keep", function(node) return node.passes > 0 end, (NODE:gsub("hit,", "passes,", 1)) }, -- the index's own
  { "worth", function(_, _, _, ctx) return ctx.block end, CTX },
  { "keep", function(_, ctx) return ctx.block end, CTX },
  { "checkpoints", function(_, _, _, ctx) return ctx.block end, CTX },
  { "checkpoints", function(r) return r.promptend end, "r has no field promptend, want one of " },
  { "checkpoints", function(r) r.hit = 1 end, "r is read-only, cannot set hit" },
  { "checkpoints", function(_, _, _, ctx) ctx.slots = 1 end, "ctx is read-only, cannot set slots" },
  { "worth", function(_, _, _, ctx) ctx.mine = 1 end, "ctx is read-only, cannot set mine" },
  { "worth", function(nodes) setmetatable(nodes[1], {}) end, "cannot change a protected metatable" },
  { "checkpoints", function(_, _, _, ctx) local l = ctx.every "x" return l end, 'ctx.every("x"): want' },
  { "worth", function(_, _, _, ctx) local n = ctx.flops(1, "x") return n end, 'ctx.flops(1, "x"): want' },
  { "worth", function(_, _, _, ctx) local n = ctx.flops("x", 1) return n end, 'ctx.flops("x", 1): want' },
}

local function blocks(text) return { text * 10 + 1, text * 10 + 2, text * 10 + 3, text * 10 + 4 } end

local function play(e)
  for text = 1, 8 do
    assert(e:submit(serve.request(text, { prompt_tokens = 18, max_tokens = 1, blocks = blocks(text) })))
    while not e:idle() do assert(e:complete(assert(e:step(text)), text)) end
  end
end

local function in_engine(cache)
  local e = serve.caching_engine({ cache = cache, host_slots = 2 }, { num_slots = 6 })
  play(e)
  local failure = e:failures()[1] or {}
  e:close()
  return failure.hook, failure.message
end

local function in_lab(cache)
  local requests = { block_size = 4 }
  for i = 1, 8 do requests[i] = { arrival = i, prompt = 17, output = 1, blocks = blocks(i) } end
  local ok, message = pcall(gdn.sim.lab.replay, requests, cache, { slots = 2 })
  if not ok then return message:match "^(%a+) failed: (.*)" end
end

describe("A cache's hook", function()
  it("that reads or writes what is not there is told so, by name", function()
    for case, wrong in ipairs(WRONGS) do
      local hook, does = unpack(wrong)
      for _, trusted in ipairs { false, true } do
        for place, run in pairs { engine = in_engine, lab = hook ~= "demote" and in_lab or nil } do
          local at = ("case %d, %s, %s"):format(case, place, trusted and "trusted" or "contained")
          local failed, message = run(gdn.cache({ name = "c", [hook] = does }, { trusted = trusted }))
          assert.are.equal(hook, failed, at)
          local written = debug.getinfo(does, "S") -- on one line
          local said = ("%s:%d: %s"):format(written.short_src, written.linedefined, wrong[3])
          assert.are.equal(said, message:sub(1, #said), at)
        end
      end
    end
  end)

  it("that changes its engine fails, and is named as the cache's", function()
    for _, hook in ipairs { "checkpoints", "keep", "worth", "demote" } do
      local e
      e = serve.caching_engine({ host_slots = 2, cache = {
        [hook] = function() e:submit(serve.request(99)) end } }, { num_slots = 6 })
      play(e)
      assert.matches("gdnmeta.Engine:submit: called by the cache's hook " .. hook .. "$",
                     e:failures()[1].message)
      e:close()
    end
  end)

  it("is told of no answer where a prompt ends with a block whose state it named", function()
    for named, wanted in pairs { [8] = "8 false, ", [4] = "4 false, 8 true, " } do
      local seen = ""
      local e = serve.caching_engine({ cache = {
        checkpoints = function() return { named } end,
        keep = function(node)
          seen = seen .. ("%d %s, "):format(node.tokens, tostring(node.answer))
          return not node.answer
        end } }, { num_slots = 6 })
      assert(e:submit(serve.request(1, { prompt_tokens = 8, max_tokens = 1, blocks = { 1, 2 } })))
      serve.run(e)
      assert.are.same({ wanted, 1 }, { seen, e:cached().states })
      e:close()
    end
  end)

  it("may ask for what a node, a request or a moment lacks", function()
    local calls = 0
    local function none(...)
      calls = calls + 1
      assert(select("#", ...) == 4)
      for k = 1, 4 do assert((select(k, ...)) == nil) end
    end
    local cache = { name = "c",
      checkpoints = function(r)
        none(r.session, nil, nil, nil)
        assert(r.user == "" and r.class == "")
        return { r.prompt_end }
      end,
      keep = function(node)
        none(node.session, node.session_age, node.id, node.state_bytes)
        assert(not node.on_host and node.is_new)
        return node.state_hits + node.state_age + node.priority + node.session_requests == 0
      end,
      worth = function(nodes, n, values)
        for k = 1, n do
          none(nodes[k].session, nodes[k].session_age, nodes[k].answer, nil)
          values[k] = nodes[k].created
        end
      end }
    local requests = { block_size = 4 }
    for i = 1, 8 do requests[i] = { arrival = i, prompt = 17, output = 1, blocks = blocks(i) } end
    assert.are.equal(8, gdn.sim.lab.replay(requests, cache, { slots = 2 }).made)
    assert.is_true(calls > 20)
  end)
end)
