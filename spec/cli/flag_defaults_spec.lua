-- The defaults that --help of simulate and sweep names, in parentheses at the end of each line, are those of
-- the simulator and the engine.
local engine = require "gdnmeta.engine.options"
local flags = require "gdnmeta.cli.flags"
local scenario = require "gdnmeta.sim.scenario"

-- Defaults that no table has: of the generated workload, and of a trace without users or pauses.
local ELSEWHERE = { skip = "0", users = "8; a trace's own", think = "10; a trace's own" }

describe("A default in --help #lua", function()
  it("is the one that is used", function()
    local compared = 0
    for _, flag in ipairs(flags.list) do
      local name, text = flag[3], flag[5]:match "%(([^()]*)%)%.$"
      local entry = scenario.OPTIONS[name]
      local default = entry and entry[1]
      if default == nil then default = engine.DEFAULTS[name] end
      if not flag[4] then
        assert.is_true(not default, flag[1] .. " is off unless it is given")
      elseif default ~= nil then
        assert.are.equal(type(default) == "number" and ("%.15g"):format(default) or default, text, flag[1])
        compared = compared + 1
      else
        assert.is_truthy(text, flag[1] .. " does not say its default")
        local is_prose = not text:find "^%d" or text:find "^%d+ times %-%-" ~= nil
        assert.is_true(is_prose or text == ELSEWHERE[name], flag[1] .. ": " .. text)
      end
    end
    assert.is_true(compared > 10, compared .. " defaults")
  end)
end)
