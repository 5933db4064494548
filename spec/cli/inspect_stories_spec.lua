-- What gdnmeta inspect tells of recordings that were made up: steps with gaps, steps that were built again,
-- steps without rows, ids that come again. Against spec/goldens/texts.
local golden = require "spec.support.golden"
local inspect_request = require "gdnmeta.cli.inspect_request"
local validate = require "gdnmeta.record.validate"
local waiting_reasons = require "gdnmeta.record.waiting_reasons"
local workload = require "gdnmeta.sim.workload"

local IDS = { "a", 7, 1e15 }
local ENDS = { "stop", "length", "cancelled", "rejected: why" }

local function words()
  local list = {}
  for name in pairs(waiting_reasons.WORDS) do list[#list + 1] = name end
  table.sort(list)
  list[#list + 1] = "unknown"
  return list
end
local WHY = words()

-- Lines of a recording in which three requests come, wait, run, are preempted and end.
local function made_up(seed)
  local random = workload.random(seed)
  local function upto(n) return math.floor(random() * (n + 1)) end
  local lines, state, number = {}, {}, upto(2)
  for _ = 1, 14 do
    number = number + (random() < 0.2 and upto(3) or 1)
    local who, did, waits, why, ids = {}, {}, {}, {}, {}
    local line = { now = number / 4, ids = ids, query_len = {}, seq_len = {}, drafts = {}, prompt_done = {} }
    local cached, restored = {}, {}
    for k, id in ipairs(IDS) do
      local function news(what, to)
        who[#who + 1], did[#did + 1], state[k] = id, what, to
      end
      local is, x = state[k], random()
      if is == nil and x < 0.5 then
        news("came", "waits")
        waits[#waits + 1], why[#why + 1] = id, WHY[1 + upto(#WHY - 1)]
      elseif is == "waits" and x < 0.35 then
        news("started", "runs")
        cached[#ids + 1], restored[#ids + 1] = upto(2), upto(1)
      elseif is == "waits" and x < 0.6 then
        waits[#waits + 1], why[#why + 1] = id, WHY[1 + upto(#WHY - 1)]
      elseif is == "runs" and x < 0.12 then
        news("preempted", "waits")
      elseif is ~= nil and x > 0.88 then
        news(ENDS[1 + upto(3)], nil)
      end
      if state[k] == "runs" and random() < 0.8 then
        local row = #ids + 1
        ids[row], line.query_len[row], line.seq_len[row] = id, 1 + upto(3), number * 10 + upto(9)
        line.drafts[row], line.prompt_done[row] = upto(2) - 1, upto(1)
        cached[row], restored[row] = cached[row] or 0, restored[row] or 0
      end
    end
    line.who, line.did = who[1] and who, who[1] and did
    line.waits, line.why = waits[1] and waits, waits[1] and why
    if #ids == 0 then
      line.empty = number
    else
      line.step = number
      if random() < 0.7 then line.cached = cached end
      if random() < 0.5 then line.restored = restored end
    end
    if line.step or line.who or line.waits then lines[#lines + 1] = line end
    if line.step and random() < 0.1 then lines[#lines + 1] = line end -- built again
    if line.step and random() < 0.05 then lines[#lines + 1] = { step = number, now = 0 } end -- without ids
  end
  local after = random() < 0.5 and { after = number + upto(3), who = { IDS[2] }, did = { ENDS[1 + upto(2)] } }
  return lines, after or nil
end

describe("Of a recording that was made up", function()
  it("each request has its story", function()
    local out = {}
    local function say(line) out[#out + 1] = line end
    for seed = 1, 20 do
      local lines, after = made_up(seed)
      for _, wanted in ipairs { "a", "7", "1e+15", "none" } do
        say(("%d, %s:"):format(seed, wanted))
        local story = inspect_request.new(wanted, say, validate.short)
        for _, line in ipairs(lines) do
          if line.empty then story:empty(line) else story:step(line) end
        end
        if not story:close(after) then say "  not found" end
      end
    end
    golden("inspect-stories", table.concat(out, "\n") .. "\n")
  end)

  it("what has no step at all has a story of what came after", function()
    for _, after in ipairs { { after = 0, who = { "a" }, did = { "came" } },
                             { after = 3, who = { "a", "a" }, did = { "came", "cancelled" } } } do
      local out = {}
      local story = inspect_request.new("a", function(line) out[#out + 1] = line end, validate.short)
      assert.is_true(story:close(after))
      local from = ("%8d %24.3f  "):format(after.after, 0)
      assert.are.same({ from .. "came into the queue", after.did[2] and from .. "cancelled"
        or ("%33s  waiting when the recording ended"):format "" }, out)
    end
  end)
end)
