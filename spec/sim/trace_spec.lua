-- Recorded workloads: what each public format gives, in which shapes it may come, and what is refused.
local trace = require "gdnmeta.sim.trace"

local COMPACT = "arrival_s,prompt_tokens,output_tokens\n"
local AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
local BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"

-- Requests without what only the reader knows: lines, and turns as the places of those they follow.
local function plain(requests)
  local place, list = {}, {}
  for i, r in ipairs(requests) do place[r] = i end
  for i, r in ipairs(requests) do
    list[i] = {}
    for key, value in pairs(r) do list[i][key] = key == "after" and place[value] or value end
    list[i].line = nil
  end
  return list
end

local function read(text, o)
  local requests, message = trace.parse(text, "t", o)
  assert.is_truthy(requests, message)
  return requests, plain(requests)
end

-- { what, text, format, requests, notices }
local FORMATS = {
  { "Azure 2023", AZURE .. "2023-11-16 18:15:46.6875000,374,44\r\n2023-11-16 18:15:51.0625000,396,109\r\n",
    "azure",
    { { arrival = 0, prompt = 374, output = 44 }, { arrival = 4.375, prompt = 396, output = 109 } }, {} },
  { "Azure 2024", AZURE .. "2024-05-10 00:00:00.007812+00:00,2162,5\n2024-05-10 00:00:00.5+00:00,2399,6\n",
    "azure",
    { { arrival = 0, prompt = 2162, output = 5 }, { arrival = 0.492188, prompt = 2399, output = 6 } }, {} },
  { "Azure with images", "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n"
    .. "2024-10-15 12:00:01.25,2,1306,80\n2024-10-15 12:00:00,0,17,3\n", "azure",
    { { arrival = 0, prompt = 17, output = 3 }, { arrival = 1.25, prompt = 1306, output = 80 } },
    { "1 row earlier than the row before, sorted by arrival", "not read: NumImages" } },
  { "Azure over midnight, a leap day and zones", AZURE .. "2024-02-28 23:59:59.5Z,1,1\n"
    .. "2024-02-29T02:00:00+02:00,2,2\n2024/02/29 19:00:00-0500,3,3", "azure",
    { { arrival = 0, prompt = 1, output = 1 }, { arrival = 0.5, prompt = 2, output = 2 },
      { arrival = 86400.5, prompt = 3, output = 3 } }, {} },
  { "BurstGPT", BURSTGPT .. "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,0,1087,Conversation log\n"
    .. "118.5,GPT-4,417,276,693,API log\n", "burstgpt",
    { { arrival = 5, prompt = 472, output = 18, class = "Conversation log" },
      { arrival = 118.5, prompt = 417, output = 276, class = "API log" } },
    { "1 of 3 rows skipped: 1 without output tokens", "not read: Model, Total tokens" } },
  { "BurstGPT 2",
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    .. "10,7,4,ChatGPT,50,20,70,Conversation log\n12,,1.5,GPT-4,9,8,17,API log\n"
    .. "20,7,3,ChatGPT,90,30,120,Conversation log\n", "burstgpt",
    { { arrival = 10, prompt = 50, output = 20, class = "Conversation log", session = "7" },
      { arrival = 12, prompt = 9, output = 8, class = "API log" },
      { arrival = 20, prompt = 90, output = 30, class = "Conversation log", session = "7", after = 1,
        think = 6 } },
    { "not read: Model, Total tokens" } },
  { "Mooncake", '{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}\n'
    .. '{"timestamp": 30535, "input_length": 1100, "output_length": 26, "hash_ids": [46, 9, 7]}\n',
    "mooncake",
    { { arrival = 27.482, prompt = 6955, output = 52, blocks = { 1, 2 } },
      { arrival = 30.535, prompt = 1100, output = 26, blocks = { 1, 3 } } },
    { "hash_ids: prompts are known by blocks of 512 tokens; 1 prompt with too few or too many, the first in "
      .. "line 1: 2 ids for a prompt of 6955 tokens, want 13 or 14 of 512 tokens each (a guess)" } },
  { "Mooncake with sessions",
    '{"session_id": "a", "timestamp": 1000, "input_length": 10, "output_length": 5}\n'
    .. '{"session_id": "b", "timestamp": 2000, "input_length": 11, "output_length": 6}\n'
    .. '{"session_id": "a", "input_length": 12, "output_length": 7, "delay": 2500, "hash_ids": [1]}\n'
    .. '{"session_id": "b", "input_length": 13, "output_length": 8}\n', "mooncake",
    { { arrival = 1, prompt = 10, output = 5, session = "a" },
      { arrival = 1, prompt = 12, output = 7, session = "a", after = 1, think = 2.5, undated = true,
        blocks = {} },
      { arrival = 2, prompt = 11, output = 6, session = "b" },
      { arrival = 2, prompt = 13, output = 8, session = "b", after = 3, think = 0, undated = true } },
    { "1 row earlier than the row before, sorted by arrival",
      "hash_ids: prompts are known by blocks of 512 tokens", "3 requests without hash_ids" } },
  { "Mooncake with chats", '{"chat_id": 4, "timestamp": 1000, "input_length": 10, "output_length": 5}\n'
    .. '{"chat_id": 4, "timestamp": 9000, "input_length": 12, "output_length": 7}\n', "mooncake",
    { { arrival = 1, prompt = 10, output = 5, session = "4" },
      { arrival = 9, prompt = 12, output = 7, session = "4", after = 1 } }, {} },
  { "Qwen-Bailian", '{"chat_id": 159, "parent_chat_id": -1, "timestamp": 61.125, "input_length": 21, '
    .. '"output_length": 132, "type": "text", "turn": 1, "hash_ids": [1, 2]}\n'
    .. '{"chat_id": 160, "parent_chat_id": 159, "timestamp": 80.5, "input_length": 41, "output_length": 9, '
    .. '"type": "search", "turn": 2, "hash_ids": [1, 2, 3]}\n'
    .. '{"chat_id": 161, "parent_chat_id": 159, "timestamp": 90, "input_length": 32, "output_length": 8, '
    .. '"type": "text", "turn": 2, "hash_ids": [1, 4]}\n', "bailian",
    { { arrival = 61.125, prompt = 21, output = 132, class = "text", session = "159", blocks = { 1 } },
      { arrival = 80.5, prompt = 41, output = 9, class = "search", session = "159", after = 1,
        blocks = { 1, 2 } },
      { arrival = 90, prompt = 32, output = 8, class = "text", session = "159", after = 1,
        blocks = { 1, 3 } } },
    { "hash_ids: prompts are known by blocks of 16 tokens" } },
  { "compact", COMPACT .. "0.000000,374,44\n4.314579,396,109\n", "compact",
    { { arrival = 0, prompt = 374, output = 44 }, { arrival = 4.314579, prompt = 396, output = 109 } }, {} },
  { "compact with all that it may have",
    "arrival_s,prompt_tokens,output_tokens,user,class,priority,weight,ttft_s,"
    .. "tpot_ms,deadline_s,session_id,think_s\n1,2,3,ada,chat,-2,0.5,1.5,50,9,s1,\n4,5,6,,,,,,,,s1,2\n",
      "compact",
    { { arrival = 1, prompt = 2, output = 3, user = "ada", class = "chat", priority = -2, weight = 0.5,
      ttft = 1.5,
        tpot = 0.05, deadline = 9, session = "s1" },
      { arrival = 4, prompt = 5, output = 6, session = "s1", after = 1, think = 2 } }, {} },
  { "sessions without times", "session_id,think_s,prompt_tokens,output_tokens\na,,5,2\nb,,6,2\na,4,7,2\n",
    "csv",
    { { arrival = 0, prompt = 5, output = 2, session = "a", undated = true },
      { arrival = 0, prompt = 6, output = 2, session = "b", undated = true },
      { arrival = 0, prompt = 7, output = 2, session = "a", undated = true, after = 1, think = 4 } }, {} },
  { "another CSV", "id;Arrival Time (x);num_decode_tokens;num_prefill_tokens;arrived_at\n7;x;3;2;0,5\n",
    "csv",
    { { arrival = 0.5, prompt = 2, output = 3 } }, { "not read: id, \"Arrival Time (x)\"" } },
}

describe("a trace #lua", function()
  for _, case in ipairs(FORMATS) do
    it("of the format " .. case[1] .. " gives its requests, and says what it leaves", function()
      local requests, found = read(case[2])
      assert.are.equal(case[3], requests.format)
      assert.are.same(case[4], found)
      assert.are.same(case[5], trace.notices(requests))
    end)
  end

  local WANTED = { { arrival = 1, prompt = 2, output = 3 }, { arrival = 4, prompt = 5, output = 6 } }
  local DIALECTS = {
    { "a byte order mark and CRLF",
      "\239\187\191arrival_s,prompt_tokens,output_tokens\r\n1,2,3\r\n4,5,6\r\n" },
    { "a lone CR", "arrival_s,prompt_tokens,output_tokens\r1,2,3\r4,5,6\r" },
    { "no last newline", COMPACT .. "1,2,3\n4,5,6" },
    { "blank lines", "\n\n" .. COMPACT .. "\n1,2,3\n  \n4,5,6\n\n" },
    { "tabs", COMPACT:gsub(",", "\t") .. "1\t2\t3\n4\t5\t6\n" },
    { "semicolons and blanks", "arrival_s; prompt_tokens ;output_tokens\n1; 2;3\n 4;5 ; 6\n" },
    { "bars", COMPACT:gsub(",", "|") .. "1|2|3\n4|5|6\n" },
    { "quotes", '"arrival_s","prompt_tokens","output_tokens"\n"1","2",3\n4,"5", "6"\n' },
    { "another order and more columns",
      'note,output_tokens,x,arrival_s,prompt_tokens\n"a, ""b""",3,,1,2\n"two\nlines,",6,"",4,5\n' },
    { "fractions that are none, and exponents", COMPACT .. "1.0,2.0,3e0\n4e0,5,6.\n" },
    { "other capitals and blanks", "Arrival S,PROMPT-TOKENS,Output_Tokens\n1,2,3\n4,5,6\n" },
    { "empty columns at the end", COMPACT .. "1,2,3,,\n4,5,6,\n" },
    { "milliseconds in a column's name", "arrival_ms,prompt_tokens,output_tokens\n1000,2,3\n4000,5,6\n" },
    { "numbers as text in JSON", '{"timestamp": "1000", "input_length": "2", "output_length": 3}\n'
      .. '{"timestamp": 4e3, "input_length": 5, "output_length": 6, "more": {"a": [null]}}\n' },
  }
  for _, case in ipairs(DIALECTS) do
    it("may have " .. case[1], function() assert.are.same(WANTED, select(2, read(case[2]))) end)
  end

  it("keeps a quote that is no quote, and a row whose quote is left open is one bad row", function()
    local header = "arrival_s,prompt_tokens,output_tokens,user\n"
    local requests, found = read(header .. '1,2,3,5" disk\n4,5,6,"a"b\n7,8,9,"open\n8,8,8,x\n9,8,8,y\n')
    assert.are.same({ '5" disk', '"a"b', "x", "y" },
      { found[1].user, found[2].user, found[3].user, found[4].user })
    assert.are.same({ '1 of 5 rows skipped: 1 unreadable, the first in line 4: a quote is left open' },
      trace.notices(requests))
  end)

  it("comes out by arrival, equal ones in the order of the file", function()
    local requests = read(COMPACT .. "2,1,1\n1,2,1\n2,3,1\n1,4,1\n")
    local prompts = {}
    for i, r in ipairs(requests) do prompts[i] = r.prompt end
    assert.are.same({ 2, 4, 1, 3 }, prompts)
    assert.are.equal(3, requests[1].line)
    assert.are.equal(2, requests.unsorted)
  end)

  it("skips rows that are none, and counts them by reason", function()
    local requests = read(COMPACT
      .. "0,5,2\n1,5,0\n2,0,3\n3,-1,3\n4,5,nan\n5,1e99,1\n6,5,2\n7,5\n8,5,2\n9,5,2\n"
      .. "10,5,2\n11,5,2\n")
    assert.are.same({ 6, 12, 6 }, { #requests, requests.rows, requests.skipped })
    assert.are.same({ "6 of 12 rows skipped: 1 without output tokens; 1 without prompt tokens; 4 unreadable, "
      .. "the first in line 5: prompt_tokens = -1, want an integer in 1 .. 1073741823" },
        trace.notices(requests))
  end)

  it("has the unit of its format where the first row is none", function()
    local requests = read('{"timestamp": 1\n{"timestamp": 2000, "input_length": 2, "output_length": 3}\n'
      .. '{"timestamp": 4000, "input_length": 2, "output_length": 3}\n')
    assert.are.same({ 2, 4, 1 }, { requests[1].arrival, requests[2].arrival, requests.skipped })
  end)

  it("passes over some and stops after others, of which it reads no more", function()
    local text = COMPACT .. "0,1,1\n1,2,0\n2,3,1\n3,4,1\n4,5,1\nbroken\n"
    local requests = read(text, { skip = 1, limit = 2 })
    assert.are.same({ 3, 4 }, { requests[1].prompt, requests[2].prompt })
    assert.are.same({ 2, 4, 1, 1 }, { #requests, requests.rows, requests.skipped, requests.passed })
    assert.are.same({ nil, "t: no request in it: skip passes over all 4" },
      { trace.parse(text:gsub("broken\n", ""):gsub("1,2,0\n", ""), "t", { skip = 9 }) })
  end)
end)
