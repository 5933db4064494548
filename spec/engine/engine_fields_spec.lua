-- Every field that is documented of an engine can be read and is what the engine works with, and none can be
-- set.
local blocks = require "spec.support.blocks"
local serve = require "spec.support.run_engine"

local function documented()
  local names, text = {}, blocks.read "lua/gdnmeta/engine.lua"
  for name in text:match "%-%-%-@class gdnmeta.Engine\n(.-)\nlocal":gmatch "@field ([%w_]+)" do
    names[#names + 1] = name
  end
  return names
end

describe("An engine's fields", function()
  it("are those that are documented", function()
    for _, options in ipairs { {}, { kv_blocks = 9, kv_block_size = 16, hash_block_size = 16 },
                               { async = true } } do
      if options.async then options.second_builder = serve.builder() end
      local builder = options.hash_block_size and { max_blocks_per_row = 2 } or nil
      local engine = serve.engine("fcfs", options, builder)
      local private, names = engine.private, documented()
      assert.is_true(#names > 10)
      local want = { policy = engine.policy, policy_name = "fcfs", policy_enabled = true,
                     async = options.async or false, recording = false,
                     max_kv_blocks = options.kv_blocks and private.kv_blocks.columns or 0,
                     builder = private.options.builder, step_number = 0, num_spec = 0, stats = private.stats,
                     mixed_capture_sizes = private.mixed_capture_sizes,
                     cache = options.hash_block_size and engine.cache or false }
      for _, name in ipairs(names) do
        assert.are.equal(want[name], engine[name], name)
        assert.has_error(function() engine[name] = 1 end)
      end
      assert.are.equal(options.hash_block_size ~= nil, engine.cache ~= false)
      engine:close()
    end
  end)
end)
