-- Lists of buckets: which there are by themselves, which one holds a step, and what is refused, over every
-- small size, against spec/goldens/texts.
local buckets = require "gdnmeta.engine.decide.buckets"
local capture_sizes = require "gdnmeta.engine.decide.capture_sizes"
local noted = require "spec.support.noted"

local notes = noted.new "buckets-"
local note, check = notes.note, notes.check

local function text(list)
  local words = {}
  for k, bucket in ipairs(list) do words[k] = bucket.rows .. "x" .. bucket.tokens end
  return table.concat(words, " ")
end

describe("Buckets", function()
  before_each(notes.clear)

  it("are these by themselves", function()
    for rows = 1, 9 do
      for drafts = 0, 3 do
        for _, tokens in ipairs { 1, 2, 3, 7, 8, 9, 16, 17, 32, 100 } do
          local list = buckets.usual(rows, drafts, tokens)
          note(("%d rows, %d drafts, %d tokens:"):format(rows, drafts, tokens), text(list),
            table.concat(buckets.token_sizes(list), ","))
        end
      end
    end
    check "usual"
  end)

  it("hold steps of up to so many rows and tokens", function()
    for _, list in ipairs { {}, { { 1, 4 } }, { { 2, 4 }, { 1, 8 }, { 4, 8 }, { 3, 9 } },
                            { { 5, 70000 }, { 5, 65536 }, { 5, 65537 }, { 1, 1 } },
                            { { 2, 2 }, { 2, 2 }, { 1, 2 }, { 2, 3 } } } do
      local given = {}
      for k, entry in ipairs(list) do given[k] = { rows = entry[1], tokens = entry[2] } end
      local parsed = assert(buckets.parse(given))
      local arrays, words = buckets.new(parsed), {}
      note("list", text(parsed), "sizes", table.concat(buckets.token_sizes(parsed), ","), arrays.n)
      for rows = 0, 6 do
        for _, tokens in ipairs { 0, 1, 2, 3, 4, 5, 8, 9, 10, 65536, 65537, 70000, 70001 } do
          words[#words + 1] = ("%d%s"):format(buckets.find(arrays, rows, tokens),
            buckets.has(arrays, rows, tokens) and "!" or "")
        end
      end
      note("found", table.concat(words, " "))
      for tokens = 0, 10 do note("padded", tokens, buckets.pad(arrays, tokens)) end
    end
    check "found"
  end)

  it("are refused with a name", function()
    local function many(n)
      local list = {}
      for k = 1, n do list[k] = { rows = 1, tokens = k } end
      return list
    end
    for _, value in ipairs { 3, "all" } do note("value", buckets.parse(value)) end
    note("false", #assert(buckets.parse(false)))
    note("true", buckets.parse(true))
    for _, n in ipairs { 1023, 1024, 1025 } do
      local list, problem = buckets.parse(many(n))
      note("many", n, list and #list, problem)
    end
    for _, entry in ipairs { 5, {}, { rows = 1 }, { tokens = 1 }, { rows = 0, tokens = 1 },
                             { rows = 1, tokens = 0 }, { rows = 1.5, tokens = 2 },
                             { rows = 2 ^ 31 - 1, tokens = 2 ^ 31 - 1 }, { rows = 2 ^ 31, tokens = 1 },
                             { rows = 1, tokens = 2 ^ 31 }, { rows = 1, tokens = 1, more = 1 } } do
      local list, problem = buckets.parse { { rows = 1, tokens = 1 }, entry }
      note("entry", entry, list and text(list), problem)
    end
    for _, list in ipairs { { [2] = { rows = 1, tokens = 1 } }, { a = 1 }, { [0] = { rows = 1, tokens = 1 } },
                            { { rows = 1, tokens = 1 }, [1.5] = 2 } } do
      note("gaps", (select(2, buckets.parse(list))))
    end
    check "refused"
  end)
end)

describe("The usual sizes of graphs", function()
  it("end at 512 tokens, at twice the requests with all their drafts, or at what a step can hold", function()
    local function last(...)
      local sizes = capture_sizes.usual(...)
      return sizes[#sizes], #sizes
    end
    for _, case in ipairs {
      { 512, 51, 300, 0, 1e6 }, { 512, 51, 256, 0, 1e6 }, { 496, 50, 255, 0, 1e6 }, { 498, 49, 300, 2, 1e6 },
      { 2, 2, 1, 0, 1e6 }, { 6, 2, 1, 2, 1e6 }, { 8, 4, 4, 0, 1e6 }, { 4, 3, 9, 0, 5 }, { 40, 8, 300, 0, 44 },
      { 1024, 83, 300, 0, 1e6, 1024 }, { 272, 36, 300, 0, 1e6, 287 },
    } do
      assert.are.same({ case[1], case[2] }, { last(unpack(case, 3)) }, table.concat(case, " "))
    end
  end)

  it("are what a step is padded to, each number of tokens", function()
    for _, case in ipairs { { { 1, 2, 8 }, "1 2 8 8 8 8 8 8" }, { { 3 }, "3 3 3" }, { { 1 }, "1" },
                            { {}, "" } } do
      local padded, largest = capture_sizes.table(case[1])
      local words = {}
      for n = 1, largest do words[n] = padded[n] end
      assert.are.same({ case[2], case[1][#case[1]] or 0 }, { table.concat(words, " "), largest })
    end
  end)
end)
