-- What engines of every make do with all that a host may do, drawn: a checksum of everything that can be seen
-- of them, of each step, request, refusal, print, page of metrics and line of a recording, with counts beside
-- it, against spec/goldens/texts. A change that is meant changes some: the counts say how much.
local golden = require "spec.support.golden"
local engine_play = require "spec.support.engine_play"

local PLAYS = 48

-- So many engines are sooner done than compiled.
describe("Plays of engines #lua", function()
  setup(jit.off)
  teardown(function()
    jit.on()
    math.randomseed(os.time())
  end)

  it("come to these sums", function()
    local lines = {}
    for case = 1, PLAYS do lines[case] = engine_play.play(case) end
    golden("engine-plays", table.concat(lines, "\n") .. "\n")
  end)
end)
