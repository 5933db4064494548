-- Where the code of a step is cut into pieces for LuaJIT (native/trace_cuts.lua), and what each place is told
-- of changes, against spec/goldens/texts. traces_spec.lua says what the cuts are good for.
local golden = require "spec.support.golden"

describe("The cuts of a step", function()
  it("are where they were, and in a step like the one before all are joints", function()
    local pipe = io.popen "luajit spec/support/step_cuts.lua"
    local text = pipe:read "*a"
    pipe:close()
    golden("step-cuts", text)
    -- The first one is told what the step before was.
    local steady = assert(text:match "== no cache, like the one before\n[^\n]+\n(.-)== ")
    for line in steady:gmatch "[^\n]+" do assert(line:find "%l 0", line) end
  end)
end)
