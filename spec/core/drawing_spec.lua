-- What print() shows of batches and steps.
local gdn = require "gdnmeta"
local draw = require "gdnmeta.metadata.draw"

local function make(options)
  options.device = "cpu"
  return assert(gdn.builder(options))
end

local function lines(...) return table.concat({ ... }, "\n") end

describe("a batch", function()
  it("prints its rows", function()
    local builder = make { max_num_seqs = 1, max_rows = 3, num_speculative_tokens = 2, num_groups = 2 }
    local batch = builder:batch()
    batch:push(2, 1, 2001, true)
    batch:add { query_len = 3, seq_len = 830, blocks = { {}, {} }, drafts = 2, accepted = 2,
                prompt_done = true, read_column = 1 }
    assert.are.equal(lines(
      "gdnmeta.Batch: 2 of 3 rows, 4 tokens",
      "   row  query_len   seq_len  drafts  accepted  prompt_done  table_row  read_column",
      "d    0          1      2001       -         1          yes          2            -",
      "s    1          3       830       2         2          yes         ~1            1"
    ), tostring(batch))
    batch:clear()
    assert.are.equal("gdnmeta.Batch: 0 of 3 rows, 0 tokens", tostring(batch))
    batch:pad(1, 2)
    local empty = "gdnmeta.Batch: 0 of 3 rows, 0 tokens"
    assert.are.equal(lines(empty, ".      padded to 1 row and 2 tokens"), tostring(batch))
    batch:pad(1, 0)
    assert.are.equal(lines(empty, ".      padded to 1 row and 0 tokens"), tostring(batch))
    batch:pad(0, 0)
    assert.are.equal(empty, tostring(batch))
  end)

  it("prints where rows keep states, in each group", function()
    for groups = 1, 3 do
      local builder = make { max_num_seqs = 4, num_slots = 100, num_groups = groups }
      local batch, blocks, slots, text = builder:batch(), {}, {}, {}
      for g = 1, groups do blocks[g], slots[g], text[g] = { g }, 10 * g, 10 * g end
      batch:push(0, 1, 9, true)
      local one = groups == 1
      batch:add { query_len = 200, seq_len = 200, blocks = one and { 1 } or blocks, checkpoint_len = 64,
                  checkpoint_slot = one and 10 or slots }
      local row, kept = tostring(batch):match "\n(d[^\n]*)\n(p[^\n]*)$"
      assert.is_nil(row:find "keeps")
      assert.are.equal("  keeps 64 in " .. table.concat(text, " "), kept:match "  keeps.*$")
      builder:close()
    end
  end)

  it("prints no more rows than a person reads", function()
    local large = make { max_num_seqs = 40 }
    local many = large:batch()
    local function push(n)
      for _ = 1, n do many:push(0, 1, 1, false) end
      return select(2, (tostring(many) .. "\n"):gsub("\n", ""))
    end
    assert.are.equal(1 + 1 + 1, push(1))
    assert.are.equal("p    0          1         1       -         1           no          0            -",
                     tostring(many):match "[^\n]*$")
    assert.are.equal(1 + 1 + 16, push(15))
    assert.are.equal(1 + 1 + 16 + 1, push(3))
    assert.matches("\n   ... 3 rows more$", tostring(many))
    large:close()
  end)
end)

describe("metadata", function()
  it("names the state that a prefill keeps, of the first one, too", function()
    local builder = make { num_slots = 100, max_num_seqs = 8 }
    local batch = builder:batch()
    for _, first in ipairs { true, false } do
      batch:clear()
      if not first then batch:add { query_len = 1, seq_len = 9, blocks = { 7 }, prompt_done = true } end
      for k, len in ipairs { 64, 0, 128 } do
        batch:add { query_len = 200, seq_len = 200, blocks = { 10 * k }, checkpoint_len = len,
                    checkpoint_slot = len > 0 and 10 * k + 1 or nil }
      end
      local seen = {}
      for slot, after in tostring(assert(builder:build(batch))):gmatch "; (%d+) after (%d+)" do
        seen[#seen + 1] = slot .. " after " .. after
      end
      assert.are.same({ "11 after 64", "31 after 128" }, seen)
    end
    builder:close()
  end)

  it("is drawn by class, with a bar of its tokens", function()
    local builder = make { num_speculative_tokens = 3, num_slots = 100 }
    local batch = builder:batch()
    batch:add { query_len = 1, seq_len = 2001, blocks = { 7 }, prompt_done = true }
    batch:add { query_len = 4, seq_len = 830, blocks = { 9, 10, 11, 12 }, drafts = 3, prompt_done = true }
    batch:add { query_len = 512, seq_len = 512, blocks = { 13 } }
    batch:pad(4, 520)
    assert.are.equal(lines(
      "gdnmeta.Metadata: step 1, 4 rows, 520 tokens",
      "  s  spec decodes      1 row         4 tokens",
      "  p  prefills          2 rows      513 tokens",
      "  .  padding           1 row         3 tokens",
      "  |s" .. ("p"):rep(62) .. ".|"
    ), draw.step(assert(builder:build(batch))))
    builder:close()
  end)

  it("shows decodes and prefills in proportion", function()
    local builder = make { num_slots = 100 }
    local batch = builder:batch()
    for slot = 1, 4 do batch:add { query_len = 1, seq_len = 5, blocks = { slot }, prompt_done = true } end
    batch:add { query_len = 12, seq_len = 12, blocks = { 5 } }
    assert.are.equal(lines(
      "gdnmeta.Metadata: step 1, 5 rows, 16 tokens",
      "  d  decodes           4 rows        4 tokens",
      "  p  prefills          1 row        12 tokens",
      "  |" .. ("d"):rep(16) .. ("p"):rep(48) .. "|"
    ), draw.step(assert(builder:build(batch))))
    builder:close()
  end)

  it("has a bar of one width, whatever the rounding comes to", function()
    local builder = make { num_speculative_tokens = 1, num_slots = 200 }
    local batch = builder:batch()
    local function drawn(drafted, prompt, padding)
      batch:clear()
      for i = 1, drafted do
        batch:add { query_len = 2, seq_len = 9, blocks = { 2 * i, 2 * i + 1 }, drafts = 1,
                    prompt_done = true }
      end
      batch:add { query_len = prompt, seq_len = prompt, blocks = { 199 } }
      batch:pad(batch.num_rows + 1, 2 * drafted + prompt + padding)
      return draw.step(assert(builder:build(batch))):match "|(.*)|$"
    end
    -- 22.5, 22.5 and 19 of 64: two of them round up.
    assert.are.equal(("s"):rep(22) .. ("p"):rep(23) .. ("."):rep(19), drawn(45, 90, 76))
    assert.are.equal("s" .. ("p"):rep(62) .. ".", drawn(1, 1000, 1)) -- two round to none
    -- 21.33 each: all round down.
    assert.are.equal(("s"):rep(22) .. ("p"):rep(21) .. ("."):rep(21), drawn(10, 20, 20))
    for prompt = 1, 40 do
      for padding = 0, 20 do assert.are.equal(64, #drawn(3, prompt, padding)) end
    end
    builder:close()
  end)

  it("shows a step of nothing and a step of one", function()
    local builder = make {}
    local batch = builder:batch()
    assert.are.equal("gdnmeta.Metadata: step 1, 0 rows, 0 tokens", draw.step(assert(builder:build(batch))))
    batch:add { query_len = 1, seq_len = 5, blocks = { 1 }, prompt_done = true }
    assert.are.equal(lines(
      "gdnmeta.Metadata: step 2, 1 row, 1 token",
      "  d  decodes           1 row         1 token",
      "  |" .. ("d"):rep(64) .. "|"
    ), draw.step(assert(builder:build(batch))))
    builder:close()
  end)

  it("draws counts that only the vLLM rules allow", function()
    local builder = make { rules = "vllm-2026-08" }
    -- Fewer tokens than the rows have: passed on as upstream does.
    local meta = assert(builder:build_raw { query_start_loc = { 0, 1, 6 }, seq_lens = { 9, 9 },
                                            block_table = { { 1 }, { 2 } }, num_actual_tokens = 1 })
    assert.are.equal(lines(
      "gdnmeta.Metadata: step 1, 2 rows, 1 token",
      "  d  decodes           1 row         1 token",
      "  p  prefills          1 row         0 tokens",
      "  |" .. ("d"):rep(64) .. "|"
    ), draw.step(meta))
    builder:close()
  end)

  it("draws no more than there can be, whatever is counted", function()
    local builder = make { rules = "vllm-2026-04", max_num_batched_tokens = 100000 }
    local inputs = { query_start_loc = { 0, 1, 60001, 100000 }, seq_lens = { 5, 60000, 39999 },
                     block_table = { { 1 }, { 2 }, { 3 } } }
    for _, tokens in ipairs { 0, 1, 99999 } do
      for rows = 0, 3 do
        inputs.num_actual_tokens, inputs.num_reqs = tokens, rows
        local meta = builder:build_raw(inputs)
        if meta then
          local text = draw.step(meta)
          assert.is_true(#text < 300, text)
          assert.is_nil(text:find("-", 1, true), text)
          assert.is_true(#tostring(meta) < 1000)
        end
      end
    end
    builder:close()
  end)

  it("prints its rows, padding last", function()
    local builder = make { max_num_seqs = 4, num_speculative_tokens = 3, full_cuda_graph = true,
                           num_groups = 2 }
    local batch = builder:batch()
    batch:add { query_len = 1, seq_len = 2001, blocks = { { 7 }, { 1 } }, prompt_done = true }
    batch:add { query_len = 4, seq_len = 830, blocks = { { 9, 10, 11, 12 }, { 2, 3, 4, 5 } }, drafts = 3,
                accepted = 2, prompt_done = true }
    batch:add { query_len = 512, seq_len = 512, blocks = { { 13 }, { 6 } } }
    batch:pad(4, 520)
    local meta = assert(builder:build(batch))
    assert.are.equal(lines(
      "gdnmeta.Metadata: step 1, 4 rows, 520 tokens",
      "      row  class        tokens  positions       reads  writes",
      "        0  prefill           1  0               7      7",
      "        1  spec decode       4  1 .. 4          10     9 10 11 12",
      "        2  prefill         512  5 .. 516        fresh  13",
      "        3  padding           3  517 .. 519"
    ), tostring(meta))
    assert.are.equal("        1  spec decode       4  1 .. 4          3      2 3 4 5",
                     tostring(meta:group(1)):match "\n(        1  [^\n]*)\n")
    builder:close()
  end)

  it("prints the first rows of many, then its classes", function()
    local builder = make { max_num_seqs = 300 }
    local batch = builder:batch()
    local function printed(n)
      batch:clear()
      for slot = 1, n do batch:add { query_len = 1, seq_len = 5, blocks = { slot }, prompt_done = true } end
      return tostring(assert(builder:build(batch)))
    end
    assert.are.equal(2 + 24, select(2, printed(24):gsub("[^\n]+", "")))
    for _, n in ipairs { 25, 300 } do
      local text = printed(n)
      assert.are.equal(2 + 23 + 1 + 1 + 2, select(2, text:gsub("[^\n]+", "")))
      assert.are.equal(lines(
        ("      ...  %d rows more"):format(n - 24),
        ("%9d  decode            1  %-15d %-6d %d"):format(n - 1, n - 1, n, n),
        ("  d  decodes        %4d rows     %4d tokens"):format(n, n),
        "  |" .. ("d"):rep(64) .. "|"
      ), text:match "\n( +%.%.%..*)")
    end
    builder:close()
  end)

  it("prints all classes of a bucket, whose rows it knows by their tokens", function()
    local builder = make { full_cuda_graph = "mixed", num_speculative_tokens = 3, max_rows = 8,
                           max_blocks_per_row = 4 }
    local batch = builder:batch()
    batch:add { query_len = 1, seq_len = 5, blocks = { 1, 2, 3, 4 }, prompt_done = true }
    batch:add { query_len = 2, seq_len = 9, blocks = { 5, 6, 7, 8 }, prompt_done = true, drafts = 1 }
    batch:add { query_len = 9, seq_len = 9, blocks = { 9, 10, 11, 12 } }
    batch:pad(5, 16)
    assert.are.equal(lines(
      "gdnmeta.Metadata: step 1, 5 rows, 16 tokens",
      "      row  class        tokens  positions       reads  writes",
      "        0  decode            1  0               1      1",
      "        1  spec decode       2  1 .. 2          5      5 6 7 8",
      "        2  prefill           9  3 .. 11         fresh  9",
      "     3..4  padding           4  12 .. 15"
    ), tostring(assert(builder:build(batch))))
    builder:close()
  end)

  it("prints the rows that vLLM's rules let through, and that their sums are others", function()
    local builder = make { rules = "vllm-2026-08" }
    local meta = assert(builder:build_raw { query_start_loc = { 0, 1, 6 }, seq_lens = { 9, 9 },
                                            block_table = { { 1 }, { 2 } }, num_actual_tokens = 1 })
    assert.matches("\n        1  prefill           5  1 .. 5          -      2\n", tostring(meta), 1, true)
    assert.matches("\n  p  prefills          1 row         0 tokens\n", tostring(meta), 1, true)
    builder:close()
  end)

  it("of a closed builder still prints", function()
    local builder = make {}
    local meta = assert(builder:build(builder:batch()))
    builder:close()
    assert.are.equal("gdnmeta.Metadata(closed)", tostring(meta))
  end)
end)

describe("an engine", function()
  it("prints no more requests than a person reads, and says how many more there are", function()
    local engine = require("spec.support.run_engine").engine "fcfs"
    local draw_engine = require("gdnmeta.engine.draw").draw
    for id = 1, 18 do
      assert(engine:submit { id = id, prompt_tokens = 1, max_tokens = 1 })
      local shown, more = draw_engine(engine):match "of most  drafts(.-)(%s*[.%d more]*)$"
      assert.are.equal(math.min(id, 16), select(2, shown:gsub("waiting", "")))
      assert.are.equal(id > 16 and ("\n      ... %d more"):format(id - 16) or "", more:match "\n.*" or "")
    end
    engine:close()
  end)
end)
