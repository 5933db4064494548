-- Tensors as the prompt shows them: what is long is shortened, and says by how much.
local gdn = require "gdnmeta"
local show = require "gdnmeta.repl.show"
local colors = require "gdnmeta.metadata.colors"

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
end)
