-- Sessions of a trace: which turn follows which, whatever order rows stand in, and with chats, sessions or
-- both; and how long readers think.
local trace = require "gdnmeta.sim.trace"
local workload = require "gdnmeta.sim.workload"

local function read(text, o)
  local requests, message = trace.parse(text, "t", o)
  assert.is_truthy(requests, message)
  return requests
end

-- Rows of { fields } as JSON lines, seconds apart; each is named by its prompt's length, from 1 on.
local function chats(rows)
  local lines = {}
  for i, more in ipairs(rows) do
    lines[i] = ('{"timestamp": %d, "input_length": %d, "output_length": 1%s}'):format(i, i,
      more == "" and "" or ", " .. more)
  end
  return read(table.concat(lines, "\n"), { time_unit = "s" })
end

-- request -> { session, the one it follows }, by prompt; "-" for none
local function links(requests)
  local list = {}
  for _, r in ipairs(requests) do
    list[r.prompt] = ("%s after %s"):format(r.session or "-", r.after and r.after.prompt or "-")
  end
  return list
end

describe("Turns of a trace #lua", function()
  local A, B = '"session_id": "a"', '"session_id": "b"'
  local function chat(id, parent, more)
    return ('"chat_id": %d'):format(id) .. (parent and (', "parent_chat_id": %s'):format(parent) or "")
      .. (more and ", " .. more or "")
  end
  -- { what, rows, links of each }
  local CASES = {
    { "follow each other in their session", { A, B, A, "", B, A },
      { "a after -", "b after -", "a after 1", "- after -", "b after 2", "a after 3" } },
    { "follow their parents", { chat(1, -1), chat(2, -1), chat(3, 1), chat(4, 3), chat(5, 2) },
      { "1 after -", "2 after -", "1 after 1", "1 after 3", "2 after 2" } },
    { "may have a parent twice", { chat(1, -1), chat(2, 1), chat(3, 1) },
      { "1 after -", "1 after 1", "1 after 1" } },
    { "begin where the parent is not there", { chat(1, 9), chat(2, 1), chat(3, "null") },
      { "1 after -", "1 after 1", "3 after -" } },
    { "follow each other under one chat id without parents", { chat(1), chat(2), chat(1), chat(1) },
      { "1 after -", "2 after -", "1 after 1", "1 after 3" } },
    { "follow the parent where they have a session too", { chat(1, -1, A), chat(2, -1, A), chat(3, 1, A) },
      { "a after -", "a after -", "a after 1" } },
    { "are of the parent's session", { chat(1, -1, A), chat(2, 1, B), chat(3, 1) },
      { "a after -", "a after 1", "a after 1" } },
    { "go by their session where a chat says no parent", { chat(1, nil, A), chat(2, nil, A), chat(3, 2, A) },
      { "a after -", "a after 1", "a after 2" } },
    { "are a parent by their chat id where they went by their session", { chat(1, nil, A), chat(2, 1) },
      { "a after -", "a after 1" } },
    { "are of no session where it is -1, nan, null or None",
      { '"session_id": -1', '"session_id": "-1"', '"session_id": "NaN"', '"session_id": "None"',
        '"session_id": null', '"chat_id": -1', chat(7, -1), chat(8, '"nan"') },
      { "- after -", "- after -", "- after -", "- after -", "- after -", "- after -", "7 after -",
        "8 after -" } },
  }
  for _, case in ipairs(CASES) do
    it(case[1], function() assert.are.same(case[3], links(chats(case[2]))) end)
  end

  it("count the sessions that begin", function()
    assert.are.equal(2, chats { A, B, A, "", B }.sessions)
    assert.are.equal(3, chats { chat(1, -1), chat(2, 1), chat(3, -1), chat(4, 77) }.sessions)
  end)

  it("keep no scaffolding", function()
    for _, r in ipairs(chats { chat(1, -1, A), chat(2, 1, '"delay": 3') }) do
      assert.are.same({}, { r.chat, r.parent, r.delay, r.elapsed })
    end
  end)

  it("are the same in whatever order the rows stand", function()
    local draw = workload.random(7)
    local function random(n) return math.floor(draw() * n) + 1 end
    for _ = 1, 60 do
      local rows, last, wanted, before = {}, {}, {}, {}
      for i = 1, random(30) do
        local session, elapsed = random(4), random(9)
        rows[i] = ("%d,s%d,%d,%d,1,x"):format(10 * i, session, elapsed, i)
        wanted[i] = ("s%d after %s"):format(session, last[session] or "-")
        before[i] = last[session] and math.max(0, 10 * (i - last[session]) - last.elapsed[session])
        last[session], last.elapsed = i, last.elapsed or {}
        last.elapsed[session] = elapsed
      end
      for i = #rows, 2, -1 do
        local k = random(i)
        rows[i], rows[k] = rows[k], rows[i]
      end
      local requests = read("Timestamp,Session ID,Elapsed time,Request tokens,Response tokens,Log Type\n"
        .. table.concat(rows, "\n"))
      assert.are.same(wanted, links(requests))
      for i, r in ipairs(requests) do assert.are.equal(before[i] or nil, r.think) end
    end
  end)

  it("stand with the one before where a row has no time of its own, in the order of the file", function()
    local requests = read('{"session_id": 1, "timestamp": 2000, "input_length": 1, "output_length": 1}\n'
      .. '{"session_id": 2, "timestamp": 1000, "input_length": 2, "output_length": 1}\n'
      .. '{"session_id": 1, "delay": 500, "input_length": 3, "output_length": 1}\n'
      .. '{"session_id": 3, "input_length": 4, "output_length": 1}\n')
    local seen = {}
    for _, r in ipairs(requests) do
      local after = r.after and r.after.prompt or false
      seen[r.prompt] = { r.arrival, r.think or false, r.undated or false, after }
    end
    assert.are.same({ { 2, false, false, false }, { 1, false, false, false }, { 2, 0.5, true, 1 },
                      { 2, false, true, false } }, seen)
  end)

  it("think from the last token of the one before, at least 0 seconds", function()
    for elapsed, want in pairs { [0] = 0.5, [0.25] = 0.25, [0.5] = 0, [2] = 0 } do
      local text = "arrival_s,prompt_tokens,output_tokens,session_id,elapsed_s\n"
        .. ("1,5,5,s,%g\n1.5,5,5,s,0\n"):format(elapsed)
      local requests = assert(trace.parse(text, "t"))
      assert.are.equal(want, requests[2].think)
    end
  end)
end)
