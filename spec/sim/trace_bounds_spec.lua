-- Traces at the bounds of what is read, and over all short lines: against spec/goldens/texts and a second,
-- slower reading of fields.
local columns = require "gdnmeta.sim.trace.columns"
local csv = require "gdnmeta.sim.trace.csv"
local identity = require "gdnmeta.sim.trace.identity"
local lines_of = require "gdnmeta.sim.trace.lines"
local noted = require "spec.support.noted"
local raised = require "gdnmeta.policy.contained.raised"
local recorded_acceptance = require "gdnmeta.sim.recorded_acceptance"
local rows = require "gdnmeta.sim.trace.rows"
local trace = require "gdnmeta.sim.trace"
local units = require "gdnmeta.sim.trace.units"
local workload = require "gdnmeta.sim.workload"

local notes = noted.new "trace-bounds-"
local note, check = notes.note, notes.check

local LONGEST = 2 ^ 24

-- Fields as csv.lua says that they are, one character after the other: a field that begins with a quote and
-- has nothing but blanks after the closing one is the text between; any other is taken as it stands, without
-- the blanks around it. Nil: a quote is left open.
local function fields_of(line, separator)
  local list, at = {}, 1
  repeat
    local from = at
    while line:sub(from, from) == " " do from = from + 1 end
    local text, stop
    if line:sub(from, from) == '"' then
      local parts, k = {}, from + 1
      while true do
        if k > #line then return nil end
        local c = line:sub(k, k)
        if c == '"' and line:sub(k + 1, k + 1) == '"' then
          parts[#parts + 1], k = '"', k + 2
        elseif c == '"' then
          break
        else
          parts[#parts + 1], k = c, k + 1
        end
      end
      local rest = k + 1
      while line:sub(rest, rest) == " " do rest = rest + 1 end
      if rest > #line or line:sub(rest, rest) == separator then text, stop = table.concat(parts), rest end
    end
    if not text then
      stop = at
      while stop <= #line and line:sub(stop, stop) ~= separator do stop = stop + 1 end
      text = line:sub(at, stop - 1):gsub("^%s+", ""):gsub("%s+$", "")
    end
    list[#list + 1], at = text, stop + 1
  until stop > #line
  return list
end

describe("At its bounds a trace #lua", function()
  before_each(notes.clear)

  it("has the fields of every short line", function()
    local letters = { "a", ",", '"', " " }
    for length = 0, 7 do
      for code = 0, 4 ^ length - 1 do
        local line, left = {}, code
        for k = 1, length do line[k], left = letters[left % 4 + 1], math.floor(left / 4) end
        line = table.concat(line)
        local list = {}
        local n = csv.fields(line, ",", list)
        local wanted = fields_of(line, ",")
        local same = n == (wanted and #wanted)
        for k = 1, n or 0 do same = same and list[k] == wanted[k] end
        if not same then assert.are.same({ line, wanted }, { line, n and { unpack(list, 1, n) } }) end
      end
    end
  end)

  it("has lines of up to 16 MiB", function()
    local whole = ("x"):rep(LONGEST)
    local lines = lines_of.new(whole)
    assert.is_true(lines:next() == whole)
    assert.are.same({}, { lines:next() })
    for _, text in ipairs { whole .. "x", "a\n" .. whole .. "x" } do
      lines = lines_of.new(text)
      local line, message
      repeat line, message = lines:next() until line ~= "a"
      assert.are.same({ nil, "a line of more than 16777216 bytes" }, { line, message })
    end
  end)

  it("says how far it is read, every 1,001 lines", function()
    for _, n in ipairs { 1, 1000, 1001, 2001, 2003, 3500 } do
      local text, at = "arrival_s,prompt_tokens,output_tokens\n" .. ("0,1,1\n"):rep(n), {}
      local function progress(bytes, total) at[#at + 1] = ("%d/%s"):format(bytes, tostring(total)) end
      assert(trace.parse(text, "t", { progress = progress }))
      note("text of", n, table.concat(at, " "))
      local path = os.tmpname()
      local file = assert(io.open(path, "wb"))
      file:write(text)
      file:close()
      at = {}
      assert(trace.read(path, { progress = progress }))
      os.remove(path)
      note("file of", n, table.concat(at, " "))
    end
    check "progress"
  end)

  it("counts deadlines from its first date, as arrivals", function()
    local requests = assert(trace.parse("arrival,prompt_tokens,output_tokens,deadline\n"
      .. "2023-11-16 18:15:46,1,1,2023-11-16 18:15:56\n2023-11-16 18:15:44,1,1,2023-11-16 18:15:45\n", "t"))
    assert.are.same({ 0, 1, 2, 12 }, { requests[1].arrival, requests[1].deadline, requests[2].arrival,
      requests[2].deadline })
  end)

  it("is of the format that all its columns say, not some", function()
    local SETS = { { "ContextTokens", "GeneratedTokens" }, { "Request tokens", "Response tokens" },
                   { "arrival_s", "prompt_tokens", "output_tokens" },
                   { "chat_id", "type", "turn", "parent_chat_id" } }
    for _, set in ipairs(SETS) do
      for code = 0, 2 ^ #set - 1 do
        local names = { "other" }
        for k, name in ipairs(set) do
          if math.floor(code / 2 ^ (k - 1)) % 2 == 1 then names[#names + 1] = name end
        end
        note(table.concat(names, ", "), columns.format(names, false), columns.format(names, true))
      end
    end
    check "formats"
  end)

  it("of JSON is refused where there is no module for it", function()
    local without = stub(raised, "module", function() return nil, "no cjson" end)
    local results = { trace.parse('{"timestamp":0,"input_length":5,"output_length":2}', "t") }
    without:revert()
    assert.are.same({ nil, "t:1: JSON lines: no cjson" }, results)
  end)

  it("names the keys of JSON that mean nothing in order", function()
    local keys, names = {}, {}
    for i = 1, 30 do
      names[i] = ("zz%02d"):format(i)
      keys[i] = ('"zz%02d":1'):format(i * 7 % 31)
    end
    local requests = assert(trace.parse('{"timestamp":0,"input_length":5,"output_length":2,'
      .. table.concat(keys, ",") .. "}", "t"))
    assert.are.same(names, requests.unread)
  end)

  it("tells how many requests were passed over", function()
    local text = "arrival_s,prompt_tokens,output_tokens\n" .. ("0,1,1\n"):rep(4)
    for skip = 0, 4 do
      local requests, message = trace.parse(text, "t", { skip = skip })
      note("skip", skip, message or table.concat(trace.notices(requests), ". "))
    end
    note("none", select(2, recorded_acceptance.read "build/nowhere.csv"))
    check "skipped"
  end)

  it("has at most so many requests in a second as its unit allows", function()
    for _, c in ipairs { { 4, 10, 300 }, { 7, 20, 300 }, { 13, 80, 150 }, { 10, 60, 150 } } do
      local n, span, rate = unpack(c)
      local function seen(high) return { n = n, low = 0, high = high, name = "t" } end
      assert.are.equal(rate, 1e3 / (span / (n - 1)))
      assert.is_nil(units.problem(seen(span), 1e3, "csv"))
      assert.is_truthy(units.problem(seen(span - 1e-9), 1e3, "csv"))
    end
    for _, c in ipairs { { 9, 480, false, "csv" }, { 7, 1800, false, "csv" }, { 9, 8000, true, "csv" },
                         { 9, 8000, false, "burstgpt" }, { 7, 6000, false, "burstgpt" } } do
      local n, span, fraction, format = unpack(c)
      local function seen(high) return { n = n, low = 0, high = high, name = "t", fraction = fraction } end
      assert.is_nil(units.problem(seen(span), 1, format))
      assert.is_truthy(units.problem(seen(span + 1e-6), 1, format))
    end
  end)

  it("has sizes of blocks that no power of two fits, or none", function()
    local function prompts(list)
      local requests = {}
      for i, c in ipairs(list) do
        local hashes = {}
        for k = 1, c[2] do hashes[k] = 100 * i + k end
        requests[i] = { prompt = c[1], hashes = hashes, line = i }
      end
      return requests
    end
    local one = {}
    for i = 1, 9 do one[i] = { 1e5, 1 } end
    local requests = prompts(one) -- of one block each: they say nothing of its size
    identity.chain(requests, "mooncake")
    note("one block each", requests.block_size, requests.misfit.n, requests.misfit.text)
    for seed = 1, 300 do
      local random, list = workload.random(seed), {}
      local function upto(n) return math.floor(random() * (n + 1)) end
      local size, odd = 1 + upto(seed % 3 == 0 and 30 or 1200), upto(3)
      for i = 1, 6 + upto(8) do
        local prompt = 1 + upto(4 * size)
        local round = random() < 0.5 and math.ceil or math.floor
        list[i] = { prompt, i <= odd and upto(5) or round(prompt / size) }
      end
      requests = prompts(list)
      identity.chain(requests, seed % 2 == 0 and "bailian" or "csv")
      note("size", size, requests.block_size, requests.known, requests.misfit and requests.misfit.n)
    end
    check "sizes"
  end)

  it("of recorded speculation has steps of up to 65 tokens, and a header where text begins", function()
    local function read(text)
      local lists, message = recorded_acceptance.parse(text, "t")
      note(("%q"):format(text), message or table.concat(lists[1], " ") .. " of " .. #lists)
    end
    for n = 63, 67 do read("emitted_per_step\n0 1 " .. n .. "\n") end
    for _, text in ipairs { "\n", "\n\n\n", "\n\nx\n", "x", '"emitted_per_step\n1\n',
                            "\nemitted_per_step\n\n2\n",
                            "\n\nemitted_per_step\nx\n", 'a,"emitted_per_step\n1', "emitted_per_step\n" } do
      read(text)
    end
    check "recorded"
  end)

  it("has ids of blocks between -2^53 and 2^53, as integers or texts", function()
    for _, id in ipairs { "9007199254740991", "-9007199254740991", "9007199254740992", "-9007199254740992",
                          "0.5", '"x"', '""', "true", "null", "[1]", "1e300" } do
      local requests, message = trace.parse(
        ('{"timestamp":0,"input_length":600,"output_length":2,"hash_ids":[1,%s]}'):format(id), "t")
      note("id", id, message or table.concat(requests[1].blocks, " "))
    end
    for _, ids in ipairs { "[]", "{}", '{"a":1}', '{"1":1}', "[1.5,1]", "[true]", "[null,1]", "[1,null]",
                           "5" } do
      local requests, message = trace.parse(
        ('{"timestamp":0,"input_length":600,"output_length":2,"hash_ids":%s}'):format(ids), "t")
      note("ids", ids, message or table.concat(requests[1].blocks or {}, " "))
    end
    check "ids"
  end)

  it("has rows of no session, chat or parent, which follow none", function()
    for _, none in ipairs { "-1", "nan", "NaN", "null", "None", "NULL", "", "nobody", "0" } do
      for _, named in ipairs { "session_id", "chat_id", "chat_id,parent_chat_id", "session_id,turn" } do
        local text = "arrival_s,prompt_tokens,output_tokens," .. named .. "\n"
        for row = 1, 3 do
          local cells = { none, "" }
          if named == "chat_id,parent_chat_id" then cells = { "c" .. row, "," .. none } end
          if named == "session_id,turn" then cells[2] = "," .. row end
          text = text .. ("%d,%d,2,%s%s\n"):format(row, 10 * row, cells[1], cells[2])
        end
        local requests, message = trace.parse(text, "t")
        local parts = {}
        for i, r in ipairs(requests or {}) do
          parts[i] = ("%s after %s"):format(tostring(r.session), r.after and r.after.line or "none")
        end
        note(none, named, message or table.concat(parts, ", "), requests and requests.sessions)
      end
    end
    check "nobody"
  end)

  it("has as many columns that mean nothing as are told", function()
    local names = {}
    for i = 1, 70 do names[i] = "zz" .. i end
    for _, n in ipairs { 0, 1, 63, 64, 65, 70 } do
      local reader = assert(rows.reader("arrival_s,prompt_tokens,output_tokens,"
        .. table.concat(names, ",", 1, n)))
      assert.are.equal(math.min(n, 64), #reader.unread)
    end
  end)
end)
