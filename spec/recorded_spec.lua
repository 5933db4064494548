local recorded = require "gdnmeta.sim.recorded"

local HEADER = "question_id,category,emitted_per_step\n"

describe("recorded speculation #lua", function()
  it("is a list of emitted tokens a dialogue, 0 read as 1", function()
    local lists = assert(recorded.parse(HEADER .. "81,writing,1 4 0 3\r\n82,code,2\n", "t"))
    assert.are.same({ { 1, 4, 1, 3 }, { 2 } }, lists)
  end)

  for _, case in ipairs {
    { "another file", "a,b\n1,2\n", "t:1: the last column is not emitted_per_step" },
    { "a word", HEADER .. "1,x,1 two\n", "t:2: emitted_per_step has two, want integers in 0 .. 65" },
    { "more than drafts can give", HEADER .. "1,x,66\n",
      "t:2: emitted_per_step has 66, want integers in 0 .. 65" },
    { "an empty dialogue", HEADER .. "1,x,1\n2,x,\n", "t:3: emitted_per_step is empty" },
    { "no dialogue", HEADER, "t: no dialogue in it" },
  } do
    it("refuses " .. case[1], function()
      assert.are.same({ nil, case[3] }, { recorded.parse(case[2], "t") })
    end)
  end
end)
