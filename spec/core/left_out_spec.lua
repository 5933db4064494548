-- Fields that must be given, left out one at a time: each call names the field and what it wants there.
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"
local serve = require "spec.support.run_engine"

local function without(fields, name)
  local rest = {}
  for key, value in pairs(fields) do
    if key ~= name then rest[key] = value end
  end
  return rest
end

local COUNT, NAME = "an integer in 1 .. 2147483647", "a number or a string"

-- { what messages begin with, all fields, what is wanted by name of a field, the call }
local function doors(engine, builder)
  local pool = {}
  return {
    { "gdnmeta.Engine:submit", { id = "new", prompt_tokens = 3, max_tokens = 2 },
      { id = NAME, prompt_tokens = COUNT, max_tokens = COUNT },
      function(given) return engine:submit(given) end },
    { "gdnmeta.Engine:fork", { id = "fork", max_tokens = 9 }, { id = NAME },
      function(given) return engine:fork("first", given) end },
    { "gdnmeta.worker", { engine = engine, model = function() end }, { engine = "an engine" },
      function(given) return gdn.worker(given) end },
    { "gdnmeta.reference.layer", { num_slots = 2, draw = function() return 0 end },
      { num_slots = COUNT, draw = "a function that returns numbers" },
      function(given) return gdn.reference.layer(given) end },
    { "gdnmeta.Builder:bring_states", { pool = pool, slot_bytes = 16 },
      { slot_bytes = "an integer in 1 .. 67108864" },
      function(given) return builder:bring_states(given) end },
    { "gdnmeta.Builder:bring_windows", { pool = pool, channels = 2, length = 3, element_bytes = 2 },
      { channels = "an integer in 1 .. 16777216", length = "an integer in 1 .. 1024",
        element_bytes = "1, 2, 4 or 8" },
      function(given) return builder:bring_windows(given) end },
  }
end

describe("A field that must be given", function()
  it("is named by each call that misses it, which changes nothing", function()
    local engine, builder = serve.engine "fcfs", serve.builder()
    assert(engine:submit(serve.request "first"))
    local calls = 0
    for _, door in ipairs(doors(engine, builder)) do
      local who, all, wanted, call = unpack(door)
      for name, what in pairs(wanted) do
        local rest = without(all, name)
        raises(("%s: %s = nil, want %s"):format(who, name, what), function() return nil, call(rest) end)
        calls = calls + 1
      end
    end
    assert.are.equal(11, calls)
    assert.are.same({ 1, 1 }, { engine.stats.arrived, engine.stats.waiting })
    assert.is_true(engine:submit { id = "new", prompt_tokens = 3, max_tokens = 2 })
    assert.is_true(engine:fork("first", { id = "fork" }))
    serve.run(engine)
    engine:close()
    builder:close()
  end)
end)
