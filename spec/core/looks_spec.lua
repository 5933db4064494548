-- Rows are looked at in blocks, and only behind those one after another, to name the first that is another.
-- How far the first look gets no output tells: up to the block in which the other one stands, whatever is odd
-- about it, and wherever it stands.
local ffi = require "ffi"

require("spec.support.counted_library").use() -- before gdnmeta is loaded

local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"

ffi.cdef [[int32_t gdn_counted_ordinary(const int32_t *const *arrays, const int32_t *bounds, int32_t rows);
           int32_t gdn_counted_good(const int32_t *write, const int32_t *read, int32_t rows, int32_t columns,
                                    int32_t reads_back, int32_t slots);
           int32_t gdn_counted_far(const int32_t *values, int32_t n, int32_t wanted);
           int32_t gdn_counted_unsigned(const int32_t *values, int32_t n);
           int32_t gdn_counted_listed(const gdn_builder *b);]]

local int32s = gdn.array_of "int32_t"

local MIN, MAX = -2 ^ 31, 2 ^ 31 - 1
local MOST, FEW = 40, 4

-- In front of row `bad`, or of the end, in whole blocks of the smallest size.
local function whole(rows, bad) return math.min(rows, bad) - math.min(rows, bad) % FEW end

-- Every number of rows, with one bad row everywhere: it may stand behind the last one, too.
local function each_place(body)
  for rows = 0, MOST do
    for bad = 0, MOST - 1 do body(rows, bad) end
  end
end

describe("Rows that strict takes for ordinary", function()
  local NAMES = { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens", "prompt_done",
                  "read_column" }
  local S, THRESHOLD, COLUMNS = 3, 9, 5 -- more tokens than drafts, so that either is a limit of its own

  -- What is ordinary: rows, values in the order of NAMES; a field that is not, and its values; whole rows.
  local KINDS = {
    plain = { extras = { 0, 0 },
      rows = { { 1, 2, -1, 1, 1, 0 }, { 1, MAX, -1, S + 1, 1, 0 } },
      odd = { seq_len = { 1, 0, -1, MIN }, num_accepted_tokens = { 0, -1, S + 2, MAX, MIN },
              prompt_done = { 0, 2, 3, -1, MAX, MIN } } },
    drafts = { extras = { 1, 0 },
      rows = { { S + 1, S + 2, S, S + 1, 1, 0 }, { 1, 2, 0, 1, 1, 0 },
               { THRESHOLD, MAX, -1, 1, 1, 0 }, { 1, 2, -1, 1, 1, 0 }, { 2, 3, 1, 2, 1, 0 } },
      odd = { query_len = { 0, -1, THRESHOLD + 1, MAX, MIN }, seq_len = { 1, 0, -1, MIN },
              num_draft_tokens = { -2, 4, MAX, MIN }, num_accepted_tokens = { 0, -1, S + 2, MAX, MIN },
              prompt_done = { 0, 2, 3, -1, MAX, MIN } },
      whole = { { S + 2, 99, S + 1, 1, 1, 0 }, { 2, 9, 0, 1, 1, 0 },
                { 2, 9, 2, 1, 1, 0 },
                { 0, 9, -1, 1, 1, 0 }, { THRESHOLD + 1, 99, -1, 1, 1, 0 }, { 2, 2, 1, 1, 1, 0 },
                { 5, 4, -1, 1, 1, 0 } } },
    columns = { extras = { 1, 1 },
      rows = { { S + 1, S + 2, S, S + 1, 1, COLUMNS - 1 }, { 1, 2, -1, 1, 1, 0 }, { 3, 9, -1, 1, 1, 2 } },
      odd = { read_column = { -1, -2, COLUMNS, MAX, MIN }, query_len = { 0, THRESHOLD + 1 },
              prompt_done = { 0 } } },
    ["columns alone"] = { extras = { 0, 1 },
      rows = { { 1, 2, -1, 1, 1, COLUMNS - 1 } }, odd = { read_column = { -1, COLUMNS } } },
    ["the least"] = { extras = { 1, 1 }, most = { 0, 1, 1 },
      rows = { { 1, 2, -1, 1, 1, 0 }, { 1, 2, 0, 1, 1, 0 } },
      odd = { read_column = { -1, 1 }, query_len = { 0, 2 }, num_accepted_tokens = { 0, 2 } },
      whole = { { 2, 9, 1, 1, 1, 0 } } },
  }

  for name, kind in pairs(KINDS) do
    it("are all in front of the first other one: " .. name, function()
      local arrays, fields = {}, ffi.new("const int32_t *[6]")
      local most = kind.most or { S, THRESHOLD, COLUMNS }
      local bounds = int32s(5, { most[1], most[2], most[3], unpack(kind.extras) })
      for f = 1, #NAMES do
        arrays[f] = int32s(MOST)
        fields[f - 1] = arrays[f]
      end
      local function write(i, row)
        for f = 1, #NAMES do arrays[f][i] = row[f] end
      end
      for i = 0, MOST - 1 do write(i, kind.rows[i % #kind.rows + 1]) end
      each_place(function(rows, bad)
        local function check(what, value)
          local got, want = lib.gdn_counted_ordinary(fields, bounds, rows), whole(rows, bad)
          if got == want then return end
          assert.are.same({ rows, bad, what, value, want }, { rows, bad, what, value, got })
        end
        local usual = kind.rows[bad % #kind.rows + 1]
        for f, field in ipairs(NAMES) do
          for _, value in ipairs(kind.odd[field] or {}) do
            if value ~= usual[f] then
              arrays[f][bad] = value
              check(field, value)
              arrays[f][bad] = usual[f]
            end
          end
        end
        for n, row in ipairs(kind.whole or {}) do
          write(bad, row)
          check("row", n)
          write(bad, usual)
        end
      end)
    end)
  end
end)

describe("Slots that strict takes for good", function()
  local function check_all(slots, columns, reads_back)
    local write, read = int32s(MOST * columns), int32s(MOST)
    for i = 0, MOST * columns - 1 do write[i] = 1 + i % (slots - 1) end
    for i = 0, MOST - 1 do read[i] = 1 + i % (slots - 1) end
    local function check(rows, bad)
      local got = lib.gdn_counted_good(write, read, rows, columns, reads_back, slots)
      if got ~= whole(rows, bad) then assert.are.same({ rows, bad, whole(rows, bad) }, { rows, bad, got }) end
    end
    local function change(array, at, value, rows, bad)
      local was = array[at]
      array[at] = value
      check(rows, bad)
      array[at] = was
    end
    each_place(function(rows, bad)
      for _, value in ipairs { 0, -1, slots, MAX, MIN } do
        for column = 0, columns - 1 do change(write, bad * columns + column, value, rows, bad) end
        change(read, bad, value, rows, reads_back == 1 and MOST or bad)
      end
    end)
  end

  for columns = 1, 5 do
    it(("are all in front of the first other one: %d columns"):format(columns), function()
      for _, slots in ipairs { 2, 9 } do
        check_all(slots, columns, 0)
        check_all(slots, columns, 1)
      end
    end)
  end

  it("are none of a pool of one, which has the null slot alone", function()
    local slots = int32s(MOST)
    for i = 0, MOST - 1 do slots[i] = 1 end
    for columns = 1, 4, 3 do
      assert.are.equal(0, lib.gdn_counted_good(slots, slots, 8, columns, 1, 1))
      assert.are.equal(0, lib.gdn_counted_good(slots, slots, 0, columns, 1, 1))
    end
  end)
end)

describe("Numbers of a step", function()
  local N = 200

  -- All alike but one, which is each of some.
  local function check(block, usual, others, look)
    local values = int32s(N, usual)
    for _, n in ipairs { 0, 1, 7, 8, 9, 63, 64, 65, 72, 127, 128, 136, N } do
      for at = 0, N - 1 do
        for _, other in ipairs(others) do
          values[at] = other
          local first = math.min(n, at)
          local got = look(values, n)
          if got ~= first - first % block then
            assert.are.same({ n, at, other, first - first % block }, { n, at, other, got })
          end
        end
        values[at] = usual
      end
    end
  end

  it("are stepped over by eight that have no 1, or nothing else", function()
    check(8, 1, { 0, 2, 3, -1, MAX, MIN }, function(values, n) return lib.gdn_counted_far(values, n, 0) end)
    for _, usual in ipairs { 0, 2, 3, -1, MIN, MAX } do
      check(8, usual, { 1 }, function(values, n) return lib.gdn_counted_far(values, n, 1) end)
    end
  end)

  it("are stepped over by 64 that are not negative", function()
    for _, usual in ipairs { 0, 1, MAX } do check(64, usual, { -1, -2, MIN }, lib.gdn_counted_unsigned) end
  end)
end)

-- Lists of rows are made only where they are no 0, 1, 2, ...: a step of speculative rows needs none.
describe("Speculative rows", function()
  local SPEC, PLAIN, EMPTY, NAMED = { 3, 9, 2 }, { 1, 9, -1 }, { 0, 0, -1 }, { 0, 0, 0 }
  local STEPS = { -- rows, padding that the build makes, and is there a list?
    { { SPEC }, 0, false }, { { SPEC, SPEC, SPEC }, 0, false }, { { SPEC, SPEC }, 2, false },
    { { SPEC, EMPTY, EMPTY }, 1, false }, { { SPEC, PLAIN }, 0, true }, { { SPEC, PLAIN }, 2, true },
    { { SPEC, EMPTY, SPEC }, 0, true }, { { SPEC, EMPTY, PLAIN }, 0, true },
    { { SPEC, EMPTY, NAMED }, 0, true },
  }

  for _, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08" } do
    it("have a list where others stand among them: " .. rules, function()
      local builder = assert(gdn.builder { device = "cpu", rules = rules, max_num_seqs = 4, num_slots = 99,
                                           num_speculative_tokens = 2, max_num_batched_tokens = 64 })
      local batch = assert(builder:batch())
      for n, step in ipairs(STEPS) do
        batch:clear()
        local tokens = 0
        for i, row in ipairs(step[1]) do
          builder:set_blocks(0, i - 1, row[1] > 0 and { 4 * i + 1, 4 * i + 2, 4 * i + 3 } or { 0, 0, 0 })
          assert(batch:push(i - 1, row[1], row[2], row[1] > 0, row[3] >= 0 and row[3] or nil, 1))
          tokens = tokens + row[1]
        end
        if step[2] > 0 then assert(batch:pad(#step[1] + step[2], tokens)) end
        if builder:build(batch) then
          assert.are.same({ n, step[3] }, { n, lib.gdn_counted_listed(builder.handle) ~= 0 })
        else
          assert.is_true(rules == "strict" and n > 6) -- rows without tokens stand at the back
        end
      end
      batch:close()
      builder:close()
    end)
  end
end)
