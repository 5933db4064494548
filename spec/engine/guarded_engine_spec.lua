-- A stray write beside a batch of an engine: the step is refused, and the engine goes on with another batch.
local gdn = require "gdnmeta"
local paint = require("gdnmeta.metadata.colors").plain
local drivers = require "spec.support.driver"
local draw_rows = require "gdnmeta.metadata.draw_rows"
local serve = require "spec.support.run_engine"

local ARRAYS = { query_len = "query_len", seq_len = "seq_len", drafts = "num_draft_tokens",
                 last_accepted = "num_accepted_tokens", prompt_done = "prompt_done", table_row = "table_row",
                 read_column = "read_column" }

-- Steps to the end, with a write to step[name][at] before the one numbered `when`.
local function serve_with(engine, name, at, when)
  for id = 1, 6 do assert(engine:submit(serve.request(id, { max_tokens = 6 }))) end
  local now, refused, emitted = 0, nil, 0
  while not engine:idle() do
    now = now + 1
    if now == when then engine.private.steps[1][name][at] = 5 end
    local step, message, code = engine:step(now)
    if step then
      assert(engine:complete(step, now))
      for row = 0, step.num_rows - 1 do emitted = emitted + step.emitted[row] end
    else
      assert.is_nil(refused)
      refused = { message, code }
    end
    assert.is_true(now < 100)
  end
  return refused, emitted
end

describe("An engine whose batch was written beside", function()
  for field, array in pairs(ARRAYS) do
    it("refuses one step and goes on, " .. field, function()
      for _, at in ipairs { -1, -16, 4, 19 } do
        local engine = serve.engine "fcfs"
        local first = engine.private.steps[1].batch
        local refused, emitted = serve_with(engine, field, at, 3)
        assert.are.same({ ("something wrote outside batch.%s[0 .. 3]"):format(array), gdn.EGUARD },
                        refused)
        assert.are.equal(6 * 6, emitted)
        assert.are.equal(6, engine.stats.finished)
        assert.are.equal(0, engine:slots().used)
        assert.are_not.equal(first, engine.private.steps[1].batch)
        first:close() -- no object owns it any more
        engine:close()
      end
    end)
  end

  it("takes another one of the builder whose step it is", function()
    for place = 1, 2 do
      local builders = { serve.builder(), serve.builder() }
      local engine = assert(gdn.engine { builder = builders[1], second_builder = builders[2], async = true,
                                         max_model_len = 200 })
      assert(engine:submit(serve.request(1, { max_tokens = 30 })))
      engine.private.steps[place].query_len[-1] = 5
      local flying, refused = {}, {}
      for now = 1, 8 do
        local step, _, code = engine:step(now)
        if step then flying[#flying + 1] = step else refused[#refused + 1] = code end
        if #flying > 1 then assert(engine:complete(table.remove(flying, 1), now)) end
      end
      assert.are.same({ gdn.EGUARD }, refused)
      engine:close()
    end
  end)

  it("keeps its batch otherwise", function()
    local engine = serve.engine "fcfs"
    local first = engine.private.steps[1].batch
    assert.is_nil((serve_with(engine, "query_len", 0, 0)))
    assert.are.equal(first, engine.private.steps[1].batch)
    engine:close()
  end)

  it("takes all rows with it to the other one", function()
    for _, device in ipairs { "cpu", "cuda" } do
      local driver = device == "cuda" and drivers.open "fake"
      local builder = serve.builder { device = device, num_groups = 2 }
      local engine = assert(gdn.engine { builder = builder, max_model_len = 200 })
      local step, other = engine.private.steps[1], assert(builder:batch())
      local first, rows = step.batch, step.rows
      local names = { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens", "prompt_done",
                      "table_row", "read_column", "checkpoint_len", "checkpoint_slot" }
      if device == "cuda" then names[10], names[11] = "seq_index", "accepted_index" end
      local function length(name) return name == "checkpoint_slot" and 2 * rows.max_rows or rows.max_rows end
      for n, name in ipairs(names) do
        for k = 0, length(name) - 1 do rows[name][k] = 100 * n + k end
      end
      rows.num_rows, rows.indexed, rows.padded_rows, rows.padded_tokens = 3, 1, 4, 9
      step:renew(other)
      assert.are.equal(other, step.batch)
      local new, seen, want = other.rows, {}, {}
      for n, name in ipairs(names) do
        for k = 0, length(name) - 1 do
          seen[#seen + 1], want[#want + 1] = new[name][k], 100 * n + k
        end
      end
      assert.are.same(want, seen)
      assert.are.same({ 3, 1, 4, 9 }, { new.num_rows, new.indexed, new.padded_rows, new.padded_tokens })
      first:close() -- no object owns it any more
      assert.has_error(function() other:close() end, "gdnmeta.Batch:close: the batch belongs to an engine")
      engine:close()
      builder:close()
      if driver then driver:close() end
    end
  end)

  -- Its rows and tokens are padded to twice as many where graphs want that.
  for name, graphs in pairs {
    ["no graphs"] = { false, { capture_sizes = {} }, 1, 2 },
    ["tokens alone"] = { false, { capture_sizes = { 4 } }, 1, 4 },
    ["graphs of decodes"] = { true, { capture_sizes = { 4 } }, 2, 4 },
    buckets = { "mixed", { mixed_capture_sizes = { { rows = 2, tokens = 4 } } }, 2, 4 },
  } do
    it("knows the rows of the step that is in flight, and builds them again: " .. name, function()
      local shown = {}
      for _, is_stray in ipairs { false, true } do
        local options, given = { num_speculative_tokens = 1, full_cuda_graph = graphs[1] }, { async = true }
        for key, value in pairs(graphs[2]) do given[key] = value end
        given.builder, given.second_builder = serve.builder(options), serve.builder(options)
        local engine = assert(gdn.engine(given))
        assert(engine:submit(serve.request(1, { max_tokens = 8 })))
        assert(engine:complete(engine:step(0), 0)) -- the prompt
        local first, second = assert(engine:step(1)), assert(engine:step(2))
        assert.are.same({ graphs[3], graphs[4] }, { second.padded_rows, second.padded_tokens })
        if is_stray then second.seq_len[-1] = 7 end
        local ok, message, code = engine:complete(first, 2) -- nothing accepted: the second is built again
        if is_stray then
          assert.are.same({ "something wrote outside batch.seq_len[0 .. 7]", gdn.EGUARD }, { message, code })
        end
        assert.are.equal(not is_stray or nil, ok)
        assert.is_false(first.in_flight)
        local rows = second.batch.rows
        assert.are.same({ 1, graphs[3], graphs[4] }, { rows.num_rows, rows.padded_rows, rows.padded_tokens })
        shown[#shown + 1] = draw_rows.draw(second.metadata, paint)
        assert(engine:complete(second, 3))
        serve.run(engine)
        assert.are.equal(1, engine.stats.finished)
        engine:close()
      end
      assert.are.equal(shown[1], shown[2])
    end)
  end
end)

describe("A step's own arrays", function()
  for _, name in ipairs { "accepted_drafts", "stop", "next_drafts", "emitted", "finish" } do
    it("may be written beside, which completes nothing, " .. name, function()
      for _, at in ipairs { -1, -16, 4, 19 } do
        for _, results in ipairs { false, {} } do
          local engine = serve.engine "fcfs"
          assert(engine:submit(serve.request(1)))
          local step = assert(engine:step(1))
          step[name][at] = 5
          local ok, message, code = engine:complete(step, 1, results or nil)
          assert.is_nil(ok)
          assert.matches("^something wrote outside step%.[%a_]+%[0 %.%. 3%]$", message)
          assert.are.same({ gdn.EGUARD, true, 0 }, { code, step.in_flight, engine.stats.emitted })
          assert.is_true(engine:complete(step, 1, results or nil))
          serve.run(engine)
          assert.are.same({ 1, 4 }, { engine.stats.finished, engine.stats.emitted })
          engine:close()
        end
      end
    end)
  end

  it("are named, or the one beside them is", function()
    local engine = serve.engine "fcfs"
    assert(engine:submit(serve.request(1)))
    local step, named = assert(engine:step(1)), {}
    for _, place in ipairs { { "accepted_drafts", -1 }, { "stop", -1 }, { "next_drafts", -9 },
                             { "finish", 4 } } do
      step[place[1]][place[2]] = -7
      named[#named + 1] = select(2, engine:complete(step, 1)):match "step%.([%a_]+)"
    end
    assert.are.same({ "accepted_drafts", "stop", "next_drafts", "finish" }, named)
    engine:close()
  end)
end)
