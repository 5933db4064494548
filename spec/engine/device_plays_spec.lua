-- The plays of engine_plays_spec.lua on a device that is in host memory, where the accepted counts lie, too,
-- of some: a checksum of each against spec/goldens/texts.
local drivers = require "spec.support.driver"
local engine_play = require "spec.support.engine_play"
local golden = require "spec.support.golden"

local PLAYS = 24

describe("Plays of engines on a device #lua", function()
  local driver
  setup(function()
    driver = drivers.open "fake"
    jit.off()
  end)
  teardown(function()
    jit.on()
    driver:close()
    math.randomseed(os.time())
  end)

  it("come to these sums", function()
    local lines = {}
    for case = 1, PLAYS do
      lines[case] = engine_play.play(case, function(c)
        c.device, c.async = "cuda", case % 4 > 0
        local n = 2 * c.seqs
        if c.async and case % 4 > 1 then
          local ones = {}
          for k = 1, n do ones[k] = 1 end
          c.accepted = driver:int32(n)
          driver:write(c.accepted, ones)
        end
      end)
    end
    golden("device-plays", table.concat(lines, "\n") .. "\n")
  end)
end)
