-- Tensors as the prompt shows them: what is long is shortened, and says by how much.
local gdn = require "gdnmeta"
local show = require "gdnmeta.repl.show"
local array_of = require "gdnmeta.array_of"
local colors = require "gdnmeta.metadata.colors"
local tensor = require "gdnmeta.tensor"

local int32s, doubles = array_of "int32_t", array_of "double"

describe("show.text", function()
  local builder, batch
  before_each(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 128, max_num_batched_tokens = 512,
                                   num_speculative_tokens = 1 })
    batch = builder:batch()
  end)
  after_each(function() builder:close() end)

  local function shown(name)
    return show.text(assert(builder:build(batch))[name], colors.plain)
  end

  it("counts runs of equal elements, from 8 on", function()
    for slot = 1, 3 do
      batch:add { query_len = 1, seq_len = 9, blocks = { slot, 0 }, prompt_done = true }
    end
    assert.are.equal("int32[3] {1, 2, 3}", shown "non_spec_state_indices_tensor")
    batch:clear()
    for _, n in ipairs { 7, 8, 9 } do -- in a row, and others after them
      for row = 1, n + 2 do
        batch:add { query_len = 2, seq_len = row > n and 2 or 9, blocks = { row, 0 } }
      end
      local run = n < 8 and ("true, "):rep(n):sub(1, -3) or "true x " .. n
      assert.are.equal(("bool[%d] {%s, false, false}"):format(n + 2, run), shown "has_initial_state")
      batch:clear()
    end
    for slot = 1, 9 do
      local done = slot < 9
      batch:add { query_len = done and 1 or 2, seq_len = 9, blocks = { slot, 0 }, prompt_done = done }
    end
    assert.are.equal("bool[9] {true x 9}", shown "has_initial_state")
  end)

  it("ends after 64 elements", function()
    for slot = 1, 70 do
      batch:add { query_len = 1, seq_len = 9, blocks = { slot, 0 }, prompt_done = true }
    end
    local text = shown "non_spec_state_indices_tensor"
    assert.are.equal("int32[70] {1, 2, ", text:sub(1, 17))
    assert.are.equal(", 63, 64, ... 6 more}", text:sub(-21))
  end)

  it("ends after 40 rows", function()
    for row = 1, 42 do
      local blocks = { 2 * row, 2 * row + 1 }
      batch:add { query_len = 2, seq_len = 9, blocks = blocks, drafts = 1, prompt_done = true }
    end
    local text = shown "spec_state_indices_tensor"
    assert.matches("^int32%[42, 2%]\n     0  {2, 3}\n     1  {4, 5}\n", text)
    assert.matches("\n    39  {80, 81}\n   %.%.%. 2 rows more$", text)
    batch:clear()
    batch:add { query_len = 2, seq_len = 9, blocks = { 2, 3 }, drafts = 1, prompt_done = true }
    assert.are.equal("int32[1, 2]\n     0  {2, 3}", shown "spec_state_indices_tensor")
  end)

  it("counts a run from its first element on", function()
    local starts = { 1, 2, 1, 1, 1, 1, 1, 1, 1, 1 }
    local mine = int32s(10, starts)
    local core = { stamp = doubles(1) }
    assert.are.equal("int32[10] {1, 2, 1 x 8}", show.text(tensor.vector(core, mine, 0, 10), colors.plain))
    assert.are.equal("int32[9] {1, 2, 1, 1, 1, 1, 1, 1, 1}",
      show.text(tensor.vector(core, mine, 0, 9), colors.plain))
    assert.are.equal("int32[1] {1}", show.text(tensor.vector(core, mine, 0, 1), colors.plain))
  end)

  it("shows all of 40 rows, and 64 elements", function()
    for row = 1, 40 do
      local blocks = { 2 * row, 2 * row + 1 }
      batch:add { query_len = 2, seq_len = 9, blocks = blocks, drafts = 1, prompt_done = true }
    end
    local text = shown "spec_state_indices_tensor"
    assert.matches("\n    39  {80, 81}$", text)
    assert.are.equal(40, select(2, text:gsub("\n", "")))
    batch:clear()
    for slot = 1, 64 do
      batch:add { query_len = 1, seq_len = 9, blocks = { slot, 0 }, prompt_done = true }
    end
    assert.matches(", 63, 64}$", shown "non_spec_state_indices_tensor")
  end)

  it("lists numbers before other keys, 40 of them", function()
    local two_lines = setmetatable({}, { __tostring = function() return "{}\n2" end })
    assert.are.equal('  [2] = 1\n  [10] = 2\n  ! = 3\n  [true] = "x"\n  z = {}',
      show.text({ [10] = 2, [2] = 1, ["!"] = 3, z = two_lines, [true] = "x" }, colors.plain))
    local list = {}
    for n = 1, 40 do list[n] = n end
    assert.are.equal(39, select(2, show.text(list, colors.plain):gsub("\n", "")))
    list[41], list[42] = 41, 42
    assert.matches("\n  %[40%] = 40\n  %.%.%. 2 more$", show.text(list, colors.plain))
  end)

  it("draws batches and steps in colour, and says which are closed", function()
    local function paint(kind, text) return "<" .. kind .. ":" .. text .. ">" end
    local other = builder:batch()
    other:add { query_len = 1, seq_len = 9, blocks = { 1, 2 }, prompt_done = true }
    assert.matches("^gdnmeta.Batch: 1 of 256 rows, 1 token\n<head:   row .*>\n<d:d    0 ",
      show.text(other, paint))
    assert.are.equal("gdnmeta.Metadata: step 0, 0 rows, 0 tokens\n" ..
      "<head:      row  class        tokens  positions       reads  writes>",
      show.text(builder.metadata, paint))
    local meta = assert(builder:build(other))
    local text = show.text(meta, paint)
    assert.matches("^gdnmeta.Metadata: step 1, 1 row, 1 token\n<d:  d  decodes ", text)
    assert.matches("\n<head: .*\n<d:        0  decode ", text)
    other:close()
    assert.are.equal("gdnmeta.Batch(closed)", show.text(other, paint))
    builder:close()
    assert.are.equal("gdnmeta.Metadata(closed)", show.text(meta, paint))
  end)
end)
