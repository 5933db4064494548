-- Methods that are called with a dot say so, at the caller's line, before they look at anything else.
local gdn = require "gdnmeta"
local new_path = require "spec.support.new_path"
local serve = require "spec.support.run_engine"
local stands = require "spec.support.stands"

local METHODS = {
  Batch = "push add clear close", Step = "id", Metadata = "group", Tensor = "totable at dlpack",
  Recording = "close", Reader = "next close", Metrics = "text close", Layer = "forward sequence extend",
}

-- One object of each class. path: of a recording.
local function objects(path)
  local engine = serve.engine "fcfs"
  local made = { Metrics = assert(gdn.metrics(engine)), Recording = assert(engine:record(path)) }
  assert(engine:submit(serve.request(1)))
  made.Step = assert(engine:step(0))
  made.Metadata, made.Batch = made.Step.metadata, engine.builder:batch()
  made.Tensor = made.Metadata.non_spec_query_start_loc
  assert(engine:complete(made.Step, 1))
  made.Layer = gdn.reference.layer { num_slots = 2, heads = 1, key_dim = 1, value_dim = 1,
                                     draw = function() return 0 end }
  return made, engine
end

describe("A method called with a dot", function()
  it("says so", function()
    local path = new_path()
    finally(function() os.remove(path) end)
    local made, engine = objects(path)
    assert(made.Recording:close())
    made.Reader = assert(gdn.record.open(path))
    for class, names in pairs(METHODS) do
      local object = assert(made[class], class)
      for name in names:gmatch "%S+" do
        local what, method = ("gdnmeta.%s:%s: call it with a colon"):format(class, name), object[name]
        for _, first in pairs { 5, print, {}, made[class == "Batch" and "Step" or "Batch"] } do
          stands(what, function() method(first, print) end)
        end
        stands(what, function() method() end)
      end
    end
    made.Reader:close()
    engine:close()
  end)
end)
