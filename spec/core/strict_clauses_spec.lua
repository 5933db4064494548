-- Which batches rules strict takes. The header states it, clause by clause; src/strict checks it; both
-- are held against the same steps here.
local clauses = require "spec.support.legal_clauses"
local strict = require "spec.support.strict_rows"

local builder_of, build = strict.builder_of, strict.build

after_each(strict.close)

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

describe("A strict build wants that", function()
  for _, clause in ipairs(clauses.all) do
    it(clause.words, function()
      for _, case in ipairs(clause.cases) do
        local builder = builder_of(case.options)
        assert.is_truthy(build(builder, case.legal))
        assert.are.same({ nil, case.reason, -1 }, { build(builder, case.illegal) })
        local meta = assert(build(builder, case.legal))
        assert.are.equal(2, meta.step) -- the refused build was none
      end
    end)
  end

  it("nothing about who else names a block where check_unique is off", function()
    local builder = builder_of(clauses.unchecked)
    for _, step in ipairs(clauses.shared) do
      assert.is_nil(build(builder_of(), step))
      assert(build(builder, step))
    end
  end)
end)

describe("What strict calls legal", function()
  it("is what the header lists, in its order", function()
    local text = read "src/gdnmeta.h"
    text = text:match "Legal batches %(strict%)(.-)The vLLM rule sets accept"
    local stated, walked = {}, {}
    text = text:gsub("\n %*   %- ", "\1"):gsub("%s*\n %*%s*", " ")
    for words in text:gmatch "\1([^\1]+)" do stated[#stated + 1] = words:gsub("[;.]%s*$", "") end
    for i, clause in ipairs(clauses.all) do walked[i] = clause.words end
    assert.are.same(walked, stated)
  end)

  -- A refusal that no case meets is one that no spec has read.
  it("has no refusal in the code that no step here meets", function()
    local reasons, count = {}, 0
    for _, clause in ipairs(clauses.all) do
      for _, case in ipairs(clause.cases) do reasons[#reasons + 1] = case.reason end
    end
    for _, name in ipairs { "rows", "slots", "unique", "checkpoints" } do
      local code = read(("src/strict/strict_%s.c"):format(name)):gsub('"%s*\n%s*"', "")
      for format in code:gmatch '"(rows%[%%d%][^"]*)"' do
        local pattern, met = "^" .. format:gsub("[%[%]().+-]", "%%%0"):gsub("%%d", "%%-?%%d+")
          :gsub("%%s", ".+") .. "$", false
        for _, reason in ipairs(reasons) do met = met or reason:find(pattern) ~= nil end
        met = met or format:find "on the device" ~= nil -- checkpoints_strict_spec.lua has that
        assert.is_true(met, format)
        count = count + 1
      end
    end
    assert.are.equal(30, count)
  end)
end)

describe("A strict raw build wants", function()
  local function inputs_of(changes)
    local inputs = { query_start_loc = { 0, 5 }, seq_lens = { 9 }, block_table = { { 4, 5, 6 } },
      num_reqs = 1, num_actual_tokens = 5, prompt_done = { false } }
    for name, value in pairs(changes) do inputs[name] = value end
    return inputs
  end

  local function refuses(reason, changes)
    local builder = builder_of()
    assert(builder:build_raw(inputs_of {}))
    assert.are.same({ nil, reason, -1 }, { builder:build_raw(inputs_of(changes)) })
  end

  it("a table of S + 1 columns, and arrays of one length", function()
    refuses("block_table has 2 columns, want >= 3", { block_table = { { 4, 5 } } })
    refuses("block_table has 2 rows, want 1", { block_table = { { 4, 5, 6 }, { 7, 8, 9 } } })
    refuses("seq_lens has 2 elements, want 1 (rows)", { seq_lens = { 9, 9 } })
    refuses("num_accepted_tokens has 0 elements, want 1 (rows)", { num_accepted_tokens = {} })
    refuses("num_decode_draft_tokens has 2 elements, want 1 (rows)", { num_decode_draft_tokens = { -1, -1 } })
  end)

  it("num_reqs as many as there are rows, and no fewer tokens than they have", function()
    refuses("num_reqs = 2, want 1, the rows of query_start_loc", { num_reqs = 2 })
    refuses("num_actual_tokens = 4, want >= 5, the tokens of the rows", { num_actual_tokens = 4 })
  end)
end)
