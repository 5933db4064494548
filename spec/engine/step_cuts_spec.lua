-- Where the code of a step is cut into pieces for LuaJIT (native/trace_cuts.lua), against spec/goldens/texts.
-- traces_spec.lua says what the cuts are good for.
local golden = require "spec.support.golden"

describe("The cuts of a step", function()
  it("are where they were", function()
    local pipe = io.popen "luajit spec/support/step_cuts.lua"
    local text = pipe:read "*a"
    pipe:close()
    golden("step-cuts", text)
  end)
end)
