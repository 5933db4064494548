-- Traces that are refused: times in another unit than they should be, and what is no trace at all.
local raises = require "spec.support.raises"
local trace = require "gdnmeta.sim.trace"

local COMPACT = "arrival_s,prompt_tokens,output_tokens\n"
local AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
local BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"

local function read(text, o)
  local requests, message = trace.parse(text, "t", o)
  assert.is_truthy(requests, message)
  return requests
end

describe("times of a trace #lua", function()
  -- n rows with the gap between them, in the header's column.
  local function csv(header, n, gap, first)
    local lines = { header }
    for i = 1, n do lines[i + 1] = ("%.15g,5,2"):format((first or 0) + (i - 1) * gap) end
    return table.concat(lines, "\n") .. "\n"
  end
  local function json(more, n, gap, first)
    local lines = {}
    for i = 1, n do
      local object = '{"timestamp": %.15g, "input_length": 5, "output_length": 2%s}'
      lines[i] = object:format((first or 0) + (i - 1) * gap,
        more)
    end
    return table.concat(lines, "\n") .. "\n"
  end
  local CHAT = ', "chat_id": 1, "parent_chat_id": -1'

  -- { what, text, unit that is suggested, seconds of the last row when it is passed }
  local IMPLAUSIBLE = {
    { "Mooncake in seconds", json("", 20, 0.2), "s", 3.8 },
    { "a few rows of it, whole seconds", json("", 4, 1), "s", 3 },
    { "Mooncake in seconds since 1970", json("", 5, 2, 1.7e9), "s", 8 },
    { "Mooncake in microseconds since 1970", json("", 5, 2e6, 1.7e15), "us", 8 },
    { "Bailian in milliseconds", json(CHAT, 20, 250), "ms", 4.75 },
    { "Bailian in milliseconds since 1970", json(CHAT, 2, 250, 1.7e12), "ms", 0.25 },
    { "compact in microseconds", csv("arrival_s,prompt_tokens,output_tokens", 10, 4e5), "us", 3.6 },
    { "compact in milliseconds", csv("arrival_s,prompt_tokens,output_tokens", 10, 400), "ms", 3.6 },
    { "Azure in nanoseconds since 1970", csv("TIMESTAMP,ContextTokens,GeneratedTokens", 3, 1e9, 1.7e18), "ns",
      2 },
  }
  for _, case in ipairs(IMPLAUSIBLE) do
    it("are refused where they are implausible: " .. case[1], function()
      local requests, message = trace.parse(case[2], "t")
      assert.is_nil(requests)
      assert.matches("^t:1: %S+ = [%d.e+]+ %.%. [%d.e+]+ in %d+ rows is implausible in %a+; "
        .. "pass %-%-time%-unit " .. case[3] .. " if it is %a+, %-%-time%-unit %a+ to read it so$", message)
      requests = read(case[2], { time_unit = case[3] })
      assert.is_true(math.abs(requests[#requests].arrival - case[4]) < 1e-3)
    end)
  end

  local PLAUSIBLE = {
    { "a burst of Mooncake", json("", 12, 0, 3000), 3 },
    { "two rows of anything", json("", 2, 1), 0.001 },
    { "a sparse BurstGPT", BURSTGPT .. ("5,a,1,1,2,x\n70,a,1,1,2,x\n160,a,1,1,2,x\n300,a,1,1,2,x\n") , 300 },
    { "seconds since 1970", csv("timestamp,input_tokens,output_tokens", 4, 3, 1.7e9), 9 },
    { "milliseconds since 1970", json("", 4, 500, 1.7e12), 1.5 },
    { "microseconds that might be seconds",
      csv("arrival_us,prompt_tokens,output_tokens", 3, 1e6, 1.5e9), 1502 },
    { "half a minute between requests", csv("arrival_s,prompt_tokens,output_tokens", 20, 30), 570 },
  }
  for _, case in ipairs(PLAUSIBLE) do
    it("are taken where they are plausible: " .. case[1], function()
      local requests = read(case[2])
      assert.is_true(math.abs(requests[#requests].arrival - case[3]) < 1e-6, requests[#requests].arrival)
    end)
  end

  local function seconds(n, first)
    return function(gap) return csv("arrival_s,prompt_tokens,output_tokens", n, gap, first) end
  end
  local function milliseconds(n, first) return function(gap) return json("", n, gap, first) end end
  -- { what, rows of a gap, a gap that is taken, one that is not }
  local EDGES = {
    { "milliseconds of two rows", milliseconds(2), 1, nil }, { "seconds of two rows", seconds(2), 5000, nil },
    { "few whole milliseconds", milliseconds(3), 4, 3 }, { "seven of them", milliseconds(7), 4, 3 },
    { "eight whole milliseconds", milliseconds(8), 7, 6 },
    { "fractions of milliseconds", milliseconds(8, 0.5), 17, 16.5 },
    { "few whole seconds", seconds(3), 300, 301 }, { "seven of those", seconds(7), 300, 301 },
    { "eight whole seconds", seconds(8), 60, 61 }, { "fractions of seconds", seconds(8, 0.5), 1000, 1001 },
    { "a later beginning", milliseconds(2, 1.0005e9 * 0.999), 9, nil },
    { "one that is too late", function(first) return milliseconds(2, first)(9) end, 9.99e8, 1e9 },
  }
  for _, case in ipairs(EDGES) do
    it("are taken up to an edge: " .. case[1], function()
      assert.is_truthy(trace.parse(case[2](case[3]), "t"))
      if case[4] then assert.is_nil(trace.parse(case[2](case[4]), "t")) end
    end)
  end

  it("are taken as the caller says, whatever that looks like", function()
    assert.are.equal(0.019, read(json("", 20, 1), { time_unit = "ms" })[20].arrival)
    assert.are.equal(1900, read(csv("arrival_s,prompt_tokens,output_tokens", 20, 100),
      { time_unit = "s" })[20].arrival)
  end)
end)

describe("what is no trace #lua", function()
  local OBJECT = '{"timestamp": 1, "input_length": 2, "output_length": 3}\n'
  local TIME = "want a number >= 0"
  local TOKENS = "want an integer in 1 .. 1073741823"
  local DATE = "want a time such as 2023-11-16 18:15:46.68"
  local REFUSED = {
    { "an unknown header", "a,b,c\n1,2,3\n",
      't:1: first line "a,b,c" is of no known format: no column of arrivals, '
      .. "prompt tokens, output tokens" },
    { "a header that lacks one", "TIMESTAMP,ContextTokens\n",
      't:1: first line "TIMESTAMP,ContextTokens" is of no '
      .. "known format: no column of output tokens" },
    { "a header of sessions that lacks one", "arrival_s,prompt_tokens,think_s,session_id\n1,2,3,a\n",
      "t:1: first line \"arrival_s,prompt_tokens,think_s,session_\"... is of no known format: "
        .. "no column of output tokens" },
    { "a long header", ("a"):rep(100) .. "\n",
      ("t:1: first line %s... is of no known"):format(("a"):rep(40)) },
    { "the same column twice", "arrival_s,prompt_tokens,output_tokens,prompt_tokens\n1,2,3,4\n",
      't:1: column prompt_tokens stands twice' },
    { "an empty file", "", "t:1: nothing in it" },
    { "blank lines alone", "\n \n", "t:3: nothing in it" },
    { "a file without requests", COMPACT, "t: no request in it" },
    { "a first line of twenty million", ("7"):rep(2e7), "t:1: a line of more than 16777216 bytes" },
    { "an object over lines", '{\n  "timestamp": 1,\n  "input_length": 2, "output_length": 3\n}\n',
      "t:1: a JSON object over several lines, want one per line: jq -c . first" },
    { "a list for a name", '{"timestamp": 1, "input_length": 2, "output_length": 3, "user": [1]}\n',
      "t:1: user = a list, want a name" },
    { "a file of failures", COMPACT .. "1,2,0\n1,2,0\n",
      "t: no request in it: 2 of 2 rows skipped: 2 without output tokens" },
    { "gzip", "\31\139\8\0", "t:1: gzip data, want text: gunzip first" },
    { "bzip2", "BZh91AY&SY", "t:1: bzip2 data, want text: bunzip2 first" },
    { "xz", "\2537zXZ\0", "t:1: xz data, want text: unxz first" },
    { "zstd", "\40\181\47\253", "t:1: zstd data, want text: unzstd first" },
    { "a zip archive", "PK\3\4", "t:1: a zip archive, want text: unzip first" },
    { "Parquet", "PAR1", "t:1: a Parquet file, want text: convert it to CSV first" },
    { "UTF-16", "\255\254a\0", "t:1: UTF-16, want UTF-8: iconv -f UTF-16 -t UTF-8 first" },
    { "a JSON list", '[{"timestamp": 1}]', "t:1: a JSON list, want one object per line: jq -c '.[]' first" },
    { "a missing field of Azure", AZURE .. "2023-11-16 18:15:46.68,5\n", "t:2: 2 fields, want 3" },
    { "one field too many", COMPACT .. "1,2,3,4,5\n", "t:2: 5 fields, want 3" },
    { "an empty field", COMPACT .. "0,1,1\n1,,3\n", "t:3: prompt_tokens is missing, " .. TOKENS },
    { "a word", COMPACT .. "1,many,3\n", "t:2: prompt_tokens = many, " .. TOKENS },
    { "a zero byte", COMPACT .. "1,2\0,3\n", 't:2: prompt_tokens = "2\\0", ' .. TOKENS },
    { "five million digits", COMPACT .. "1," .. ("7"):rep(5e6) .. ",3\n",
      "t:2: prompt_tokens = " .. ("7"):rep(40) .. "..., " .. TOKENS },
    { "a line of twenty million", COMPACT .. ("7"):rep(2e7), "t:2: a line of more than 16777216 bytes" },
    { "null", '{"timestamp": null, "input_length": 2, "output_length": 3}\n', "t:1: timestamp is missing, " },
    { "nan", COMPACT .. "nan,2,3\n", "t:2: arrival_s = nan, " .. TIME },
    { "a negative time", COMPACT .. "-1,2,3\n", "t:2: arrival_s = -1, " .. TIME },
    { "an infinite time", COMPACT .. "1e999,2,3\n", "t:2: arrival_s = 1e999, " .. TIME },
    { "a negative length", COMPACT .. "1,-2,3\n", "t:2: prompt_tokens = -2, " .. TOKENS },
    { "a huge length", COMPACT .. "1,2,1073741824\n", "t:2: output_tokens = 1073741824, " .. TOKENS },
    { "a length under a name of two lines", 'arrival_s,"prompt\n\27tokens",output_tokens\n1,2.5,3\n',
      "t:1: first line" },
    { "a length under a name with tabs", '{"timestamp": 1, "input\\n\\tlength": 2.5, "output_length": 3}\n',
      "t:1: input  length = 2.5, " .. TOKENS },
    { "a length under a long name", "arrival_s,prompt" .. ("_"):rep(999) .. "tokens,output_tokens\n1,2.5,3\n",
      "t:2: prompt" .. ("_"):rep(34) .. " = 2.5, " .. TOKENS },
    { "half a token", COMPACT .. "1,2.5,3\n", "t:2: prompt_tokens = 2.5, " .. TOKENS },
    { "a hexadecimal length", COMPACT .. "1,0x10,3\n", "t:2: prompt_tokens = 0x10, " .. TOKENS },
    { "a day far away", COMPACT .. "1,2,3\n3e9,2,3\n",
      "t:3: arrival_s = 3e9, want at most 1000000000 seconds from" },
    { "a priority that is none", "arrival_s,prompt_tokens,output_tokens,priority\n1,2,3,high\n",
      "t:2: priority = high, want a number" },
    { "a weight of 0", "arrival_s,prompt_tokens,output_tokens,weight\n1,2,3,0\n",
      "t:2: weight = 0, want a number in 1e-06 .. 1000000" },
    { "a negative target", "arrival_s,prompt_tokens,output_tokens,ttft_s\n1,2,3,-1\n",
      "t:2: ttft_s = -1, want a number >= 0" },
    { "a 30th of February", AZURE .. "2024-02-30 00:00:00,1,1\n", "t:2: TIMESTAMP = 2024-02-30 00:00:00, "
      .. DATE },
    { "a 13th month", AZURE .. "2024-13-01 00:00:00,1,1\n", "t:2: TIMESTAMP = 2024-13-01 00:00:00, "
      .. DATE },
    { "a 25th hour", AZURE .. "2024-01-01 24:00:00,1,1\n", "t:2: TIMESTAMP = 2024-01-01 24:00:00, " .. DATE },
    { "a zone of words", AZURE .. "2024-01-01 00:00:00 CET,1,1\n",
      "t:2: TIMESTAMP = 2024-01-01 00:00:00 CET, " .. DATE },
    { "a number among dates", AZURE .. "2024-01-01 00:00:00,1,1\n17,1,1\n", "t:3: TIMESTAMP = 17, " .. DATE },
    { "no time among dates", AZURE .. "2024-01-01 00:00:00,1,1\n,1,1\n",
      "t:3: TIMESTAMP is missing, " .. DATE },
    { "neither a session nor a column of times", "session_id,delay_s,prompt_tokens,output_tokens\n-1,4,2,3\n",
      "t:2: arrival is missing, " .. TIME },
    { "neither a session nor a time in JSON", '{"session_id": -1, "input_length": 2, "output_length": 3}\n',
      "t:1: timestamp is missing, " .. TIME },
    { "a short line of BurstGPT", BURSTGPT .. "5,ChatGPT,472,18\n", "t:2: 4 fields, want 6" },
    { "JSON without a length", '{"timestamp": 1, "input_length": 2}\n', "t:1: output_length is missing, "
      .. TOKENS },
    { "JSON with NaN", '{"timestamp": NaN, "input_length": 2, "output_length": 3}\n',
      "t:1: timestamp = nan, " .. TIME },
    { "a list for a number", '{"timestamp": 1, "input_length": [], "output_length": 3}\n',
      "t:1: input_length = a list, " .. TOKENS },
    { "JSON cut short", OBJECT .. '{"timesta\n', "t:2: Expected" },
    { "a line that is no object", OBJECT .. "17\n", "t:2: want a JSON object" },
    { "a line that is a list", OBJECT .. "[1, 2]\n", "t:2: want a JSON object" },
    { "a file of which half is noise", COMPACT .. "1,2,3\nx,y,z\n1,2,3\nx,y\n",
      "t:3: prompt_tokens = y, " .. TOKENS .. " (2 of 4 rows are unreadable)" },
  }
  for _, case in ipairs(REFUSED) do
    it("is refused, naming the line: " .. case[1], function()
      local requests, err = trace.parse(case[2], "t")
      assert.is_nil(requests)
      assert.are.equal(case[3], err:sub(1, #case[3]), err)
      assert.is_true(#err < 500 and not err:find "%c", err)
    end)
  end

  it("is given up early where it is long", function()
    local read_upto
    local requests, err = trace.parse(COMPACT .. ("noise\n"):rep(100000), "t",
      { progress = function(bytes) read_upto = bytes end })
    assert.is_nil(requests)
    assert.are.equal("t:2: 1 fields, want 3 (1000 of 1000 rows are unreadable)", err)
    assert.is_true(read_upto < 10000)
  end)

  it("says so where skip passes over all of it, and what was skipped besides", function()
    for text, wanted in pairs {
      [COMPACT .. "1,2,3\n2,2,3\n"] = "t: no request in it: skip passes over all 2",
      [COMPACT .. "1,2,3\n2,2,0\n"] = "t: no request in it: skip passes over all 1; "
        .. "1 of 2 rows skipped: 1 without output tokens",
    } do
      assert.are.same({ nil, wanted }, { trace.parse(text, "t", { skip = 9 }) })
    end
  end)

  it("is not read with options that there are not", function()
    raises("trace.parse: skip = -1, want an integer in 0 .. 2147483647",
      function() trace.parse(COMPACT, "t", { skip = -1 }) end)
    for shown, limit in pairs { ["0"] = 0, ["1.5"] = 1.5, ['"1"'] = "1", nan = 0 / 0 } do
      raises(("trace.read: limit = %s, want an integer in 1 .. 2147483647"):format(shown),
        function() trace.read("t", { limit = limit }) end)
    end
    raises("trace.parse: unknown option limits, want one of block_size, limit, progress, skip, time_unit",
      function() trace.parse(COMPACT, "t", { limits = 3 }) end)
    raises("trace.read: time_unit = h, want s, ms, us or ns", function() trace.read("t",
      { time_unit = "h" }) end)
  end)

  it("is named where a file cannot be read", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(COMPACT, "1,2,3\n", "4,5\n")
    file:close()
    local requests, err = trace.read(path)
    os.remove(path)
    assert.is_nil(requests)
    assert.are.equal(path .. ":3: 2 fields, want 3", err)
    assert.are.same({ nil, path .. ": No such file or directory" }, { trace.read(path) })
    assert.are.same({ nil, "spec: Is a directory" }, { trace.read "spec" })
  end)
end)
