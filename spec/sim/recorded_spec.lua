-- Recorded speculation: lists of emitted tokens read from a CSV.
local recorded_acceptance = require "gdnmeta.sim.recorded_acceptance"

local HEADER = "question_id,category,emitted_per_step\n"

describe("recorded speculation #lua", function()
  it("is a list of emitted tokens a dialogue, 0 read as 1", function()
    local lists = assert(recorded_acceptance.parse(HEADER .. "81,writing,1 4 0 3\r\n82,code,2\n", "t"))
    assert.are.same({ { 1, 4, 1, 3 }, { 2 } }, lists)
  end)

  it("is found by the column's name, in any dialect", function()
    for _, text in ipairs {
      "emitted_per_step,question\n1 4 0 3,81\n2,82\n",
      "\239\187\191question;emitted_per_step\r\n\r\n81;1 4 0 3\r\n82; 2 \r\n",
      'a\t"emitted_per_step"\tb\n"x\ty"\t"1 4 0 3"\t""\n"two\nlines"\t2\t',
    } do
      assert.are.same({ { 1, 4, 1, 3 }, { 2 } }, recorded_acceptance.parse(text, "t"))
    end
  end)

  for _, case in ipairs {
    { "gzip", "\31\139\8", "t:1: gzip data, want text: gunzip first" },
    { "nothing", "", "t:1: no column emitted_per_step" },
    { "a short line", HEADER .. "1,2\n", "t:2: 2 fields, want 3" },
    { "an open quote", HEADER .. '1,"2,3\n', "t:2: a quote is left open" },
    { "another file", "a,b\n1,2\n", "t:1: no column emitted_per_step" },
    { "a word", HEADER .. "1,x,1 two\n", "t:2: emitted_per_step has two, want integers in 0 .. 65" },
    { "more than drafts can give", HEADER .. "1,x,66\n",
      "t:2: emitted_per_step has 66, want integers in 0 .. 65" },
    { "a line without an end", HEADER .. "1,x,1\n2,x,1" .. ("0"):rep(2 ^ 24),
      "t:3: a line of more than 16777216 bytes" },
    { "an empty dialogue", HEADER .. "1,x,1\n2,x,\n", "t:3: emitted_per_step is empty" },
    { "no dialogue", HEADER, "t: no dialogue in it" },
  } do
    it("refuses " .. case[1], function()
      assert.are.same({ nil, case[3] }, { recorded_acceptance.parse(case[2], "t") })
    end)
  end
end)
