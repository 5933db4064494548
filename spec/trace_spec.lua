local trace = require "gdnmeta.sim.trace"

-- What a request is, less the line it stands on.
local function tuples(requests)
  local list = {}
  for i, r in ipairs(requests) do list[i] = { r.arrival, r.prompt, r.output, r.user } end
  return list
end

local COMPACT = "arrival_s,prompt_tokens,output_tokens\n"
local AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
local BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"

describe("a trace #lua", function()
  it("of the compact format has seconds and tokens, and users where the header says so", function()
    local requests = assert(trace.parse(COMPACT .. "0.000000,374,44\n4.314579,396,109\n", "t"))
    assert.are.equal("compact", requests.format)
    assert.are.same({ { 0, 374, 44 }, { 4.314579, 396, 109 } }, tuples(requests))

    requests = assert(trace.parse("arrival_s,prompt_tokens,output_tokens,user\n1e-3,1,2,ada\n", "t"))
    assert.are.same({ { 0.001, 1, 2, "ada" } }, tuples(requests))
  end)

  it("of Azure's format counts from its first request, across midnight and a leap day", function()
    local requests = assert(trace.parse(AZURE .. "2023-11-16 18:15:46.6805900,374,44\r\n"
      .. "2023-11-16 18:15:50.9951690,396,109\r\n", "t"))
    assert.are.equal("azure", requests.format)
    assert.are.equal(0, requests[1].arrival)
    assert.is_true(math.abs(requests[2].arrival - 4.314579) < 1e-9)

    requests = assert(trace.parse(AZURE .. "2024-02-28 23:59:59.5+00:00,1,1\n"
      .. "2024-02-29 00:00:00+00:00,2,2\n2024-03-01 00:00:00+00:00,3,3", "t"))
    assert.are.same({ { 0, 1, 1 }, { 0.5, 2, 2 }, { 86400.5, 3, 3 } }, tuples(requests))

    requests = assert(trace.parse(AZURE .. "2023-11-17 00:00:01,2,2\n2023-11-16 23:59:59,1,1\n", "t"))
    assert.are.same({ { 0, 1, 1 }, { 2, 2, 2 } }, tuples(requests))
  end)

  it("of BurstGPT skips and counts failed requests", function()
    local requests = assert(trace.parse(BURSTGPT .. "5,ChatGPT,472,18,490,Conversation log\n"
      .. "45,ChatGPT,1087,0,1087,Conversation log\n118.5,GPT-4,417,276,693,API log\n", "t"))
    assert.are.equal("burstgpt", requests.format)
    assert.are.equal(1, requests.skipped)
    assert.are.same({ { 5, 472, 18 }, { 118.5, 417, 276 } }, tuples(requests))
  end)

  it("of Mooncake has milliseconds, of Qwen-Bailian seconds", function()
    local requests = assert(trace.parse(
      '{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}\n', "t"))
    assert.are.equal("mooncake", requests.format)
    assert.are.same({ { 27.482, 6955, 52 } }, tuples(requests))

    requests = assert(trace.parse('{"chat_id": 159, "parent_chat_id": -1, "timestamp": 61.114, '
      .. '"input_length": 521, "output_length": 132, "type": "text", "turn": 1, "hash_ids": [1]}', "t"))
    assert.are.equal("bailian", requests.format)
    assert.are.same({ { 61.114, 521, 132 } }, tuples(requests))
  end)

  it("may begin with a byte order mark and end its lines like Windows", function()
    local requests = assert(trace.parse("\239\187\191" .. COMPACT:gsub("\n", "\r\n") .. "1,2,3\r\n", "t"))
    assert.are.same({ { 1, 2, 3 } }, tuples(requests))
  end)

  it("comes out by arrival, equal ones in the order of the file", function()
    local requests = assert(trace.parse(COMPACT .. "2,1,1\n1,2,1\n2,3,1\n1,4,1\n", "t"))
    assert.are.same({ { 1, 2, 1 }, { 1, 4, 1 }, { 2, 1, 1 }, { 2, 3, 1 } }, tuples(requests))
    assert.are.equal(3, requests[1].line)
  end)

  local OBJECT = '{"timestamp": 1, "input_length": 2, "output_length": 3}\n'
  local SECONDS = "want a number in 0 .. 1000000000"
  local TOKENS = "want an integer in 1 .. 1073741823"
  local refused = {
    { "an unknown header", "a,b,c\n1,2,3\n", 't:1: first line "a,b,c" is of no known format' },
    { "a long header", ("a"):rep(61) .. "\n",
      ('t:1: first line "%s" is of no known format'):format(("a"):rep(60)) },
    { "an empty file", "", 't:1: first line "" is of no known format' },
    { "a file without requests", COMPACT, "t: no request in it" },
    { "a missing field of Azure", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,5\n",
      "t:2: 2 fields, want 3" },
    { "a missing field", COMPACT .. "1,2\n", "t:2: 2 fields, want 3 or 4" },
    { "one field too many", COMPACT .. "1,2,3,4,5\n", "t:2: 5 fields, want 3 or 4" },
    { "an empty field", COMPACT .. "0,1,1\n1,,3\n", 't:3: prompt_tokens = "", ' .. TOKENS },
    { "a word", COMPACT .. "1,many,3\n", "t:2: prompt_tokens = many, " .. TOKENS },
    { "quotes", COMPACT .. '1,"2",3\n', 't:2: prompt_tokens = "\\"2\\"", ' .. TOKENS },
    { "a space", COMPACT .. "1, 2,3\n", 't:2: prompt_tokens = " 2", ' .. TOKENS },
    { "a zero byte", COMPACT .. "1,2\0,3\n", 't:2: prompt_tokens = "2\\0", ' .. TOKENS },
    { "five million digits", COMPACT .. "1," .. ("7"):rep(5e6) .. ",3\n",
      "t:2: prompt_tokens = " .. ("7"):rep(40) .. "..., " .. TOKENS },
    { "null", '{"timestamp": null, "input_length": 2, "output_length": 3}\n', "t:1: timestamp = null, " },
    { "nan", COMPACT .. "nan,2,3\n", "t:2: arrival_s = nan, " .. SECONDS },
    { "a negative time", COMPACT .. "-1,2,3\n", "t:2: arrival_s = -1, " .. SECONDS },
    { "an infinite time", COMPACT .. "1e999,2,3\n", "t:2: arrival_s = 1e999, " .. SECONDS },
    { "a negative length", COMPACT .. "1,-2,3\n", "t:2: prompt_tokens = -2, " .. TOKENS },
    { "a huge length", COMPACT .. "1,2,1073741824\n", "t:2: output_tokens = 1073741824, " .. TOKENS },
    { "half a token", COMPACT .. "1,2.5,3\n", "t:2: prompt_tokens = 2.5, " .. TOKENS },
    { "a hexadecimal length", COMPACT .. "1,0x10,3\n", "t:2: prompt_tokens = 0x10, " .. TOKENS },
    { "no output", COMPACT .. "1,2,0\n", "t:2: output_tokens = 0, " .. TOKENS },
    { "an empty user", COMPACT .. "1,2,3,\n", "t:2: user is empty" },
    { "a 30th of February", AZURE .. "2024-02-30 00:00:00,1,1\n",
      "t:2: TIMESTAMP = 2024-02-30 00:00:00, want a time such as 2023-11-16 18:15:46.68" },
    { "a number for a time", AZURE .. "17,1,1\n",
      "t:2: TIMESTAMP = 17, want a time such as 2023-11-16 18:15:46.68" },
    { "a short line of BurstGPT", BURSTGPT .. "5,ChatGPT,472,18\n", "t:2: 4 fields, want 6" },
    { "JSON without a length", '{"timestamp": 1, "input_length": 2}\n',
      "t:1: output_length = nil, " .. TOKENS },
    { "JSON with NaN", '{"timestamp": NaN, "input_length": 2, "output_length": 3}\n',
      "t:1: timestamp = nan, want a number in 0 .. 1000000000000" },
    { "a list for a number", '{"timestamp": 1, "input_length": [], "output_length": 3}\n',
      "t:1: input_length = table: " },
    { "JSON cut short", OBJECT .. '{"timesta\n', "t:2: Expected" },
    { "a line that is no object", OBJECT .. "17\n", "t:2: want a JSON object" },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1] .. ", naming the line", function()
      local requests, err = trace.parse(case[2], "t")
      assert.is_nil(requests)
      assert.are.equal(case[3], err:sub(1, #case[3]), err)
    end)
  end

  it("is read from a file, and a file that is not there is named", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(COMPACT, "1,2,3\n", "4,5\n")
    file:close()
    local requests, err = trace.read(path)
    os.remove(path)
    assert.is_nil(requests)
    assert.are.equal(path .. ":3: 2 fields, want 3 or 4", err)

    assert.are.same({ nil, path .. ": No such file or directory" }, { trace.read(path) })
    assert.are.same({ nil, "spec: Is a directory" }, { trace.read "spec" })
  end)
end)
