-- What people read, whole: drawings, explanations and a session at the prompt, against spec/goldens/texts.
local draw = require "gdnmeta.metadata.draw"
local engine_drawing = require "gdnmeta.engine.draw"
local explain = require "gdnmeta.repl.explain"
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local colors = require "gdnmeta.metadata.colors"
local repl = require "gdnmeta.repl"
local draw_rows = require "gdnmeta.metadata.draw_rows"
local sample_engine = require "gdnmeta.repl.sample_engine"

-- Steps that differ in what they have: { options, rows, padding }. A row is { query_len, seq_len, drafts,
-- accepted }; one token with something before it and no drafts is a decode.
local function many(n, row)
  local list = {}
  for i = 1, n do list[i] = row end
  return list
end

local STEPS = {
  { "nothing", {}, {} },
  { "decodes", {}, many(14, { 1, 9 }) },
  { "prefills", {}, { { 1, 9 }, { 5, 12 }, { 65, 200 }, { 3, 3 }, { 130, 130 }, { 1, 1 }, { 64, 64 } } },
  { "one chunk", {}, { { 2, 2 } } },
  { "many prefills", { max_num_seqs = 32 }, many(27, { 9, 9 }) },
  { "padded decodes", { full_cuda_graph = true, pad_slot_id = -1 }, many(3, { 1, 9 }), { 8, 8 } },
  { "padded tokens", { full_cuda_graph = true }, many(3, { 1, 9 }), { 3, 8 } },
  { "one row of padding", { full_cuda_graph = true }, many(3, { 1, 9 }), { 4, 4 } },
  { "drafts", { num_speculative_tokens = 3 }, many(13, { 4, 99, 3, 1 }) },
  { "drafts, padded", { num_speculative_tokens = 3, full_cuda_graph = true },
    { { 4, 99, 3, 2 }, { 4, 50, 3, 4 }, { 2, 70, 1, 1 } }, { 5, 20 } },
  { "drafts and others", { num_speculative_tokens = 2 }, { { 3, 40, 2, 3 }, { 2, 31, 1, 1 }, { 1, 30, 0, 1 },
    { 1, 9, nil, 3 }, { 17, 40 }, { 70, 70 } }, { 8, 120 } },
  { "wide drafts", { num_speculative_tokens = 13, num_slots = 4000 }, { { 14, 99, 13, 5 }, { 3, 3 } } },
  { "another rule set", { rules = "vllm-2026-08", num_speculative_tokens = 1 },
    { { 2, 9, 1, 2 }, { 1, 7 }, { 20, 20 } } },
}

local function built(case)
  local options = { device = "cpu", num_slots = 999 }
  for name, value in pairs(case[2]) do options[name] = value end
  local builder = assert(gdn.builder(options))
  local batch, slot = builder:batch(), 1
  for _, row in ipairs(case[3]) do
    local blocks = {}
    for column = 1, builder.num_spec + 1 do blocks[column], slot = slot, slot + 1 end
    batch:add { query_len = row[1], seq_len = row[2], blocks = blocks, drafts = row[3], accepted = row[4],
                prompt_done = row[3] ~= nil or row[1] == 1 and row[2] > 1 }
  end
  if case[4] then batch:pad(case[4][1], case[4][2]) end
  return assert(builder:build(batch)), builder, batch
end

local function each_step(write)
  local parts = {}
  for _, case in ipairs(STEPS) do
    local meta, builder, batch = built(case)
    parts[#parts + 1] = ("== %s\n%s"):format(case[1], write(meta, batch))
    builder:close()
  end
  return table.concat(parts, "\n") .. "\n"
end

describe("Texts", function()
  it("explain every field of every kind of step", function()
    golden("explain", each_step(function(meta)
      local parts = { explain.list(meta) }
      for _, name in ipairs(explain.names) do parts[#parts + 1] = assert(explain.field(meta, name)) end
      return table.concat(parts, "\n")
    end))
  end)

  it("draw steps, batches, rows and bars, plain and in colour", function()
    golden("drawings", each_step(function(meta, batch)
      local parts = {}
      for _, paint in ipairs { colors.plain, colors.colour } do
        parts[#parts + 1] = draw.step(meta, paint)
        parts[#parts + 1] = draw.batch(batch.rows, paint)
        parts[#parts + 1] = draw_rows.draw(meta, paint)
        parts[#parts + 1] = draw_rows.draw(meta, paint, { "a", "b", 3 })
        for _, width in ipairs { 1, 3, 24, 200 } do parts[#parts + 1] = draw.bar(meta, width, paint) end
      end
      parts[#parts + 1] = draw.step(meta)
      parts[#parts + 1] = draw.batch(batch.rows)
      parts[#parts + 1] = draw_rows.draw(meta)
      parts[#parts + 1] = draw.bar(meta, 10)
      return table.concat(parts, "\n")
    end))
  end)

  it("draw an engine, with an attention cache, with none, and with more requests than are shown", function()
    local parts = {}
    for _, kv in ipairs { false, 640 } do
      local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 18, max_num_batched_tokens = 64 })
      local engine = assert(gdn.engine { builder = builder, max_num_seqs = 18, max_num_batched_tokens = 64,
        max_model_len = 512, kv_tokens = kv or nil, kv_block_size = kv and 16 or nil })
      for n = 1, 20 do
        engine:submit { id = n % 2 == 0 and n or "request " .. n, prompt_tokens = 1 + 3 * n, max_tokens = n,
                        arrival = 20 - n }
      end
      for now = 1, 6 do
        local step = engine:step(now)
        parts[#parts + 1] = engine_drawing.draw(engine, now % 2 == 0 and colors.colour or nil)
        engine:complete(step, now)
      end
      engine:cancel(20)
      parts[#parts + 1] = engine_drawing.draw(engine)
      engine:close()
      parts[#parts + 1] = engine_drawing.draw(engine)
      builder:close()
    end
    golden("engines", table.concat(parts, "\n") .. "\n")
  end)

  it("are a session at the prompt", function()
    local parts = {}
    local function out(text) parts[#parts + 1] = text end
    local session = repl.new(colors.plain, out, function(text) parts[#parts + 1] = "! " .. text end)
    for _, line in ipairs {
      "help()", "=help", "step()", "step(3)", "step()", "=meta", "=batch", "=engine", "step(2)", "=meta",
      "explain(meta)", 'explain(meta, "spec_state_indices_tensor")', 'explain "num_rows"', "explain(1)",
      "explain(meta, 'nope')", "step(1.5)", "step(0)", "step('x')", "=meta.batch_ptr", "=meta.chunk_indices",
      "=meta.spec_state_indices_tensor", "=meta.nums_dict[8].tot",
      "={ 3, 2, x = 1, y = 'two', [true] = print ~= nil }", "={}",
      "={ [3] = 1, [1] = 2, [7] = 3, [2] = 4, [-5] = 5, [1.5] = 6, b = 7, a = 8, [print == nil] = 9 }",
      "='int32[3] {1, 2, 3}'", "='int32[2, 2] {1}'", "=1ULL", "={ 'a\\nb', step = 'x' }", "=print ~= nil",
      "u = {} for i = 1, 40 do u[i] = i end", "=u", "u[41] = 1", "=u", "=nil, false, 'a\\nb'",
      "t = {} for i = 1, 45 do t[i] = i end", "=t", "mine = builder:batch()",
      "mine:add { query_len = 5, seq_len = 5, blocks = { 1, 2, 3 } }", "=mine", "=builder:build(mine)",
      "=meta", "for i = 1, 2 do", "t[i] = -i", "end", "=t[2]", "x =", "", "step(60)", "=engine",
      "step()", "exit",
    } do
      out("> " .. line)
      local what = repl.take(session, line)
      if what then out("(" .. what .. ")") end
    end
    golden("prompt", table.concat(parts, "\n") .. "\n")
    session.sample.engine:close()
    session.sample.builder:close()
  end)

  it("have the same steps in every session", function()
    local sample, parts = sample_engine.new(), {}
    for n = 1, 700 do -- until names are "a2"
      local step = sample:step()
      if n > 100 then
        for _, id in ipairs(step.admitted) do parts[#parts + 1] = id end
      end
      local rows = {}
      for row = 0, step.num_rows - 1 do
        rows[row + 1] = ("%s:%d/%d"):format(step:id(row), step.query_len[row], step.accepted_drafts[row])
      end
      if n <= 100 then parts[#parts + 1] = ("%.6f %s"):format(sample.now, table.concat(rows, " ")) end
    end
    golden("sample", table.concat(parts, "\n") .. "\n")
    sample.engine:close()
    sample.builder:close()
  end)
end)
