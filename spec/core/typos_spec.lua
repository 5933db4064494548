-- Names that an object does not have, methods called with a dot, and objects that are closed: all say so at
-- the caller's line.
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"
local serve = require "spec.support.run_engine"

local path = os.tmpname()

-- name -> { class as messages have it, the object }
local function objects()
  local engine = serve.engine "fcfs"
  assert(engine:submit(serve.request(1)))
  local recording = assert(engine:record(path))
  local step = assert(engine:step(0))
  return {
    engine = { "Engine", engine }, step = { "Step", step }, builder = { "Builder", engine.builder },
    batch = { "Batch", engine.builder:batch() }, metadata = { "Metadata", step.metadata },
    tensor = { "Tensor", step.metadata.non_spec_query_start_loc }, policy = { "Policy", engine.policy },
    recording = { "Recording", recording }, reader = { "Reader", assert(gdn.record.open(path)) },
    layer = { "Layer", gdn.reference.layer { num_slots = 2, draw = math.random } },
    metrics = { "Metrics", gdn.metrics(engine) },
    cache = { "StateCache", serve.caching_engine().cache },
  }, engine
end

local METHODS = {
  engine = { "submit", "cancel", "step", "complete", "idle", "slots", "kv", "request", "checkpoint",
             "release", "failures", "set_policy", "policy_reset", "record", "close", "fork", "export",
             "receive", "set_cache", "cached", "lose_states" },
  step = { "id" }, builder = { "batch", "build", "build_raw", "capture", "close", "table" },
  batch = { "push", "add", "pad", "index", "clear", "close" },
  metadata = { "group" }, tensor = { "totable", "at", "dlpack" }, recording = { "close" },
  reader = { "next", "close" }, layer = { "forward", "sequence", "extend" }, metrics = { "text", "close" },
  cache = { "stats", "health", "nodes" },
}

-- In the annotations of the class.
local function is_documented(name)
  for line in io.lines "lua/gdnmeta/engine.lua" do
    if line:find("---@field " .. name .. " ", 1, true) then return true end
  end
  return false
end

describe("An object", function()
  local all, engine
  before_each(function() all, engine = objects() end)
  after_each(function()
    engine:close()
    os.remove(path)
  end)

  it("has no field that it has not", function()
    for name, pair in pairs(all) do
      local class, object = pair[1], pair[2]
      local function look() return object.tpyo end
      local ok, message = pcall(look)
      local line = debug.getinfo(look, "S").linedefined
      assert.is_false(ok, name)
      assert.matches(("typos_spec.lua:%d: gdnmeta.%s: no field \"?tpyo"):format(line, class), message)
    end
  end)

  it("takes no field that it has not", function()
    for name, pair in pairs(all) do
      local function set() pair[2].tpyo = 1 end
      local ok, message = pcall(set)
      local line = debug.getinfo(set, "S").linedefined
      assert.is_false(ok, name)
      assert.matches(("typos_spec.lua:%d: gdnmeta.%s: "):format(line, pair[1]), message)
      assert.matches("tpyo", message)
    end
  end)

  it("is called with a colon", function()
    for name, methods in pairs(METHODS) do
      for _, method in ipairs(methods) do
        local class, object = all[name][1], all[name][2]
        for _, wrong in ipairs { false, {}, "x", 7 } do
          raises(("gdnmeta.%s:%s: call it with a colon"):format(class, method),
                 function() object[method](wrong or nil) end)
        end
      end
    end
  end)

  it("has the fields that are documented, whatever they hold", function()
    local step = all.step[2]
    for _, name in ipairs { "stats", "policy", "num_spec", "builder", "policy_enabled", "recording" } do
      assert.is_not_nil(engine[name])
      raises(("gdnmeta.Engine: %q is read-only"):format(name), function() engine[name] = 1 end)
    end
    for name in pairs(engine.private) do -- what is not documented is of the engine's own files
      if not is_documented(name) then
        raises(("gdnmeta.Engine: no field %q"):format(name), function() return engine[name] end)
      end
    end
    assert.is_nil(step.policy_seconds)
    assert.is_nil(step.build_seconds)
    assert(engine:complete(step, 1))
    assert.is_nil(all.policy[2].victim) -- a hook that this policy has not
    assert.is_nil(all.recording[2].stopped)
  end)
end)

describe("A closed engine", function()
  it("answers nothing", function()
    local engine = serve.engine "fcfs"
    engine:close()
    for _, method in ipairs(METHODS.engine) do
      if method ~= "close" and method ~= "release" then
        raises("gdnmeta.Engine: closed", function() engine[method](engine) end)
      end
    end
    engine:close()
    assert.matches("closed", tostring(engine))
  end)
end)

describe("The library", function()
  it("has no room that it has not", function()
    raises('gdnmeta: no field "bulder"', function() return gdn.bulder end)
    raises('gdnmeta.sim: no field "rnu"', function() return gdn.sim.rnu end)
  end)
end)
