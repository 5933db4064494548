-- Made-up sessions in full, against spec/goldens/texts: what the kinds are, and what few sessions of each
-- are: every draw stands in some length, time or id.
local dialogues = require "gdnmeta.sim.dialogues"
local noted = require "spec.support.noted"

local notes = noted.new "dialogues-"
local note, check = notes.note, notes.check

-- Ids as runs, for those of a prompt mostly follow one another.
local function runs(ids)
  local list, first = {}, 1
  for k = 1, #ids do
    if ids[k + 1] ~= ids[k] + 1 then
      list[#list + 1] = first == k and tostring(ids[k]) or ids[first] .. "-" .. ids[k]
      first = k + 1
    end
  end
  return table.concat(list, ",")
end

local function note_session(requests)
  note("list", requests.name, requests.block_size, #requests)
  local number = {}
  for i, r in ipairs(requests) do
    number[r] = i
    note(i, r.session, ("%.3f"):format(r.arrival), r.prompt, r.output, number[r.after] or "first",
      r.think and ("%.3f"):format(r.think) or "", runs(r.blocks))
    local fields = {}
    for field in pairs(r) do fields[#fields + 1] = field end
    assert.are.equal(r.after and 7 or 5, #fields)
  end
end

describe("Made-up sessions #lua", function()
  before_each(notes.clear)

  it("are of kinds that are made of these numbers", function()
    note("kinds", dialogues.KINDS)
    check "kinds"
  end)

  it("are these", function()
    note_session(dialogues.generate { sessions = 40 })
    note_session(dialogues.generate { kind = "conversation", sessions = 40, seed = 9, block_size = 64 })
    note_session(dialogues.generate { kind = "synthetic", sessions = 30, seed = 0 })
    note_session(dialogues.generate { kind = "agents", sessions = 7, seed = 2 ^ 32 - 1, block_size = 2048 })
    check "requests"
  end)

  it("come to these sums in many sessions, which take every turn that there is", function()
    for _, o in ipairs { { "conversation", 400 }, { "synthetic", 400 }, { "agents", 60 } } do
      local requests = dialogues.generate { kind = o[1], sessions = o[2], seed = 3 }
      local prompts, outputs, ids, sum = 0, 0, 0, 0
      for i, r in ipairs(requests) do
        prompts, outputs, ids = prompts + r.prompt, outputs + r.output, ids + #r.blocks
        for k, id in ipairs(r.blocks) do sum = (sum * 31 + id + k + i) % 2 ^ 31 end
      end
      note(o[1], #requests, prompts, outputs, ids, sum, ("%.3f"):format(requests[#requests].arrival))
    end
    check "sums"
  end)

  it("take these options alone", function()
    for _, o in ipairs {
      { seed = -1 }, { seed = 2 ^ 32 }, { sessions = 0 }, { sessions = 1e6 + 1 }, { sessions = 1.5 },
      { block_size = 0 }, { block_size = 2 ^ 20 + 1 }, { kind = "x" }, { n = 1 },
      { seed = 0, sessions = 1, block_size = 1 }, { sessions = 1e6, block_size = 2 ^ 20 },
    } do
      note("problem", o, dialogues.problem(o))
    end
    check "options"
  end)
end)
