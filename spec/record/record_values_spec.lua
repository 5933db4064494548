-- Every value of a recording at both ends of what it may be, in its first and its last place: what it is
-- told, written down whole in spec/goldens/texts/record_*.txt.
local cjson = require "cjson"
local golden = require "spec.support.golden"
local headers = require "gdnmeta.record.header"
local validate = require "gdnmeta.record.validate"
local recordings = require "spec.support.recordings"
local request_events = require "gdnmeta.record.request_events"
local step_line = require "gdnmeta.record.step_line"

local NULL = cjson.null
local BIG = ("x"):rep(200)
local VALUES = { -2 ^ 53 - 2, -2 ^ 53, -2 ^ 31 - 1, -2 ^ 31, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 2 ^ 31 - 1,
                 2 ^ 31, 2 ^ 31 + 1, 2 ^ 53, 2 ^ 53 + 2, 1 / 0, 0 / 0, "", "eager", "full", BIG, BIG .. "x",
                 "a\nb", true, false, NULL, {}, { 1 } }

local function copy(value)
  if type(value) ~= "table" then return value end
  local made = {}
  for key, of in pairs(value) do made[key] = copy(of) end
  return made
end

local function shown(value)
  if value == BIG then return "200 bytes" end
  if value == BIG .. "x" then return "201 bytes" end
  if value == NULL then return "null" end
  if type(value) == "table" then return #value == 0 and "{}" or "{ 1 }" end
  if type(value) == "number" then return value ~= value and "nan" or ("%.16g"):format(value) end
  return type(value) == "string" and ("%q"):format(value):gsub("\\\n", "\\n") or tostring(value)
end

-- Lines: what is put to the value that set(document, value) sets, by the answer.
local function sweep(parts, title, make, set, ask)
  local replies, by = {}, {}
  for _, value in ipairs(VALUES) do
    local document = make()
    set(document, value)
    local ok, problem = pcall(ask, document)
    local answer = not ok and "raises " .. problem or problem or "taken"
    answer = answer:gsub("table: 0x%x+", "a table"):gsub("^([%w_.%[%]]+) = .*, want", "%1: want")
    answer = answer:gsub("builder: ([%w_.%[%]]+) = .*, want", "builder: %1: want")
    if not by[answer] then by[answer], replies[#replies + 1] = {}, answer end
    table.insert(by[answer], shown(value))
  end
  parts[#parts + 1] = title
  for _, answer in ipairs(replies) do
    local list = by[answer]
    local values = #list > #VALUES / 2 and ("%d values"):format(#list) or table.concat(list, ", ")
    parts[#parts + 1] = ("  %s: %s"):format(answer, values)
  end
end

local function sorted(t)
  local names = {}
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

-- The field itself, and, where it is a list, its first element, its last, and one after that.
local function sweep_field(parts, path, make, at, ask)
  local function parent(document)
    for n = 1, #at - 1 do document = document[at[n]] end
    return document
  end
  local name = at[#at]
  sweep(parts, path, make, function(d, value) parent(d)[name] = value end, ask)
  local value = parent(make())[name]
  if type(value) ~= "table" then return end
  local places = #value > 0 and { 1, #value, #value + 1 } or sorted(value)
  for n, place in ipairs(places) do
    local inner = copy(at)
    inner[#inner + 1] = place
    if n == 1 or place ~= places[n - 1] then
      sweep_field(parts, ("%s.%s"):format(path, place), make, inner, ask)
    end
  end
end

describe("What a recording says", function()
  local path, header, step, empty
  setup(function()
    path = os.tmpname()
    local e = recordings.engine({ kv_tokens = 4096 }, { num_speculative_tokens = 1, num_slots = { 40, 41 } })
    local recording = assert(e:record(path))
    recordings.serve(e, 6)
    e:submit { id = "named", prompt_tokens = 10, max_tokens = 4 }
    assert(recording:close())
    e:close()
    local lines = recordings.lines(recordings.read(path))
    header = cjson.decode(lines[1])
    step = cjson.decode(lines[#lines - 2])
    step.read_blocks = { {}, {} }
    for row = 1, #step.query_len do step.read_blocks[1][row], step.read_blocks[2][row] = 1, 2 end
    step.drafts, step.accepted = step.drafts or {}, step.accepted or {}
    for row = 1, #step.query_len do
      step.drafts[row], step.accepted[row] = step.drafts[row] or -1, step.accepted[row] or 1
    end
    step.who, step.did = { 1, "b" }, { "came", "stop" }
    step.waits, step.why = { 3, "c" }, { "kv", "held" }
    step.sums = { non_spec_query_start_loc = { "0123456789abcdef" },
                  non_spec_state_indices_tensor = { ("f"):rep(16), ("0"):rep(16) } }
    empty = { empty = 4, now = 1.5, who = { 1 }, did = { "came" }, waiting = 2, waits = { 1 },
              why = { "kv" } }
  end)
  teardown(function() os.remove(path) end)

  it("of a step is judged value by value", function()
    local facts = header.builder
    assert(step_line.parse(copy(step), facts))
    local parts = {}
    for _, name in ipairs(sorted(step)) do
      sweep_field(parts, name, function() return copy(step) end, { name },
                  function(d) return select(2, step_line.parse(d, facts)) end)
    end
    assert.is_nil(step_line.empty_problem(copy(empty)))
    for _, name in ipairs(sorted(empty)) do
      sweep_field(parts, "empty line: " .. name, function() return copy(empty) end, { name },
                  step_line.empty_problem)
    end
    golden("record_steps", table.concat(parts, "\n") .. "\n")
  end)

  it("of an id is a number where all its digits are written, else a text of so many bytes", function()
    for id, want in pairs { [0] = 0, [-5] = -5, [1e14 - 1] = 1e14 - 1, [1e14] = "100000000000000",
                            [-1e14] = "-100000000000000", [1 - 1e14] = 1 - 1e14, [0.5] = "0.5",
                            [BIG] = BIG, [BIG .. "x"] = BIG:sub(1, 197) .. "...", a = "a" } do
      assert.are.equal(want, request_events.id(id))
    end
  end)

  it("of cached tokens and of kept states is judged row by row", function()
    local facts, n = header.builder, #step.query_len
    local function judge(change)
      local d = copy(step)
      d.cached, d.checkpoint_len, d.checkpoint_slot = {}, {}, { {}, {} }
      for row = 1, n do
        d.cached[row], d.checkpoint_len[row] = 0, 0
        d.checkpoint_slot[1][row], d.checkpoint_slot[2][row] = 0, 0
      end
      change(d)
      local _, problem = step_line.parse(d, facts)
      return problem
    end
    assert.is_nil((judge(function() end)))
    for row = 1, n do
      local before = step.seq_len[row] - step.query_len[row]
      for cached = 0, before + 2 do
        local why = ("cached[%d] = %d, want 0 or %d, the tokens before its row"):format(row - 1,
          cached, before)
        local is_good = cached == 0 or cached == before
        assert.are.equal(not is_good and why or nil, (judge(function(d) d.cached[row] = cached end)))
      end
    end
    local lists = "checkpoint_slot = a table, want a list of 2 lists, one per group"
    assert.are.equal(lists, judge(function(d) d.checkpoint_slot[2] = nil end))
    assert.are.equal("checkpoint_slot[1][0] = -1, want an integer in 0 .. 2147483647",
      judge(function(d) d.checkpoint_slot[2][1] = -1 end))
  end)

  it("of its builder and its engine is judged value by value", function()
    local function parse(d) return select(2, headers.parse(d, 2 ^ 30)) end
    assert.is_nil(parse(copy(header)))
    local parts = {}
    for _, name in ipairs(sorted(header)) do
      sweep_field(parts, name, function() return copy(header) end, { name }, parse)
    end
    golden("record_header", table.concat(parts, "\n") .. "\n")
  end)

  it("is judged together: rows, tokens, blocks and what is built of them", function()
    local facts, parts = header.builder, {}
    local n = #step.query_len
    local function try(title, change)
      local d = copy(step)
      change(d)
      local _, problem = step_line.parse(d, facts)
      parts[#parts + 1] = ("%s: %s"):format(title, problem or "taken")
    end
    try("two rows in one place", function(d) d.table_row[n] = d.table_row[1] end)
    local width = facts.num_speculative_tokens + 1
    for extra = 0, 1 do
      try(("%d tokens more"):format(extra), function(d)
        local sum = 0
        for row = 1, n - 1 do sum = sum + d.query_len[row] end
        d.query_len[n] = facts.max_num_batched_tokens - sum + extra
        d.padded_tokens = facts.max_num_batched_tokens
      end)
      try(("%d rows more"):format(extra), function(d) d.padded_rows = facts.max_rows + extra end)
      try(("%d rows less"):format(extra), function(d) d.padded_rows = n - extra end)
      try(("%d blocks less"):format(extra), function(d) d.blocks[2][n * width + 1 - extra] = nil end)
      try(("%d counts"):format(8 + extra), function(d) for k = 9 + extra, 12 do d.counts[k] = nil end end)
    end
    try("no rows", function(d) d.query_len = {} end)
    try("more rows than the builder has", function(d)
      for row = 1, facts.max_rows + 1 do d.query_len[row] = 1 end
    end)
    try("without what is the same everywhere", function(d) d.drafts, d.accepted = nil, nil end)
    try("a sum of 17 digits", function(d) d.sums.non_spec_query_start_loc[1] = ("0"):rep(17) end)
    try("a sum with a g", function(d) d.sums.non_spec_query_start_loc[1] = ("0"):rep(15) .. "g" end)
    try("ids of other rows", function(d) d.ids[n + 1] = 1 end)
    for low = -1, 0 do
      local aligned = copy(facts)
      aligned.mamba_cache_mode, aligned.mamba_block_size, aligned.max_blocks_per_row = "align", 4, 9
      local d = copy(step)
      d.seq_len[n], d.blocks, d.read_blocks = 4 * (9 - facts.num_speculative_blocks - low - 1) + 1, nil, nil
      parts[#parts + 1] = ("a window %d columns past the table: %s"):format(-low,
        select(2, step_line.parse(d, aligned)) or "taken")
    end
    local bytes = headers.memory(header.builder)
    parts[#parts + 1] = ("%d bytes of a builder"):format(bytes)
    for less = 0, 1 do
      parts[#parts + 1] = ("memory for all but %d: %s"):format(less,
        select(2, headers.parse(copy(header), bytes - less)) or "taken")
    end
    golden("record_together", table.concat(parts, "\n") .. "\n")
  end)
end)

describe("A builder's memory, as far as a recording's header tells it", function()
  it("is so many bytes", function()
    local function memory(change)
      local o = { num_speculative_tokens = 0, max_num_seqs = 1, max_rows = 1, max_num_batched_tokens = 1,
                  num_groups = 1, max_blocks_per_row = 1, max_requests = 1, check_unique = true,
                  num_slots = { 0 } }
      for name, value in pairs(change) do o[name] = value end
      return headers.memory(o) - 32768
    end
    assert.are.equal(4 * (2 + 2 * 5) + 320 + 20, memory {})
    assert.are.equal(4 * (2 + 2 * 5) + 320 + 20 + 400, memory { num_slots = { 7, 100 } })
    assert.are.equal(4 * (2 + 2 * 5) + 320 + 20, memory { num_slots = { 7, 100 }, check_unique = false })
    assert.are.equal(4 * (3 * 5 * (7 + 2) + 3 * 4 * 6) + 160 * 4 + 20 * 9,
      memory { num_groups = 3, max_blocks_per_row = 5, max_requests = 7, max_rows = 2, max_num_seqs = 1,
               num_speculative_tokens = 1, max_num_batched_tokens = 9 })
    assert.are.equal(4 * (3 + 7 * 5) + 160 * 7 + 20 * 5,
      memory { max_rows = 2, max_num_seqs = 9, max_num_batched_tokens = 5 })
    assert.are.equal(4 * (3 + 5 * 5) + 160 * 5 + 20 * 5,
      memory { max_rows = 2, max_num_seqs = 9, max_num_batched_tokens = 5, max_cudagraph_capture_size = 3 })
  end)
end)

describe("Ids and values of a recording", function()
  it("are bounded", function()
    for _, case in ipairs {
      { BIG, BIG }, { BIG .. "x", ("x"):rep(197) .. "..." }, { 7, 7 }, { -7, -7 }, { 0.5, "0.5" },
      { 1e14 - 1, 1e14 - 1 }, { 1e14, "100000000000000" },
      { -1e14, "-100000000000000" },
      { 1e300, "1.0000000000000001e+300" },
    } do
      assert.are.equal(case[2], request_events.id(case[1]))
    end
    assert.are.equal('"' .. ("x"):rep(60) .. '"', validate.show(("x"):rep(60)))
    assert.are.equal('"' .. ("x"):rep(60) .. '..."', validate.show(("x"):rep(61)))
    assert.are.equal(("x"):rep(240), validate.short(("x"):rep(240)))
    assert.are.equal(("x"):rep(240) .. "...", validate.short(("x"):rep(241)))
    assert.are.same({ "nil", "null", "false" },
      { validate.show(nil), validate.show(NULL), validate.show(false) })
  end)
end)
