-- Blocks that answers fill, in random sessions, against what each turn's ids say by themselves; and when a
-- run says them, step by step, against the tokens that are there by then.
local answer_ids = require "gdnmeta.sim.answer_ids"
local workload = require "gdnmeta.sim.workload"

local SIZE = 4

-- Requests of two sessions and of none, whose prompts go on from the one before, mostly; ids false: unknown.
local function turns(random)
  local requests, ids, last = {}, {}, {}
  for i = 1, 12 do
    local session = ({ "a", "b" })[1 + math.floor(random() * 3)]
    local list, before = {}, session and last[session] or {}
    for k = 1, random() < 0.8 and #before or 0 do list[k] = before[k] end
    for k = #list + 1, #list + math.floor(random() * 4) do list[k] = 100 * i + k end
    ids[i] = random() < 0.9 and list
    requests[i] = { session = session, prompt = SIZE * #list + math.floor(random() * SIZE),
                    output = 1 + math.floor(random() * 3 * SIZE) }
    if session then last[session] = list end
  end
  return requests, ids
end

local function begins(list, first)
  return table.concat(list, " ", 1, math.min(#first, #list)) == table.concat(first, " ")
end

-- The next turn whose ids are known goes on from the prompt: its ids after those of the prompt, as far as the
-- answer reaches.
local function reply_of(requests, ids, i)
  local r, next_turn = requests[i], nil
  for k = #requests, i + 1, -1 do
    if requests[k].session == r.session and ids[k] then next_turn = ids[k] end
  end
  if not ids[i] or not r.session or not next_turn or not begins(next_turn, ids[i]) then return false end
  local reply = {}
  for k = #ids[i] + 1, #next_turn do
    if k * SIZE <= r.prompt + r.output then reply[#reply + 1] = next_turn[k] end
  end
  return #reply > 0 and reply
end

describe("Blocks of answers in the simulator #lua", function()
  it("are those of the next turn that the answer fills", function()
    local seen = {}
    for seed = 1, 200 do
      local requests, ids = turns(workload.random(seed))
      local replies, n = answer_ids.of(requests, ids, SIZE)
      local known = 0
      for i = 1, #requests do
        local want = reply_of(requests, ids, i)
        assert.are.same(want, replies[i], ("seed %d, request %d"):format(seed, i))
        known = known + (want and 1 or 0)
        seen[want and #want or "none"] = true
      end
      assert.are.equal(known, n, "seed " .. seed)
    end
    assert.is_true(seen.none and seen[1] and seen[2] and seen[3])
  end)

  it("are said in the step whose tokens fill them, each once, with the row's results", function()
    for seed = 1, 200 do
      local random = workload.random(seed)
      local requests, ids = turns(random)
      local run = { requests = requests, ids = ids, replies = answer_ids.of(requests, ids, SIZE), said = {},
                    block_size = SIZE, left = {}, prompt = {}, ordinal = {} }
      local said, emitted = {}, {}
      for i, r in ipairs(requests) do
        run.left[i], run.prompt[i], run.ordinal[50 + i], said[i], emitted[i] = r.output, r.prompt, i, {}, 0
      end
      for _ = 1, 30 do
        local step = { num_rows = 5, request = {}, samples = {}, accepted_drafts = {}, stop = {},
                       next_drafts = {}, id = function(self, row) return "r" .. self.request[row] end }
        local is_filled = false
        for row = 0, 4 do
          local i = 1 + (row * 5 + seed + math.floor(random() * 2)) % #requests
          step.request[row], step.samples[row] = 50 + i, math.floor(random() * 1.5)
          for other = 0, row - 1 do
            if step.request[other] == 50 + i then step.samples[row] = 0 end
          end
          step.accepted_drafts[row], step.stop[row] = math.floor(random() * 4), math.floor(random() * 3)
          step.next_drafts[row] = row
        end
        for row = 5, 6 do -- of an earlier step, which had more rows
          step.request[row], step.samples[row] = 50 + 1 + (row + seed) % #requests, 1
          step.accepted_drafts[row] = 3
        end
        local results = answer_ids.results(run, step)
        for row = 0, 4 do
          local i = step.request[row] - 50
          local result = results and results["r" .. step.request[row]]
          if step.samples[row] == 1 then
            local more = math.min(step.accepted_drafts[row] + 1, run.left[i])
            run.left[i], emitted[i] = run.left[i] - more, emitted[i] + more
            local full = math.floor((requests[i].prompt + emitted[i]) / SIZE) - #(ids[i] or {})
            local list, blocks = run.replies[i] or {}, nil
            for k = #said[i] + 1, math.min(full, #list) do
              blocks = blocks or {}
              blocks[#blocks + 1], said[i][k], is_filled = list[k], list[k], true
            end
            if results then
              assert.are.same({ accepted_drafts = step.accepted_drafts[row], stop = step.stop[row],
                                next_drafts = row, blocks = blocks }, result, "seed " .. seed)
            end
          end
        end
        local n, sampled = 0, 0
        for _ in pairs(results or {}) do n = n + 1 end
        for row = 0, 4 do sampled = sampled + step.samples[row] end
        assert.are.equal(is_filled and sampled or 0, n, "seed " .. seed)
        assert.are.equal(is_filled, results ~= nil, "seed " .. seed)
      end
    end
  end)
end)
