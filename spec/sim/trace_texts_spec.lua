-- What stands in traces and what comes of it, whole, against spec/goldens/texts: files, values, names of
-- columns,
-- and at which rates a unit is believed.
local columns = require "gdnmeta.sim.trace.columns"
local csv = require "gdnmeta.sim.trace.csv"
local golden = require "spec.support.golden"
local lines_of = require "gdnmeta.sim.trace.lines"
local rows = require "gdnmeta.sim.trace.rows"
local trace = require "gdnmeta.sim.trace"
local units = require "gdnmeta.sim.trace.units"
local values = require "gdnmeta.sim.trace.values"
local flat = require "spec.support.flat"

-- A request of them, a turn as the place of the one that it follows.
local function request_text(r, requests)
  local names, parts = {}, {}
  for name in pairs(r) do names[#names + 1] = name end
  table.sort(names)
  for k, name in ipairs(names) do
    local value = r[name]
    if name == "blocks" then value = "{" .. table.concat(value, ",") .. "}" end
    for i, other in ipairs(requests) do value = name == "after" and other == r.after and i or value end
    parts[k] = ("%s=%s"):format(name, type(value) == "number" and ("%.9g"):format(value) or tostring(value))
  end
  return "  " .. table.concat(parts, " "):gsub("[%c\128-\255]", "?")
end

-- What a reading gave.
local function read(text, o)
  local requests, message = trace.parse(text, "t", o)
  if not requests then return "  " .. message:gsub("[%c\128-\255]", "?") end
  local out = {}
  for i = 1, math.min(#requests, 12) do out[i] = request_text(requests[i], requests) end
  local reasons = {}
  for i, reason in ipairs(requests.reasons) do
    reasons[i] = ("%s %d from line %d"):format(reason.name, reason.n, reason.line)
  end
  out[#out + 1] = ("  %d of %d rows, %s, %d passed, %d unsorted, %d sessions; %s; %s"):format(#requests,
    requests.rows, requests.format, requests.passed, requests.unsorted, requests.sessions,
    table.concat(reasons, ", "), table.concat(trace.notices(requests), ". "))
  return table.concat(out, "\n")
end

-- What becomes of a row whose field is `value`, among good ones.
local function field_text(field, value)
  local text = "arrival_s,prompt_tokens,output_tokens," .. field .. "\n0,10,2,\n1,20,3,\n"
  local requests, message = trace.parse(text .. ("2,30,4,%s\n3,40,5,\n4,50,6,\n"):format(value), "t")
  if not requests then return message end
  for _, r in ipairs(requests) do
    if r.line == 4 then return request_text(r, requests) end
  end
  return table.concat(trace.notices(requests), ". "):gsub("%c", "?")
end

local function second(_, message) return tostring(message) end

local FIELDS = { "user", "class", "priority", "weight", "ttft_s", "tpot_ms", "deadline_s", "session_id",
                 "think_s", "elapsed_ms", "chat_id", "parent_chat_id", "turn", "hash_ids", "other" }
local VALUES = { "", "-1", "0", "0.5", "7", "1e6", "1e7", "-1e15", "1e16", "nan", "NULL", "null", "None",
  "NaN",
                 "x", "0x10", "a b", '"a,b"', '"a', "a\tb", "1e19", "2e19", "1e-6", "1e-7" }

describe("Traces #lua", function()
  it("of a corpus are read so", function()
    local parts, pipe = {}, io.popen "ls fuzz/corpus/trace/*"
    for path in pipe:lines() do
      local file = assert(io.open(path, "rb"))
      parts[#parts + 1] = path .. "\n" .. read(file:read "*a")
      file:close()
    end
    pipe:close()
    golden("trace-corpus", table.concat(parts, "\n") .. "\n")
  end)

  it("have these values in their columns", function()
    local parts = {}
    for _, field in ipairs(FIELDS) do
      for _, value in ipairs(VALUES) do
        parts[#parts + 1] = ("%s = %s: %s"):format(field, (value:gsub("%c", "?")), field_text(field, value))
      end
    end
    golden("trace-fields", table.concat(parts, "\n") .. "\n")
  end)

  it("have times, tokens and separators of these kinds", function()
    local parts = {}
    for _, time in ipairs { "5", "0.25", "2023-11-16 18:15:46.5", "2024-02-29", "2024-02-29T23:59:60Z", "-1",
                            "1e18", "1.1e18", "", "18:15", "nan", "2023/1/2 3:04" } do
      for _, tokens in ipairs { "1,1", "0,1", "1,0", "1.5,1", "1073741823,1", "1073741824,1", "x,1",
        "1,-1" } do
        parts[#parts + 1] = time .. "," .. tokens
        parts[#parts + 1] = read("arrival,prompt_tokens,output_tokens\n" .. time .. "," .. tokens .. "\n")
      end
    end
    for _, text in ipairs {
      "", "\n\n", "{", "[1]", "[", "{}\n", '{"timestamp":1}', "a,b\n1,2", "timestamp\n", "\239\187\191a\n",
      '{"timestamp":0,"input_length":5,"output_length":2}\n\n{"timestamp":1500,"input_length":5,'
        .. '"output_length":2}', '{"timestamp":0,"input_length":5,"output_length":2}\n'
        .. '{"timestamp":10,"session_id":1,"input_length":5,"output_length":2}\n'
        .. ('{"delay":1,"session_id":1,"input_length":5,"output_length":2}\n'):rep(7),
      '{"timestamp":0,"input_length":5,"output_length":2}\n7\n{"x"\n{"timestamp":1,"input_length":null}',
      '{"delay":0,"session_id":"s","input_length":5,"output_length":2}\n'
        .. '{"delay":700,"session_id":"s","input_length":6,"output_length":3}',
      "arrival;prompt_tokens;output_tokens\n0,5;3;1\n1,75;4;2\n",
        "arrival|prompt tokens|output-tokens\r0|1|1\r1|2|2",
      "arrival\tprompt_len\toutput_len\n0\t1\t1\n", 'arrival,prompt_tokens,output_tokens,"x\n0,1,1,2\n',
      "arrival,prompt_tokens,output_tokens,arrival\n",
        "arrival,arrival_ms,prompt,num_prompt_tokens,output_tokens\n"
        .. "1,1500,3,4,5\n", "arrival,prompt_tokens,output_tokens\n0,1,1,,\n1,1\n2,1,1,x\n3,2,2\n",
      "arrival,prompt_tokens,output_tokens\n\n\n0,1,1\n\nx,1,1\n\n",
        "session,think,prompt_tokens,output_tokens\n"
        .. "a,1,2,3\na,2,3,4\nb,0,1,1\n",
    } do
      parts[#parts + 1] = ("%q"):format(text)
      parts[#parts + 1] = read(text)
    end
    golden("trace-rows", table.concat(parts, "\n") .. "\n")
  end)

  it("are refused at the line that is bad, wherever it stands, blank lines and quoted line ends counted",
    function()
    for _, blank in ipairs { "", "\n", "\r\n" } do
      for bad = 1, 6 do
        local text, line, wanted = "arrival_s,prompt_tokens,output_tokens,user\n", 1, nil
        for row = 1, 6 do
          text, line = text .. blank, line + (blank == "" and 0 or 1)
          wanted = row == bad and line + 1 or wanted
          text = text .. (row == bad and "x,1,1,\n" or '0,1,1,"a\nb"\n')
          line = line + (row == bad and 1 or 2)
        end
        local requests = assert(trace.parse(text, "t"))
        assert.are.same({ "unreadable", wanted }, { requests.reasons[1].name, requests.reasons[1].line })
        local list = {}
        for i, r in ipairs(requests) do list[i] = r.line end
        assert.are.equal(5, #list)
      end
    end
  end)

  it("have columns by these names, of which the better one counts", function()
    local parts = {}
    for _, name in ipairs { "prompt_tokens", "num_prompt_tokens", "context length", "REQUEST-LEN",
      "input_token",
        "prefill_tokencount", "output_tokens", "num_generated_len", "response length", "completiontoken",
        "decode_tokens", "Arrival", "arrival_s", "timestamp_ms", "time", "TimeUS", "created_at_ns",
          "date time",
        "start-time_seconds", "deadline", "deadline_ms", "ttft", "target_ttft_ms", "tpot target", "delay",
          "think_s",
        "think_time_ms", "elapsed", "elapsed_time_secs", "user_id", "tenant", "client id", "class", "tier",
          "type",
        "log type", "priority", "weight", "session", "conversation_id", "chat_id", "parent_chat_id", "turn",
          "x",
        "prompt", "tokens" } do
      parts[#parts + 1] = flat(name, columns.meaning(name) and { columns.meaning(name).field,
        tostring(columns.meaning(name).unit) } or "none")
    end
    -- Of those that mean an arrival, the best first.
    local names = {}
    for _, name in ipairs { "arrival", "timestamp", "arrivaltime", "arrivedat", "requesttime", "time" } do
      for _, suffix in ipairs { "", "s", "ms", "us", "ns" } do names[#names + 1] = name .. suffix end
    end
    for _, step in ipairs { 1, -1 } do
      local left, order = {}, {}
      for i = step == 1 and 1 or #names, step == 1 and #names or 1, step do left[#left + 1] = names[i] end
      while #left > 0 do
        local header = table.concat(left, ",") .. ",prompt_tokens,output_tokens"
        local reader = assert(rows.reader(header))
        order[#order + 1] = reader.names.arrival
        for i = #left, 1, -1 do
          if left[i] == reader.names.arrival then table.remove(left, i) end
        end
      end
      parts[#parts + 1] = table.concat(order, " ")
    end
    golden("trace-columns", table.concat(parts, "\n") .. "\n")
  end)

  it("have their unit believed at these rates", function()
    local parts = {}
    for _, unit in ipairs { 1, 1e3, 1e6, 1e9 } do
      for _, n in ipairs { 0, 1, 2, 3, 7, 8, 100 } do
        for _, fraction in ipairs { false, true } do
          for _, format in ipairs { "csv", "burstgpt" } do
            local said = {}
            for _, rate in ipairs { 1e-6, 0.00099, 0.00101, 0.0033, 0.00334, 0.0166, 0.0167, 0.02, 1, 59.9,
              60.1,
                                    149.5, 150.5, 299.5, 300.5, 1e4 } do
              local seen = { n = n, low = 5, high = 5 + (n - 1) * unit / rate, name = "t",
                fraction = fraction }
              local message = units.problem(seen, unit, format)
              said[#said + 1] = message and message:match "pass %-%-time%-unit (%a+)" or "-"
            end
            parts[#parts + 1] = ("%g %d %s %s: %s"):format(unit, n, tostring(fraction), format,
              table.concat(said, " "))
          end
        end
      end
      for _, low in ipairs { 999999, 1e6, 999999999, 1e9, 4.1e9, 4100000001, 1e12, 4.1e12, 1e15, 1e18,
        5e18 } do
        local seen = { n = 9, low = low * unit, high = low * unit + 90 * unit, name = "t" }
        parts[#parts + 1] = ("%g %g calendar %s, %s"):format(unit, low, tostring(units.calendar(low, unit)),
          units.problem({ n = 9, low = low, high = low + 9, name = "t" }, unit, "csv")
            or units.problem(seen, unit, "csv") or "-")
      end
    end
    for _, gap in ipairs { 1e2, 1e4, 7e4, 1e5, 3e5, 1e6, 6e6, 1e7, 2e8, 1e9,
      4e9 } do -- of what it may be then
      parts[#parts + 1] = units.problem({ n = 9, low = 0, high = 8 * gap, name = "t" }, 1, "csv")
    end
    golden("trace-units", table.concat(parts, "\n") .. "\n")
  end)

  it("have these numbers, dates and words", function()
    local parts = {}
    local texts = { "", "1", "-1", "+1", "1.5", ".5", "5.", "1e3", "1e", "0x10", "nan", "inf", "1e999", " 1",
      "1 ", "x" }
    for _, text in ipairs(texts) do
      parts[#parts + 1] = ("%q %s %s %s"):format(text, tostring(values.decimal(text)),
        second(values.number("n", text, 0, 10)), second(values.tokens("n", text)))
    end
    for _, value in ipairs { 0, 1, -1, 10, 11, 2 ^ 30 - 1, 2 ^ 30, 0.5, 0 / 0, 1 / 0, true, {} } do
      parts[#parts + 1] = ("%s %s %s %s"):format(values.shown(value), tostring(values.decimal(value)),
        second(values.number("n", value, 0, 10)), second(values.tokens("n", value)))
    end
    parts[#parts + 1] = tostring(select(2, values.number("n", "x", 0, 1e15)))
    parts[#parts + 1] = tostring(select(2, values.number("n", "x", 0, 1e15 - 1)))
    parts[#parts + 1] = tostring(select(2, values.number("n", "x", -1e15, 1)))
    parts[#parts + 1] = tostring(select(2, values.number("n", "x", 1 - 1e15, 1)))
    for _, word in ipairs { " a", "a ", "a b", "a,b", "a\nb", "a\\b", 'a"b', ("y"):rep(40), ("y"):rep(41),
                            "\27[2J", "_.:+ -" } do
      parts[#parts + 1] = values.shown(word)
    end
    for _, text in ipairs { "2023-11-16 18:15:46.68", "2023-11-16 18:15", "2023-11-16T8:15:46,5+01:30",
        "2023/1/2 3:04:05 UTC", "2023-02-29 0:00", "2024-02-29 0:00", "1900-02-29 0:00", "2000-02-29 0:00",
        "2023-13-01 0:00", "2023-12-31 23:59:60", "2023-12-31 23:59:61", "2023-12-31 24:00",
          "2023-01-00 1:00",
        "2023-12-31 23:60", "2023-12-31 1:00-05", "2023-12-31 1:00+5", "2023-12-31 1:00 +0530",
          "2023-00-10 1:00",
        "2023-12-31 1:00Z", "2023-12-31 1:00z", "2023-12-31 1:00x", "2023-12-31" } do
      local seconds, from = values.clock(text)
      parts[#parts + 1] = ("%s %s %s %s"):format(text, tostring(seconds), tostring(from),
        tostring((values.clock(text, 738000))))
    end
    golden("trace-values", table.concat(parts, "\n") .. "\n")
  end)

  it("may be a file with nothing in it, or none", function()
    local path = os.tmpname()
    assert.are.same({ nil, path .. ":1: nothing in it" }, { trace.read(path) })
    os.remove(path)
    assert.are.same({ nil, path .. ": No such file or directory" }, { trace.read(path) })
    assert.are.same({ nil, "spec: Is a directory" }, { trace.read "spec" })
  end)

  it("are lines of fields", function()
    local parts = {}
    for _, line in ipairs { "a,b", "", ",", "a, b ,c ", '"a","b"', '"a""b",c', '"a" ,b', '"a"x,b',
      ' "a,b" ,c', '"a',
                            'a"b,c', '"a\nb",c', "a\tb;c|d", ' ,"', '""', '"",' } do
      for _, separator in ipairs(csv.SEPARATORS) do
        local list, lines = {}, lines_of.new 'x",y\nz\n'
        local n = csv.fields(line, separator, list, lines)
        for i = 1, n or 0 do list[i] = ("%q"):format(list[i]) end
        parts[#parts + 1] = ("%q %q %s %s then line %d"):format(line, separator, tostring(n),
          table.concat(list, " ", 1, n or 0), lines.number)
      end
    end
    for _, most in ipairs { 199, 200, 201 } do -- lines of a quoted field
      local lines = lines_of.new(("x\n"):rep(most - 1) .. 'x",y\n')
      parts[#parts + 1] = ("%d %s %d"):format(most, tostring(csv.fields('"a', ",", {}, lines)), lines.number)
    end
    for _, text in ipairs { "", "a", "a\n", "\na", "a\r\nb", "a\rb", "\239\187\191a\nb", "\n\n" } do
      local lines, list = lines_of.new(text), {}
      for line in function() return (lines:next()) end do
        list[#list + 1] = ("%q at %d of %d"):format(line, lines.number, lines:position())
      end
      parts[#parts + 1] = ("%q: %s"):format(text, table.concat(list, ", "))
    end
    for _, magic in ipairs { "\31\139", "BZh91AY&SY", "\2537zXZ\0", "(\181/\253", "PK\3\4", "PAR1",
      "\255\254", "\254\255",
                             "BZh", "PAR" } do
      parts[#parts + 1] = ("%q %s"):format(magic, second(lines_of.new(magic)))
    end
    local longest = 2 ^ 24
    for _, n in ipairs { longest, longest + 1 } do
      local lines = lines_of.new(("x"):rep(n))
      local line, message = lines:next()
      parts[#parts + 1] = ("%d: %s %s"):format(n, line and #line or "nil", tostring(message))
    end
    golden("trace-lines", (table.concat(parts, "\n"):gsub("[^%g \n]", "?") .. "\n"))
  end)
end)
