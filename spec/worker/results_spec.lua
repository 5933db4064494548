-- What a worker says of a step, each number at the ends of what it may be and past them: which are taken,
-- what is said of the others, and what the step is told.
local ffi = require "ffi"
local gdn = require "gdnmeta"
require "gdnmeta.worker.native"
local results = require "gdnmeta.worker.results"

local int32s = gdn.array_of "int32_t"
local ROWS, SPEC, VOCABULARY = 3, 2, 100

-- Rows with two drafts, without drafts, and one that does not sample.
local function step_of()
  return { number = 9, num_rows = ROWS, samples = int32s(3, { 1, 1, 0 }), drafts = int32s(3, { 2, -1, -1 }),
           accepted_drafts = int32s(4, { 7, 7, 7, 7 }), next_drafts = int32s(4, { 7, 7, 7, 7 }) }
end

-- fields: what replaces what is right.
local function raw_of(fields)
  local lists = { emitted = { 3, 1, 0 }, tokens = { 0, 5, 99, 6, 0, 0, 0, 0, 0 }, next_drafts = { 2, 0, 0 },
                  drafts = { 0, 99, 0, 0, 0, 0 } }
  local raw, held = ffi.new "gdn_result_record", {}
  raw.num_rows, raw.num_tokens, raw.num_drafts, raw.has_drafts = ROWS, 4, 2, 1
  for name, list in pairs(lists) do
    held[name] = int32s(#list, list)
    raw[name] = held[name]
  end
  for name, value in pairs(fields) do
    local array, at = name:match "^([%a_]+)(%d)$"
    if array then held[array][tonumber(at)] = value else raw[name] = value end
  end
  return raw, held
end

local function new() return results.new { max_rows = ROWS, num_speculative_tokens = SPEC } end

-- What is said of it; false: nothing.
local function said(fields, vocabulary)
  local raw, held = raw_of(fields)
  local shown, step = new(), step_of()
  local problem = shown:take(step, raw)
  if problem then
    assert.are.same({ 0, 0, 0 }, { shown.num_rows, shown.num_tokens, shown.num_drafts })
    assert.is_nil(shown.next_drafts)
    assert.are.equal(0, shown.emitted[0] + shown.tokens[2])
  end
  assert(held)
  return problem or results.problem(step, shown, SPEC, vocabulary or VOCABULARY) or false
end

describe("A result", function()
  it("is taken or refused", function()
    local OF = "the result of step 9"
    local function counts(tokens, drafts)
      return (OF .. " has %d tokens and %d drafts, want at most 9 and 6"):format(tokens, drafts)
    end
    for _, case in ipairs {
      { {}, false }, { { num_rows = 2 }, OF .. " has 2 rows, want 3" },
      { { num_rows = 4 }, OF .. " has 4 rows, want 3" }, { { num_rows = 0 }, OF .. " has 0 rows, want 3" },
      { { num_tokens = 9 }, false }, { { num_tokens = 10 }, counts(10, 2) },
      { { num_drafts = 6 }, false }, { { num_drafts = 7 }, counts(4, 7) },
      { { emitted0 = 1 }, false }, { { emitted0 = 0 }, OF .. ": emitted[0] = 0, want 1 .. 3" },
      { { emitted0 = 4 }, OF .. ": emitted[0] = 4, want 1 .. 3" },
      { { emitted1 = 0 }, OF .. ": emitted[1] = 0, want 1 .. 1" },
      { { emitted1 = 2 }, OF .. ": emitted[1] = 2, want 1 .. 1" },
      { { emitted2 = 1 }, OF .. ": emitted[2] = 1, want 0 .. 0" },
      { { emitted2 = -1 }, OF .. ": emitted[2] = -1, want 0 .. 0" },
      { { next_drafts0 = 3 }, OF .. ": next_drafts[0] = 3, want 0 .. 2" },
      { { next_drafts1 = 2 }, false }, { { next_drafts1 = 3 }, OF .. ": next_drafts[1] = 3, want 0 .. 2" },
      { { next_drafts2 = 1 }, OF .. ": next_drafts[2] = 1, want 0 .. 0" },
      { { next_drafts2 = 1, has_drafts = 0 }, false },
      { { tokens0 = 100 }, OF .. ": tokens[0] = 100, want 0 .. 99" },
      { { tokens3 = 100 }, OF .. ": tokens[3] = 100, want 0 .. 99" }, { { tokens4 = 100 }, false },
      { { drafts0 = 100 }, OF .. ": drafts[0] = 100, want 0 .. 99" },
      { { drafts1 = 101 }, OF .. ": drafts[1] = 101, want 0 .. 99" }, { { drafts2 = 100 }, false },
    } do
      assert.are.same({ case[1], case[2] }, { case[1], said(case[1]) })
    end
    for _, name in ipairs { "tokens0", "drafts1" } do
      assert.is_false(said({ [name] = 2 ^ 31 - 1 }, 0))
      assert.is_false(said({ [name] = 0 }, 1) == false)
      assert.is_false(said({ [name] = 100 }, 101))
    end
  end)

  it("is shown, and told to its step", function()
    for _, has in ipairs { 1, 0, 1 } do
      local raw, held = raw_of { has_drafts = has, next_drafts = has == 0 and ffi.cast("void *", nil) or nil }
      local shown, step = new(), step_of()
      assert.are.same({ 0, 0, 0 }, { shown.num_rows, shown.num_tokens, shown.num_drafts })
      assert.is_nil(shown:take(step, raw))
      assert.are.same({ 3, 4, 2, has == 1 }, { shown.num_rows, shown.num_tokens, shown.num_drafts,
                                               rawequal(shown.next_drafts, shown.own_drafts) })
      assert.are.same({ 3, 1, 0, 0, 5, 99, 6 }, { shown.emitted[0], shown.emitted[1], shown.emitted[2],
        shown.tokens[0], shown.tokens[1], shown.tokens[2], shown.tokens[3] })
      results.write(step, shown)
      local a, n = step.accepted_drafts, step.next_drafts
      assert.are.same({ 2, 0, 0, 7 }, { a[0], a[1], a[2], a[3] })
      assert.are.same(has == 1 and { 2, 0, 0, 7 } or { 7, 7, 7, 7 }, { n[0], n[1], n[2], n[3] })
      assert(held)
    end
  end)
end)
