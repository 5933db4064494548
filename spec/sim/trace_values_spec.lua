-- Names, units and dates of a trace: every one that is known, against the calendar of the C library and
-- against lists that are written down here.
local trace = require "gdnmeta.sim.trace"
local workload = require "gdnmeta.sim.workload"

-- The requests of one row or more under a header of three columns.
local function read(header, ...)
  local requests, message = trace.parse(header .. "\n" .. table.concat({ ... }, "\n") .. "\n", "t")
  return requests, message
end

local function date(t) return os.date("!%Y-%m-%d %H:%M:%S", t) end

describe("dates of a trace #lua", function()
  it("are as far from each other as the calendar says", function()
    local random = workload.random(11)
    for _ = 1, 2000 do
      local a = math.floor(random() * 2^32)
      local b = a + math.floor(random() * 9e8)
      local requests = assert(read("TIMESTAMP,ContextTokens,GeneratedTokens", date(a) .. ",1,1", date(b)
        .. ",2,2"))
      assert.are.equal(b - a, requests[2].arrival, date(a) .. " .. " .. date(b))
    end
  end)

  it("are those that there are: every month has its days, hours, minutes and seconds end", function()
    local function there(text)
      local requests, message = read("TIMESTAMP,ContextTokens,GeneratedTokens", text .. ",1,1")
      if requests then return true end
      assert.are.equal(("t:2: TIMESTAMP = %s, want a time such as 2023-11-16 18:15:46.68"):format(text),
        message)
      return false
    end
    for _, year in ipairs { 1900, 1999, 2000, 2023, 2024, 2100 } do
      local leap = year % 4 == 0 and year % 100 ~= 0 or year % 400 == 0
      for month, last in ipairs { 31, leap and 29 or 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 } do
        for day = 0, 32 do
          local text = ("%d-%02d-%02d 01:02:03"):format(year, month, day)
          assert.are.equal(day >= 1 and day <= last, there(text), text)
        end
      end
    end
    for text, is in pairs {
      ["2024-00-01 00:00:00"] = false, ["2024-13-01 00:00:00"] = false, ["2024-1-2 3:04"] = true,
      ["2024-01-01 23:59:60.5"] = true, ["2024-01-01 23:59:61"] = false, ["2024-01-01 24:00:00"] = false,
      ["2024-01-01 23:60:00"] = false, ["2024-01-01 23:59:5"] = false, ["2024-01-01T23:59:59Z"] = true,
      ["2024-01-01 23:59:59 UTC"] = true, ["2024-01-01 23:59:59 +0100"] = true,
        ["2024-01-01 23:59:59+01"] = true,
      ["2024-01-01 23:59:59+1"] = false, ["2024-01-01 23:59:59+01:0"] = false,
        ["2024-01-01 23:59:59 PST"] = false,
      ["2024-01-01"] = false, ["2024/01/01 00:00:00"] = true, ["24-01-01 00:00:00"] = false,
    } do
      if not text:find "^24" and text ~= "2024-01-01" then assert.are.equal(is, there(text), text) end
    end
  end)

  it("have zones", function()
    for zone, ahead in pairs { ["+05:30"] = 19800, ["-08"] = -28800, ["+0000"] = 0, Z = 0,
      [" +02:00"] = 7200 } do
      local requests = assert(read("TIMESTAMP,ContextTokens,GeneratedTokens", "2024-03-01 12:00:00,1,1",
        "2024-03-02 12:00:00" .. zone .. ",2,2"))
      assert.are.equal(86400 - ahead, requests[2].arrival, zone)
    end
  end)
end)

describe("columns of a trace #lua", function()
  local UNITS = { s = 1, sec = 1, secs = 1, seconds = 1, ms = 1e3, milliseconds = 1e3, us = 1e6, ns = 1e9 }

  it("have the unit that stands in their name, and are seconds without one", function()
    for suffix, unit in pairs(UNITS) do
      for _, name in ipairs { "arrival_", "Arrival Time ", "timestamp", "arrived-at-", "START_TIME_" } do
        local requests = assert(read(name .. suffix .. ",prompt_tokens,output_tokens,ttft_" .. suffix,
          ("%d,1,2,%d")
          :format(3 * unit, 2 * unit), ("%d,1,2,"):format(5 * unit)))
        assert.are.same({ 3, 2, 5 }, { requests[1].arrival, requests[1].ttft, requests[2].arrival }, name
          .. suffix)
      end
    end
    local requests = assert(read("arrival,prompt_tokens,output_tokens,ttft,tpot,deadline,delay,session",
      "3,1,2,4,5,6,7,s"))
    assert.are.same({ 3, 4, 5, 6 }, { requests[1].arrival, requests[1].ttft, requests[1].tpot,
      requests[1].deadline })
  end)

  it("are known by the names that tools give them", function()
    local ARRIVALS = { "arrival", "timestamp", "arrival_time", "arrived_at", "arrival_timestamp",
      "request_time",
                       "start_time", "created_at", "datetime", "time" }
    local PROMPTS = { "prompt_tokens", "ContextTokens", "Request tokens", "input_length",
      "num_prefill_tokens",
                      "prompt_len", "input_tokens", "num_prompt_tokens", "input token count" }
    local OUTPUTS = { "output_tokens", "GeneratedTokens", "Response tokens", "output_length",
      "num_decode_tokens",
                      "output_len", "completion_tokens", "num_output_tokens", "output token count" }
    for _, arrival in ipairs(ARRIVALS) do
      for i, prompt in ipairs(PROMPTS) do
        local requests = assert(read(("%s,%s,x,x,%s"):format(OUTPUTS[i], prompt, arrival), "3,2,,,1"))
        assert.are.same({ 1, 2, 3 }, { requests[1].arrival, requests[1].prompt, requests[1].output })
        assert.are.same({ "not read: x" }, trace.notices(requests))
      end
    end
    for field, names in pairs {
      user = { "user", "User ID", "tenant", "tenant_id", "client", "client-id" },
      class = { "class", "request_class", "tier", "type", "Log Type" },
      session = { "session_id", "session", "conversation_id" },
      priority = { "priority" }, weight = { "weight" }, tpot = { "tpot", "tpot_target", "target_tpot" },
      ttft = { "ttft", "ttft_target", "target_ttft" },
    } do
      for _, name in ipairs(names) do
        local requests = assert(read("arrival_s,prompt_tokens,output_tokens," .. name, "0,1,2,7"))
        assert.are.equal("7", tostring(requests[1][field]), name)
      end
    end
  end)

  it("that mean the same leave the one that says more", function()
    local header = "time,timestamp,arrival_s,type,tier,class,prompt_tokens,input_tokens,output_len"
    local requests = assert(read(header,
      "9,8,1,a,b,c,5,6,7"))
    assert.are.same({ 1, "c", 5 }, { requests[1].arrival, requests[1].class, requests[1].prompt })
    assert.are.same({ "not read: time, timestamp, type, tier, input_tokens" }, trace.notices(requests))
    requests = assert(trace.parse('{"time": 9, "arrival_s": 1, "timestamp": 8, "tier": "b", "class": "c", '
      .. '"prompt_tokens": 5, "output_tokens": 7}', "t"))
    assert.are.same({ 1, "c", 5 }, { requests[1].arrival, requests[1].class, requests[1].prompt })
  end)

  it("without a meaning are named, but not more than a dozen", function()
    local names, cells = {}, {}
    for i = 1, 100 do names[i], cells[i] = ("column %d\27[1m"):format(i), "1" end
    local requests = assert(read("arrival_s,prompt_tokens,output_tokens," .. table.concat(names, ","),
      "0,1,2," .. table.concat(cells, ",")))
    local note = trace.notices(requests)[1]
    assert.are.equal(11, select(2, note:gsub(", ", "")))
    assert.matches('^not read: "column 1\\27%[1m", "column 2', note)
    assert.are.equal(64, #requests.unread)
  end)
end)
