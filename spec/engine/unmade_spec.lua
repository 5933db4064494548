-- An engine of which one part cannot be made, for lack of memory: gdn.engine says so, and the builders are
-- the host's again.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local serve = require "spec.support.run_engine"

local OPTIONS = { max_model_len = 64, kv_blocks = 40, kv_block_size = 4, hash_block_size = 4, async = true }
local BUILDER = { max_blocks_per_row = 3, num_slots = 20, num_groups = 2 }

local function options_of(builder, second)
  local o = { builder = builder, second_builder = second }
  for name, value in pairs(OPTIONS) do o[name] = value end
  return o
end

local SIZES = "max_requests = 8, max_model_len = 64, kv_blocks = 40, kv_block_size = 4, hash_block_size = 4, "
  .. "host_slots = 0"

-- What a part of an engine is made by, in a place that can be set over.
local PARTS = {
  { "blocks of attention cache", require "gdnmeta.engine.kv_blocks", "new" },
  { "pools of slots", require "gdnmeta.engine.request_memory", "new" },
  { "a state cache", require "gdnmeta.engine.prefix.prefix_cache", "new" },
  { "a batch", "builder", "batch" },
  { "a second batch", "second", "batch" },
  { "a second table", "second", "borrow_table" },
  { "a queue", require "gdnmeta.engine.queue.by_key", "new" },
}

describe("An engine that cannot be made", function()
  for _, part in ipairs(PARTS) do
    it("for lack of " .. part[1] .. " leaves its builders as they were", function()
      local builder, second = serve.builder(BUILDER), serve.builder(BUILDER)
      local place = part[2] == "builder" and builder or part[2] == "second" and second or part[2]
      local whole = rawget(place, part[3])
      rawset(place, part[3], function() return nil, "none is left", gdn.ENOMEM end)
      local o = options_of(builder, second)
      o.policy = "shortest_prefill"
      local is_whole, engine, message, code = pcall(gdn.engine, o)
      rawset(place, part[3], whole)
      assert.is_true(is_whole, engine)
      assert.are.same({ nil, gdn.ENOMEM }, { engine, code })
      assert.are.equal(part[1] == "a queue" and "no memory for a queue" or "none is left", message)
      for group = 0, 1 do -- which it can write, as it reads its own tables again
        assert.is_true(pcall(second.set_blocks, second, group, 0, { 3 }))
        assert.are.equal(3, lib.gdn_builder_table(second.handle, group)[0])
      end
      engine = assert(gdn.engine(options_of(builder, second)))
      assert(engine:submit(serve.request "a"))
      serve.run(engine)
      assert.are.same({ 0, 0 }, { engine:slots().used, engine:kv().used })
      engine:close()
      second:close()
      builder:close()
    end)
  end

  it("for lack of Lua memory, or for an array that LuaJIT does not make, says its sizes", function()
    local plan = require "gdnmeta.engine.plan"
    local new, no_memory = plan.new, "no memory for an engine of " .. SIZES
    for raised, want in pairs {
      ["not enough memory"] = { true, nil, no_memory, gdn.ENOMEM },
      ["a.lua:1: bad argument #1 to 'f' (size of C type is unknown or too large)"] =
        { true, nil, no_memory, gdn.ENOMEM },
      ["a fault of ours"] = { false, "a fault of ours" },
    } do
      local builder, second = serve.builder(BUILDER), serve.builder(BUILDER)
      function plan.new() error(raised, 0) end
      local got = { pcall(gdn.engine, options_of(builder, second)) }
      plan.new = new
      assert.are.same(want, got)
      assert.is_true(pcall(second.set_blocks, second, 0, 0, { 3 })) -- which it can write again
      assert(gdn.engine(options_of(builder, second))):close()
      second:close()
      builder:close()
    end
  end)
end)

describe("A hit", function()
  it("has memory for as many blocks as there are, not for those of the longest request", function()
    for kv_blocks, most in pairs { [100] = 100, [300] = 200 } do
      local e = serve.caching_engine { kv_blocks = kv_blocks, kv_block_size = 1, max_model_len = 200 }
      assert.are.equal(4 * most, ffi.sizeof(e.private.prefix.shared))
      e:close()
    end
  end)
end)
